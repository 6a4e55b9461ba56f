"""Messages for devices as azure-iot-device receives them; sent over HTTPS; test_amqp.py sends by the SDK."""

import queue


def messages(client):
    received = queue.Queue()
    client.on_message_received = received.put
    return received


def test_a_message_arrives_with_its_properties(hub, new_device, connect):
    device = new_device()
    client = connect(device)
    received = messages(client)
    hub.send_to_device(
        device.device_id,
        b'{"x": 1}',
        {
            "iothub-messageid": "m1",
            "iothub-correlationid": "c1",
            "iothub-userid": "u1",
            "iothub-contenttype": "application/json",
            "iothub-contentencoding": "utf-8",
            "iothub-ack": "full",
            "iothub-app-special": "/ + = & # % $",
        },
    )
    message = received.get(timeout=15)
    assert message.data == b'{"x": 1}'
    assert (message.message_id, message.correlation_id, message.user_id) == ("m1", "c1", "u1")
    assert (message.content_type, message.content_encoding, message.ack) == ("application/json", "utf-8", "full")
    # urllib spells header names its own way.
    properties = {name.lower(): value for name, value in message.custom_properties.items()}
    assert properties == {"special": "/ + = & # % $"}


def test_messages_wait_for_the_device_and_keep_their_order(hub, registry, new_device, connect):
    device = new_device()
    for number in range(20):
        hub.send_to_device(device.device_id, str(number).encode())
    assert registry.get_device(device.device_id).cloud_to_device_message_count == 20
    received = messages(connect(device))
    assert [received.get(timeout=15).data for _ in range(20)] == [str(number).encode() for number in range(20)]


def test_messages_arrive_after_a_reconnect_without_subscribing_again(hub, new_device, connect):
    device = new_device()
    client = connect(device)
    received = messages(client)
    hub.send_to_device(device.device_id, b"first")
    assert received.get(timeout=15).data == b"first"
    client.disconnect()
    hub.send_to_device(device.device_id, b"second")
    client.connect()
    assert received.get(timeout=15).data == b"second"
