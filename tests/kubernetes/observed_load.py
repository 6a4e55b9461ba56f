"""The load of tests/chaos on an installed hub, watched phase by phase."""

import contextlib

from load import Load


class ObservedLoad(Load):
    def __init__(self, hub, devices, history, report):
        super().__init__(hub, devices, history)
        self._history, self._report = history, report

    @contextlib.contextmanager
    def at_work(self):
        """Everybody is, until the block ends; then nothing that was acknowledged may be missing."""
        try:
            self.start()
            yield self
            self.stop()
            with self._report.step("nothing that was acknowledged is lost"):
                for violation in self.check():
                    self._report.violation(violation)
            self._report.say(self.summary())
        finally:
            self.stop()
            self.shutdown()

    @contextlib.contextmanager
    def phase(self, name, recovery_seconds=60, without_service_max=None, may_stop=False):
        """Something happens meanwhile; afterwards everybody must go on. The figure: how long a device sent nothing that was
        acknowledged; with `may_stop` without those whose SDK stopped for good."""
        for worker in self.workers:
            worker.longest_seconds = 0.0
        failed, stopped_before = self._failed(), len(self.stopped)
        self._history.fault(name)
        try:
            yield
        finally:
            for stuck in self.wait_until_all_go_on(recovery_seconds):
                self._report.violation(f"{name}: {stuck}")
            stopped = self.stopped[stopped_before:]
            counted = [device for device in self.devices if not (may_stop and device in stopped)]
            longest = max(device.telemetry.longest_seconds for device in counted)
            self._report.figure(f"{name}: longest without service", longest, "s", without_service_max)
            others = max(worker.longest_seconds for worker in self.workers)
            failed = self._failed() - failed
            self._report.say(f"  any operation: {others:.1f} s; {failed} operations failed; {len(stopped)} SDKs stopped for good")

    def _failed(self):
        return sum(len(worker.failed) for worker in self.workers)
