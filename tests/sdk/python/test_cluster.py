"""A cluster behind haproxy with a real Kafka: its parts are killed one after the other while unmodified SDKs work with it.
Nothing that was acknowledged is lost, and devices go on by themselves."""

import os
import subprocess
import threading
import time

import pytest
from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from cluster import PARTS, Cluster
from own_hub import needs_own_hub
from restartable_hub import RestartableHub

pytestmark = needs_own_hub
DEVICES = 4
# What one part's death may cost a device or a back end.
RECOVERY_SECONDS = 30


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    os.environ["REQUESTS_CA_BUNDLE"] = cluster.certificate_authority_file
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def registry(hub):
    return IoTHubRegistryManager.from_connection_string(hub.connection_strings["iothubowner"])


def until(what, attempt):
    """Tries until it succeeds; the SDK's own retries are for shorter breaks."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        try:
            return attempt()
        except Exception as error:
            assert time.monotonic() < deadline, f"{what}: {error!r}"
            time.sleep(0.2)


class Sender:
    """A device that sends numbers for as long as it lives, and remembers those that were acknowledged."""

    def __init__(self, hub, identity):
        self.device_id = identity.device_id
        self.acknowledged = set()
        self.messages = set()
        self._ends = threading.Event()
        self._client = IoTHubDeviceClient.create_from_connection_string(
            hub.device_connection_string(identity), server_verification_cert=hub.certificate_authority
        )
        self._client.on_method_request_received = self._answer
        self._client.on_message_received = lambda message: self.messages.add(message.data.decode())
        self._client.connect()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _answer(self, request):
        self._client.send_method_response(MethodResponse.create_from_method_request(request, 200, request.payload))

    def _send(self):
        number = 0
        while not self._ends.is_set():
            number += 1
            try:
                self._client.send_message(str(number))
                self.acknowledged.add(number)
            except Exception:  # Not acknowledged: it may be lost, and the next one goes out soon.
                time.sleep(0.1)
            time.sleep(0.02)

    def wait_for_another(self):
        before, deadline = len(self.acknowledged), time.monotonic() + RECOVERY_SECONDS
        while len(self.acknowledged) == before:
            assert time.monotonic() < deadline, f"{self.device_id} does not go on"
            time.sleep(0.02)

    def end(self):
        self._ends.set()
        self._thread.join()

    def shutdown(self):
        self._client.shutdown()


@pytest.fixture
def senders(hub, new_device):
    senders = [Sender(hub, new_device()) for _ in range(DEVICES)]
    yield senders
    for sender in senders:
        sender.end()
        sender.shutdown()


def test_parts_die_and_nothing_acknowledged_is_lost(hub, registry, senders):
    sent = {sender.device_id: set() for sender in senders}
    for number, part in enumerate(PARTS, start=1):
        hub.kill(part)
        if part == "kafka-1":
            time.sleep(1)
        for sender in senders:
            if part != "kafka-1" and part != "haproxy":
                works(hub, registry, sender, number, sent)
        hub.start_again(part)
        for sender in senders:
            sender.wait_for_another()
            works(hub, registry, sender, number, sent)
    for sender in senders:
        sender.end()
    for sender in senders:
        stored = {int(event["body"]) for event in hub.events(sender.device_id, len(sender.acknowledged))}
        assert sender.acknowledged <= stored
        assert registry.get_twin(sender.device_id).properties.desired["number"] == len(PARTS)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while not sent[sender.device_id] <= sender.messages:
            assert time.monotonic() < deadline, sent[sender.device_id] - sender.messages
            time.sleep(0.1)


def works(hub, registry, sender, number, sent):
    """Twin, method and message for the device, as of now."""
    twin = Twin(properties=TwinProperties(desired={"number": number}))
    until("twin", lambda: registry.update_twin(sender.device_id, twin, "*"))
    method = CloudToDeviceMethod(method_name="echo", payload=number, connect_timeout_in_seconds=10)
    result = until("method", lambda: registry.invoke_device_method(sender.device_id, method))
    assert (result.status, result.payload) == (200, number)
    text = f"message {number}"
    until("message", lambda: hub.send_to_device(sender.device_id, text.encode()))
    sent[sender.device_id].add(text)


def ironhub(*words):
    subprocess.run([os.environ["IRONHUB_BINARY"], *map(str, words)], check=True, timeout=60, stdout=subprocess.DEVNULL)


@pytest.fixture
def local_hub(tmp_path):
    hub = RestartableHub(tmp_path)
    yield hub
    hub.stop()


# The last one: the cluster takes over the keys of the other hub.
def test_a_local_hub_moves_into_the_cluster(hub, local_hub, tmp_path):
    local = IoTHubRegistryManager.from_connection_string(local_hub.connection_strings["iothubowner"])
    identity = local.create_device_with_sas("moves", "", "", "enabled")
    local.update_twin("moves", Twin(properties=TwinProperties(desired={"number": 7})), "*")
    local_hub.send_to_device("moves", b"waits")
    ironhub("backup", tmp_path / "backup", "--data-dir", local_hub.data_dir)
    ironhub("restore", tmp_path / "backup", "--data-dir", hub.data_dir)
    moved = Sender(hub, identity)
    try:
        moved.wait_for_another()
        deadline = time.monotonic() + RECOVERY_SECONDS
        while moved.messages != {"waits"}:
            assert time.monotonic() < deadline, moved.messages
            time.sleep(0.1)
    finally:
        moved.end()
        moved.shutdown()
    # A policy's key of the other hub, at this one's address.
    owner = local_hub.connection_strings["iothubowner"].replace(local_hub.host_name, hub.host_name)
    registry = IoTHubRegistryManager.from_connection_string(owner)
    assert registry.get_twin("moves").properties.desired["number"] == 7
