"""The load of tests/chaos on an installed hub, watched phase by phase."""

import contextlib

from load import Load


class ObservedLoad(Load):
    def __init__(self, hub, devices, history, report):
        super().__init__(hub, devices, history)
        self._history, self._report = history, report

    @contextlib.contextmanager
    def phase(self, name, recovery_seconds=60, without_service_max=None):
        """Something happens meanwhile; afterwards everybody must go on. The figure: how long a device sent nothing that was acknowledged."""
        for worker in self.workers:
            worker.longest_seconds = 0.0
        failed, restarts = self._failed(), self.restarts
        self._history.fault(name)
        try:
            yield
        finally:
            for stuck in self.wait_until_all_go_on(recovery_seconds):
                self._report.violation(f"{name}: {stuck}")
            telemetry = [worker for worker in self.workers if worker.name.endswith("telemetry")]
            longest = max(worker.longest_seconds for worker in telemetry)
            self._report.figure(f"{name}: longest without service", longest, "s", without_service_max)
            others = max(worker.longest_seconds for worker in self.workers)
            stopped = f"; {self.restarts - restarts} SDKs stopped for good" if self.restarts > restarts else ""
            self._report.say(f"  any operation: {others:.1f} s; {self._failed() - failed} operations failed{stopped}")

    def _failed(self):
        return sum(len(worker.failed) for worker in self.workers)
