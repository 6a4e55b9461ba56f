"""Direct methods: azure-iot-hub calls, azure-iot-device answers."""

import pytest
from azure.iot.device import MethodResponse
from azure.iot.hub.models import CloudToDeviceMethod

from errors import status_of


def answering(client):
    def answer(request):
        status, payload = {
            "echo": (200, request.payload),
            "fail": (500, {"why": "told to"}),
            "nothing": (204, None),
        }[request.name]
        client.send_method_response(MethodResponse.create_from_method_request(request, status, payload))

    client.on_method_request_received = answer


@pytest.mark.parametrize("kind", ["device", "module"])
def test_every_kind_of_result(registry, new_device, connect, kind):
    target = new_device()
    if kind == "module":
        target = registry.create_module_with_sas(target.device_id, "m", "", "", "")
    answering(connect(target))

    def invoke(method):
        if kind == "module":
            return registry.invoke_device_module_method(target.device_id, target.module_id, method)
        return registry.invoke_device_method(target.device_id, method)

    for payload in [{"a": [1, None]}, "text", 7, True, [], {}]:
        result = invoke(CloudToDeviceMethod(method_name="echo", payload=payload, response_timeout_in_seconds=20))
        assert (result.status, result.payload) == (200, payload)
    assert invoke(CloudToDeviceMethod(method_name="fail")).status == 500
    result = invoke(CloudToDeviceMethod(method_name="nothing"))
    assert (result.status, result.payload) == (204, None)


def test_an_offline_device_is_an_error(registry, new_device):
    with pytest.raises(Exception) as error:
        registry.invoke_device_method(new_device().device_id, CloudToDeviceMethod(method_name="m"))
    assert status_of(error) == 404


def test_a_device_that_comes_late_is_waited_for(registry, new_device, connect):
    import threading

    device = new_device()
    results = []

    def invoke():
        method = CloudToDeviceMethod(method_name="echo", payload=1, connect_timeout_in_seconds=30)
        results.append(registry.invoke_device_method(device.device_id, method))

    caller = threading.Thread(target=invoke)
    caller.start()
    answering(connect(device))
    caller.join(timeout=30)
    assert results and results[0].payload == 1


def test_methods_reach_a_device_that_reconnected(registry, new_device, connect):
    device = new_device()
    client = connect(device)
    answering(client)
    client.disconnect()
    client.connect()
    result = registry.invoke_device_method(device.device_id, CloudToDeviceMethod(method_name="echo", payload=2))
    assert result.payload == 2
