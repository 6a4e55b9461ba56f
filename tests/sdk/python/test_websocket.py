"""azure-iot-device over WebSocket, on the port of HTTPS."""

def test_messages_arrive_in_order(hub, new_device, connect):
    device = new_device()
    client = connect(device, websockets=True)
    for number in range(20):
        client.send_message(str(number))
    client.send_message("x" * 200_000)
    events = hub.events(device.device_id, 21)
    assert [event["body"] for event in events] == [*range(20), "x" * 200_000]


def test_a_module_connects(hub, registry, new_device, connect):
    device = new_device()
    module = registry.create_module_with_sas(device.device_id, "m1", "owner", "", "")
    connect(module, websockets=True).send_message("from the module")
    (event,) = hub.events(device.device_id, 1)
    assert event["systemProperties"]["iothub-connection-module-id"] == "m1"


def test_it_connects_again_after_it_disconnected(hub, new_device, connect):
    device = new_device()
    client = connect(device, websockets=True)
    client.send_message("before")
    client.disconnect()
    assert not client.connected
    client.connect()
    client.send_message("after")
    assert [event["body"] for event in hub.events(device.device_id, 2)] == ["before", "after"]
