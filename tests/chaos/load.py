"""Devices and back ends that do everything at once, and remember what they were promised."""

import threading
import time

from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

# Between two operations of one worker.
PAUSE_SECONDS = 0.05


class Worker:
    """Repeats one operation, numbered from 1; knows which numbers succeeded."""

    def __init__(self, name, operation):
        self.name, self._operation = name, operation
        self.succeeded, self.failed, self.longest_seconds = [], 0, 0.0
        self._last_success = time.monotonic()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)

    def start(self):
        self._thread.start()

    def _run(self):
        number = 0
        while not self._ends.is_set():
            number += 1
            try:
                self._operation(number)
                self.succeeded.append(number)
                now = time.monotonic()
                self.longest_seconds = max(self.longest_seconds, now - self._last_success)
                self._last_success = now
            except Exception:  # Not promised: it may have happened or not.
                self.failed += 1
                time.sleep(0.2)
            time.sleep(PAUSE_SECONDS)

    def stop(self):
        self._ends.set()

    def join(self):
        self._thread.join(60)


class Device:
    """One device with all that it does, and its back end."""

    def __init__(self, cluster, registry, device_id):
        self.device_id, self._cluster, self._registry = device_id, cluster, registry
        identity = registry().create_device_with_sas(device_id, "", "", "enabled")
        self._client = IoTHubDeviceClient.create_from_connection_string(
            cluster.device_connection_string(identity), server_verification_cert=cluster.certificate_authority
        )
        self.messages = set()
        self._client.on_method_request_received = self._answer
        self._client.on_message_received = lambda message: self.messages.add(int(message.data))
        self.telemetry = Worker(f"{device_id} telemetry", lambda number: self._client.send_message(str(number)))
        self.reported = Worker(f"{device_id} reported", self._report)
        self.desired = Worker(f"{device_id} desired", self._write_desired)
        self.methods = Worker(f"{device_id} method", self._invoke)
        self.sent = Worker(f"{device_id} message", self._send)
        self.wrong = []

    @property
    def workers(self):
        return [self.telemetry, self.reported, self.desired, self.methods, self.sent]

    def start(self):
        self._client.connect()
        for worker in self.workers:
            worker.start()

    def _answer(self, request):
        self._client.send_method_response(MethodResponse.create_from_method_request(request, 200, request.payload))

    def _report(self, number):
        self._client.patch_twin_reported_properties({"number": number})

    def _write_desired(self, number):
        twin = self._registry().update_twin(
            self.device_id, Twin(properties=TwinProperties(desired={"number": number})), "*"
        )
        if twin.properties.desired["number"] != number:
            self.wrong.append(f"{self.device_id}: desired {number} was answered with {twin.properties.desired}")

    def _invoke(self, number):
        method = CloudToDeviceMethod(method_name="echo", payload=number, connect_timeout_in_seconds=5)
        result = self._registry().invoke_device_method(self.device_id, method)
        if (result.status, result.payload) != (200, number):
            self.wrong.append(f"{self.device_id}: method {number} was answered with {result.status} {result.payload}")

    def _send(self, number):
        self._cluster.send_to_device(self.device_id, str(number).encode())

    def shutdown(self):
        self._client.shutdown()

    def check(self):
        violations = list(self.wrong)
        acknowledged = set(self.telemetry.succeeded)
        events = self._cluster.events(self.device_id, len(acknowledged), timeout_seconds=60)
        lost = acknowledged - {int(event["body"]) for event in events}
        if lost:
            violations.append(f"{self.device_id}: acknowledged telemetry is lost: {sorted(lost)[:20]}")
        twin = self._registry().get_twin(self.device_id)
        for section, worker in ((twin.properties.desired, self.desired), (twin.properties.reported, self.reported)):
            # Later ones may have happened without an answer.
            if worker.succeeded and section.get("number", 0) < worker.succeeded[-1]:
                violations.append(f"{worker.name}: {worker.succeeded[-1]} was acknowledged, {section} is there")
        violations += self._check_messages()
        return violations

    def _check_messages(self):
        promised, deadline = set(self.sent.succeeded), time.monotonic() + 60
        while not promised <= self.messages:
            if time.monotonic() > deadline:
                return [f"{self.device_id}: messages are lost: {sorted(promised - self.messages)[:20]}"]
            time.sleep(0.2)
        while self._registry().get_device(self.device_id).cloud_to_device_message_count > 0:
            if time.monotonic() > deadline:
                return [f"{self.device_id}: its queue is not empty although it had every message"]
            time.sleep(0.2)
        return []


class Load:
    def __init__(self, cluster, devices):
        self._owner = cluster.connection_strings["iothubowner"]
        self._local = threading.local()
        self.devices = [Device(cluster, self._registry, f"chaos-{number}") for number in range(devices)]

    def _registry(self):
        """One for each thread: the SDK's sessions are not for several."""
        if not hasattr(self._local, "registry"):
            self._local.registry = IoTHubRegistryManager.from_connection_string(self._owner)
        return self._local.registry

    @property
    def workers(self):
        return [worker for device in self.devices for worker in device.workers]

    def start(self):
        for device in self.devices:
            device.start()

    def stop(self):
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.join()

    def shutdown(self):
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
        return [violation for device in self.devices for violation in device.check()]

    def summary(self):
        kinds = {}
        for worker in self.workers:
            kinds.setdefault(worker.name.rsplit(" ", 1)[1], []).append(worker)
        return "; ".join(
            f"{kind}: {sum(len(worker.succeeded) for worker in workers)} done, "
            f"{sum(worker.failed for worker in workers)} not, "
            f"longest without {max(worker.longest_seconds for worker in workers):.1f} s"
            for kind, workers in kinds.items()
        )
