"""Devices and back ends that do everything at once, and remember what they were promised."""

import threading
import time

from azure.iot.hub import IoTHubRegistryManager

from .back_end import Counter, Feedback, Identities
from .device import Device


# An SDK whose operation has been under way for so long may be one that has stopped.
STOPPED_SECONDS = 40


class Load:
    def __init__(self, cluster, devices, history):
        self._owner = cluster.connection_strings["iothubowner"]
        self._local = threading.local()
        # Every third over WebSocket.
        self.devices = [
            Device(cluster, self._registry, history, f"chaos-{number}", over_websocket=number % 3 == 2)
            for number in range(devices)
        ]
        self._feedback = Feedback(cluster, history)
        self._identities = Identities(self._registry, history)
        self._counter = Counter(self._registry, history)
        of_devices = [worker for device in self.devices for worker in device.workers]
        self.workers = [*of_devices, self._identities.worker, *self._counter.workers]
        self._dead_threads = 0
        # Devices whose SDK had to be started again, once for each time.
        self.stopped = []
        self._ends = threading.Event()

    def _registry(self):
        """One for each thread: the SDK's sessions are not for several."""
        if not hasattr(self._local, "registry"):
            self._local.registry = IoTHubRegistryManager.from_connection_string(self._owner)
        return self._local.registry

    def start(self):
        threading.excepthook = self._thread_died
        for device in self.devices:
            device.start()
        threading.Thread(target=self._restart_stopped, daemon=True).start()
        self._feedback.start()
        for worker in [self._identities.worker, *self._counter.workers]:
            worker.start()

    def _thread_died(self, arguments):
        """paho's thread ends by an error of TLS that it does not expect, and the SDK waits for it for ever."""
        threading.__excepthook__(arguments)
        self._dead_threads += "_thread_main" in arguments.thread.name

    def _restart_stopped(self):
        while not self._ends.wait(5):
            stopped = max(self.devices, key=lambda device: device.telemetry.seconds_under_way())
            is_stopped = stopped.telemetry.seconds_under_way() > STOPPED_SECONDS
            if is_stopped and len(self.stopped) < self._dead_threads:
                self.stopped.append(stopped)
                stopped.restart()

    def stop(self):
        self._ends.set()
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.join()

    def shutdown(self):
        self._feedback.stop()
        for device in self.devices:
            device.shutdown()

    def wait_until_all_go_on(self, seconds):
        """Whoever does not succeed any more after the faults."""
        before = {worker: len(worker.succeeded) for worker in self.workers}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if all(len(worker.succeeded) > count for worker, count in before.items()):
                return []
            time.sleep(0.2)
        still = [worker.name for worker, count in before.items() if len(worker.succeeded) == count]
        return [f"does not go on: {name}" for name in still]

    def check(self):
        """What is not as it was promised; called once, after the load."""
        of_devices = [violation for device in self.devices for violation in device.check(self._feedback)]
        return [*of_devices, *self._feedback.wrong, *self._identities.check(), *self._counter.check()]

    def summary(self):
        kinds = {}
        for worker in self.workers:
            kind = worker.name.rsplit(" ", 1)[1].split("-")[0]
            kinds.setdefault(kind, []).append(worker)
        return f"{len(self.stopped)} SDKs had stopped and were restarted; " + "; ".join(
            f"{kind}: {sum(len(worker.succeeded) for worker in workers)} done, "
            f"{sum(len(worker.failed) for worker in workers)} not, "
            f"longest without {max(worker.longest_seconds for worker in workers):.1f} s"
            for kind, workers in kinds.items()
        )
