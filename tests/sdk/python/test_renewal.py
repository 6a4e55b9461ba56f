"""What azure-iot-device has subscribed to goes on after it renewed its token: it never subscribes again."""

import queue
import threading

import pytest
from azure.iot.device import MethodResponse
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties


@pytest.mark.parametrize("websockets", [False, True])
def test_everything_goes_on_after_the_token_was_renewed(hub, registry, new_device, connect, websockets):
    device = new_device()
    client = connect(device, sastoken_ttl=125, websockets=websockets)
    updates, messages = queue.Queue(), queue.Queue()
    client.on_twin_desired_properties_patch_received = updates.put
    client.on_message_received = messages.put
    client.on_method_request_received = lambda request: client.send_method_response(
        MethodResponse.create_from_method_request(request, 200, request.payload)
    )
    client.get_twin()
    renewed = threading.Event()
    client.on_connection_state_change = lambda: client.connected and renewed.set()
    assert renewed.wait(30)
    registry.update_twin(device.device_id, Twin(properties=TwinProperties(desired={"a": 1})), "*")
    while updates.get(timeout=15)["$version"] != 2:
        pass  # the SDK reads the twin by itself and tells what it found
    hub.send_to_device(device.device_id, b"hello")
    assert messages.get(timeout=15).data == b"hello"
    method = CloudToDeviceMethod(method_name="echo", payload=[1])
    assert registry.invoke_device_method(device.device_id, method).payload == [1]
    client.patch_twin_reported_properties({"still": "here"})
    assert client.get_twin()["reported"]["still"] == "here"
