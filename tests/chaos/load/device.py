"""One device with all that it does, and its back end."""

import collections
import threading
import time

from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from .registers import Register
from .worker import Worker

# For what is on its way when the load ends.
ARRIVES_WITHIN_SECONDS = 60


class Device:
    def __init__(self, cluster, registry, history, device_id, over_websocket):
        self.device_id, self._cluster, self._registry = device_id, cluster, registry
        self._identity = registry().create_device_with_sas(device_id, "", "", "enabled")
        self._over_websocket = over_websocket
        self.messages, self.calls, self.wrong = set(), collections.Counter(), []
        self._client = self._new_client()

        def worker(name, operation):
            return Worker(f"{device_id} {name}", operation, history)

        self.telemetry = worker("telemetry", lambda number: self._client.send_message(str(number)))
        self.reported = worker("reported", self._report)
        self.desired = worker("desired", self._write_desired)
        self.reads = worker("read", self._read)
        self.methods = worker("method", self._invoke)
        self.sent = worker("message", self._send)
        self.workers = [self.telemetry, self.reported, self.desired, self.reads, self.methods, self.sent]
        self._registers = {
            "desired": Register(self.desired),
            "reported": Register(self.reported, behind=self.telemetry),
        }

    def start(self):
        self._client.connect()
        for worker in self.workers:
            worker.start()

    def _new_client(self):
        client = IoTHubDeviceClient.create_from_connection_string(
            self._cluster.device_connection_string(self._identity),
            server_verification_cert=self._cluster.certificate_authority,
            websockets=self._over_websocket,
        )
        client.on_method_request_received = self._answer
        client.on_message_received = lambda message: self.messages.add(int(message.data))
        return client

    def restart(self):
        """As the device's application would, whose SDK has stopped for good."""
        old, self._client = self._client, self._new_client()
        threading.Thread(target=old.shutdown, daemon=True).start()
        threading.Thread(target=self._connect, daemon=True).start()
        for worker in (self.telemetry, self.reported):
            worker.give_up()

    def _connect(self):
        while True:
            try:
                return self._client.connect()
            except Exception:  # The next try may find a hub.
                time.sleep(1)

    def _answer(self, request):
        self.calls[request.payload] += 1
        self._client.send_method_response(MethodResponse.create_from_method_request(request, 200, request.payload))

    def _report(self, number):
        self._client.patch_twin_reported_properties({"number": number})

    def _write_desired(self, number):
        twin = self._registry().update_twin(
            self.device_id, Twin(properties=TwinProperties(desired={"number": number})), "*"
        )
        if twin.properties.desired["number"] != number:
            self.wrong.append(f"{self.device_id}: desired {number} was answered with {twin.properties.desired}")

    def _read(self, _number):
        before = {section: register.before_read() for section, register in self._registers.items()}
        seen = self._numbers()
        for section, register in self._registers.items():
            wrong = register.check(before[section], seen[section])
            self.wrong += [wrong] if wrong else []
        return seen

    def _numbers(self):
        twin = self._registry().get_twin(self.device_id)
        sections = {"desired": twin.properties.desired, "reported": twin.properties.reported}
        return {name: section.get("number", 0) for name, section in sections.items()}

    def _invoke(self, number):
        method = CloudToDeviceMethod(method_name="echo", payload=number, connect_timeout_in_seconds=5)
        result = self._registry().invoke_device_method(self.device_id, method)
        if (result.status, result.payload) != (200, number):
            self.wrong.append(f"{self.device_id}: method {number} was answered with {result.status} {result.payload}")

    def _send(self, number):
        properties = {"iothub-ack": "full", "iothub-messageid": f"{self.device_id} {number}"}
        self._cluster.send_to_device(self.device_id, str(number).encode(), properties)

    def shutdown(self):
        self._client.shutdown()

    def check(self, feedback):
        """What is not as it was promised."""
        return [
            *self.wrong,
            *self._check_telemetry(),
            *self._check_twin(),
            *self._check_methods(),
            *self._check_messages(),
            *self._check_feedback(feedback),
        ]

    def _check_telemetry(self):
        acknowledged = set(self.telemetry.succeeded)
        events = self._cluster.events(self.device_id, len(acknowledged), timeout_seconds=ARRIVES_WITHIN_SECONDS)
        lost = acknowledged - {int(event["body"]) for event in events}
        return [f"{self.device_id}: acknowledged telemetry is lost: {sorted(lost)[:20]}"] if lost else []

    def _check_twin(self):
        seen, wrong = self._numbers(), []
        for section, worker in (("desired", self.desired), ("reported", self.reported)):
            # Later ones may have happened without an answer.
            if seen[section] < worker.acknowledged:
                wrong.append(f"{worker.name}: {worker.acknowledged} was acknowledged, {seen[section]} is there")
        # Each patch that was applied counted the version up by one, from 1.
        version = self._registry().get_twin(self.device_id).properties.desired["$version"] - 1
        if not len(self.desired.succeeded) <= version <= self.desired.began:
            done = f"{len(self.desired.succeeded)} of {self.desired.began} patches were acknowledged"
            wrong.append(f"{self.device_id}: {done}, {version} were applied")
        return wrong

    def _check_methods(self):
        twice = sorted(number for number, count in self.calls.items() if count > 1)
        unheard = sorted(set(self.methods.succeeded) - set(self.calls))
        return [
            *([f"{self.device_id}: methods came twice: {twice[:20]}"] if twice else []),
            *([f"{self.device_id}: methods were answered and never came: {unheard[:20]}"] if unheard else []),
        ]

    def _check_messages(self):
        promised, deadline = set(self.sent.succeeded), time.monotonic() + ARRIVES_WITHIN_SECONDS
        while not promised <= self.messages:
            if time.monotonic() > deadline:
                return [f"{self.device_id}: messages are lost: {sorted(promised - self.messages)[:20]}"]
            time.sleep(0.2)
        while self._registry().get_device(self.device_id).cloud_to_device_message_count > 0:
            if time.monotonic() > deadline:
                return [f"{self.device_id}: its queue is not empty although it had every message"]
            time.sleep(0.2)
        return []

    def _check_feedback(self, feedback):
        missing = {f"{self.device_id} {number}" for number in self.sent.succeeded} - feedback.wait_for(
            {f"{self.device_id} {number}" for number in self.sent.succeeded}, ARRIVES_WITHIN_SECONDS
        )
        return [f"{self.device_id}: no feedback for {sorted(missing)[:20]}"] if missing else []
