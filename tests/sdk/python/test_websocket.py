"""azure-iot-device over WebSocket, on the port of HTTPS."""

import threading


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


def test_the_newer_connection_wins_whatever_it_runs_over(hub, new_device, connect):
    device = new_device()
    first = connect(device, websockets=True, connection_retry=False)
    lost = threading.Event()
    first.on_connection_state_change = lambda: first.connected or lost.set()
    second = connect(device, connection_retry=False)
    assert lost.wait(15)
    second.send_message("from the second")
    assert [event["body"] for event in hub.events(device.device_id, 1)] == ["from the second"]


def test_tokens_are_renewed_before_they_expire(hub, new_device, connect):
    """The SDK renews 120 s before expiry, so a token of 125 s makes it reconnect after 5 s."""
    device = new_device()
    client = connect(device, websockets=True, sastoken_ttl=125)
    reconnected = threading.Event()
    client.on_connection_state_change = lambda: client.connected and reconnected.set()
    assert reconnected.wait(30)
    client.send_message("with a new token")
    assert len(hub.events(device.device_id, 1)) == 1
