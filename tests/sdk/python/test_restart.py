"""Devices go on by themselves when the hub comes back. azure-iot-device asks for persistent sessions only: it subscribes
once in the life of a client, so what it subscribed to must have outlived the hub."""

import queue
import time

import certifi
import pytest
from azure.iot.device import MethodResponse
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from uamqp import errors

from own_hub import hub, needs_own_hub, registry  # noqa: F401
from restartable_hub import RestartableHub

pytestmark = needs_own_hub
ENDS = [RestartableHub.stop, RestartableHub.kill]


class Application:
    """What the owner of a device writes: handlers that are set once."""

    def __init__(self, client):
        self.client = client
        self.updates, self.messages = queue.Queue(), queue.Queue()
        client.on_twin_desired_properties_patch_received = self.updates.put
        client.on_method_request_received = self._answer
        if hasattr(client, "on_message_received"):
            client.on_message_received = self.messages.put

    def _answer(self, request):
        self.client.send_method_response(MethodResponse.create_from_method_request(request, 200, request.payload))

    def wait_for_update(self, version):
        # The SDK reads the twin when it is connected again and tells what it found, so one may come twice.
        while self.updates.get(timeout=20)["$version"] != version:
            pass


def desired(properties):
    return Twin(properties=TwinProperties(desired=properties))


def wait_until_settled(registry, device):
    # The SDK acknowledges a message without a word; one that was not heard of would be delivered once more.
    deadline = time.monotonic() + 15
    while registry.get_device(device.device_id).cloud_to_device_message_count > 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def echo(payload):
    return CloudToDeviceMethod(method_name="echo", payload=payload, connect_timeout_in_seconds=20)


@pytest.mark.parametrize("end", ENDS, ids=["stopped", "killed"])
def test_connected_devices_go_on(hub, registry, new_device, connect, end):
    devices = [new_device(), new_device()]
    module = registry.create_module_with_sas(devices[0].device_id, "m", "", "", "")
    identities = [(devices[0], False), (devices[1], True), (module, False)]
    applications = [
        Application(connect(identity, websockets=websockets, connection_retry_interval=1))
        for identity, websockets in identities
    ]
    for application in applications:
        application.client.patch_twin_reported_properties({"before": 1})
        application.client.send_message("before")
    hub.send_to_device(devices[0].device_id, b"before")
    assert applications[0].messages.get(timeout=15).data == b"before"
    wait_until_settled(registry, devices[0])

    end(hub)
    hub.start()

    # Most of them are not connected again yet.
    for device in devices:
        hub.send_to_device(device.device_id, b"while it was away")
        registry.update_twin(device.device_id, desired({"a": 1}), "*")
    registry.update_module_twin(module.device_id, module.module_id, desired({"a": 1}), "*")
    for device, application in zip(devices, applications):
        assert application.messages.get(timeout=20).data == b"while it was away"
        assert registry.invoke_device_method(device.device_id, echo([1])).payload == [1]
    answer = registry.invoke_device_module_method(module.device_id, module.module_id, echo("m"))
    assert answer.payload == "m"
    for application in applications:
        application.wait_for_update(2)
        application.client.patch_twin_reported_properties({"after": 2})
        application.client.send_message("after")
        reported = application.client.get_twin()["reported"]
        assert (reported["before"], reported["after"], reported["$version"]) == (1, 2, 3)
    bodies = [event["body"] for event in hub.events(devices[1].device_id, 2)]
    assert bodies == ["before", "after"]
    # The module's events are among its device's.
    assert len(hub.events(devices[0].device_id, 4)) == 4
    for device, application in zip(devices, applications):
        hub.send_to_device(device.device_id, b"afterwards")
        assert application.messages.get(timeout=15).data == b"afterwards", "each message once"


@pytest.mark.parametrize("end", ENDS, ids=["stopped", "killed"])
def test_a_device_that_was_away_all_the_time_finds_what_waits(hub, registry, new_device, connect, end):
    device = new_device()
    application = Application(connect(device))
    application.client.get_twin()
    application.client.disconnect()
    hub.send_to_device(device.device_id, b"before the end")
    registry.update_twin(device.device_id, desired({"a": 1}), "*")

    end(hub)
    hub.start()

    hub.send_to_device(device.device_id, b"after it")
    application.client.connect()
    received = [application.messages.get(timeout=15).data for _ in range(2)]
    assert received == [b"before the end", b"after it"]
    assert application.client.get_twin()["desired"] == {"a": 1, "$version": 2}
    registry.update_twin(device.device_id, desired({"a": 2}), "*")
    application.wait_for_update(3)
    assert registry.invoke_device_method(device.device_id, echo({"x": 1})).payload == {"x": 1}


@pytest.mark.parametrize("end", ENDS, ids=["stopped", "killed"])
def test_a_back_end_hears_of_the_end(hub, registry, new_device, monkeypatch, end):
    """azure-iot-hub does not come back by itself: whoever made the client makes another one."""
    monkeypatch.setattr(certifi, "where", lambda: hub.certificate_authority_file)
    device_id = new_device().device_id

    def send(service, text):
        service.send_c2d_message(device_id, text)
        return service

    first = send(IoTHubRegistryManager.from_connection_string(hub.connection_strings["service"]), "before")

    end(hub)
    hub.start()

    with pytest.raises(errors.AMQPConnectionError):
        send(first, "lost")
    first.amqp_svc_client.disconnect_sync()
    second = send(IoTHubRegistryManager.from_connection_string(hub.connection_strings["service"]), "after")
    second.amqp_svc_client.disconnect_sync()
    assert registry.get_device(device_id).cloud_to_device_message_count == 2
