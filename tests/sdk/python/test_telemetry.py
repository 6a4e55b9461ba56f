"""Telemetry by azure-iot-device over MQTT, read back and compared property by property."""

import json

from azure.iot.device import Message

from messages import message_with_every_property


def test_a_bare_text_message_arrives(hub, new_device, connect):
    device = new_device()
    connect(device).send_message("hello")
    (event,) = hub.events(device.device_id, 1)
    assert event["body"] == "hello"
    system = event["systemProperties"]
    assert system["iothub-connection-device-id"] == device.device_id
    assert system["iothub-connection-auth-generation-id"] == device.generation_id
    assert system["iothub-message-source"] == "Telemetry"
    method = json.loads(system["iothub-connection-auth-method"])
    assert (method["scope"], method["type"], method["issuer"]) == ("device", "sas", "iothub")
    assert system["iothub-enqueuedtime"]
    assert event["enqueuedTime"].endswith("Z")
    assert event["properties"] == {}


def test_every_property_of_a_message_arrives(hub, new_device, connect):
    device = new_device()
    message = message_with_every_property()
    message.custom_properties["alert"] = "a b&c=d%e/f+g#h?"
    message.custom_properties["ünï"] = "çödé ☃"
    message.custom_properties["empty"] = ""
    connect(device).send_message(message)
    (event,) = hub.events(device.device_id, 1)
    assert event["body"] == {"temperature": 21.5}
    expected = {
        "message-id": "message-1",
        "correlation-id": "correlation 1",
        "user-id": "user/1",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "absolute-expiry-time": "2030-01-01T00:00:00.0000000Z",
    }
    assert {name: event["systemProperties"].get(name) for name in expected} == expected
    assert event["properties"] == {"alert": "a b&c=d%e/f+g#h?", "ünï": "çödé ☃", "empty": ""}


def test_a_security_message_keeps_its_interface(hub, new_device, connect):
    device = new_device()
    message = Message("{}")
    message.set_as_security_message()
    connect(device).send_message(message)
    (event,) = hub.events(device.device_id, 1)
    assert event["systemProperties"]["iothub-interface-id"] == "urn:azureiot:Security:SecurityAgent:1"


def test_the_model_id_of_the_session_is_stamped(hub, new_device, connect):
    device = new_device()
    connect(device, product_info="dtmi:com:example:Thermostat;1").send_message("x")
    (event,) = hub.events(device.device_id, 1)
    assert event["systemProperties"]["dt-dataschema"] == "dtmi:com:example:Thermostat;1"


def test_order_holds_and_nothing_is_lost_or_doubled(hub, new_device, connect):
    device = new_device()
    client = connect(device)
    for number in range(100):
        client.send_message(str(number))
    events = hub.events(device.device_id, 100)
    assert [event["body"] for event in events] == list(range(100))
    assert len({event["partition"] for event in events}) == 1
    offsets = [event["offset"] for event in events]
    assert offsets == sorted(offsets)


def test_binary_and_large_bodies(hub, new_device, connect):
    import base64

    device = new_device()
    client = connect(device)
    binary = bytes(range(256)) * 4
    client.send_message(Message(binary))
    client.send_message("x" * 200_000)
    first, second = hub.events(device.device_id, 2)
    assert base64.b64decode(first["bodyBase64"]) == binary
    assert second["body"] == "x" * 200_000


def test_a_module_sends_as_itself(hub, registry, new_device, connect):
    device = new_device()
    module = registry.create_module_with_sas(device.device_id, "thermo", "owner", "", "")
    connect(module).send_message("from the module")
    (event,) = hub.events(device.device_id, 1)
    assert event["body"] == "from the module"
    assert event["systemProperties"]["iothub-connection-module-id"] == "thermo"
    assert event["systemProperties"]["iothub-connection-auth-generation-id"] == module.generation_id


def test_a_module_output_keeps_its_name(hub, registry, new_device, connect):
    device = new_device()
    module = registry.create_module_with_sas(device.device_id, "filter", "owner", "", "")
    connect(module).send_message_to_output("filtered", "output1")
    (event,) = hub.events(device.device_id, 1)
    assert event["properties"]["iothub-outputname"] == "output1"
