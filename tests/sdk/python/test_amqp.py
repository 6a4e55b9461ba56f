"""azure-iot-hub sends messages for devices over AMQP (uamqp), and nothing else."""

import queue

import certifi
import pytest
from azure.iot.hub import IoTHubRegistryManager


@pytest.fixture
def service(hub, monkeypatch):
    # The only way to make uamqp trust something else: azure-iot-hub passes no option on.
    monkeypatch.setattr(certifi, "where", lambda: hub.certificate_authority_file)
    manager = IoTHubRegistryManager.from_connection_string(hub.connection_strings["service"])
    yield manager
    manager.amqp_svc_client.disconnect_sync()


def test_a_message_is_sent_with_its_properties(service, new_device, connect):
    device = new_device()
    received = queue.Queue()
    connect(device).on_message_received = received.put
    properties = {"contentType": "application/json", "messageId": "m1", "correlationId": "c1", "key": "value"}
    service.send_c2d_message(device.device_id, '{"x": 1}', properties=properties)
    message = received.get(timeout=15)
    assert (message.data, message.message_id, message.correlation_id) == (b'{"x": 1}', "m1", "c1")
    assert (message.content_type, message.custom_properties) == ("application/json", {"key": "value"})


def test_many_messages_keep_their_order(service, registry, new_device):
    device = new_device()
    for number in range(20):
        service.send_c2d_message(device.device_id, str(number))
    assert registry.get_device(device.device_id).cloud_to_device_message_count == 20


def test_a_message_for_nobody_fails(service):
    with pytest.raises(Exception, match="C2D message send failure"):
        service.send_c2d_message("nobody-at-all", "x")
