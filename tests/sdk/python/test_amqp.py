"""azure-iot-hub sends messages for devices over AMQP (uamqp), and nothing else."""

import queue

import certifi
import pytest
from azure.iot.hub import IoTHubRegistryManager
from uamqp import TransportType, constants, errors

TRANSPORTS = [TransportType.Amqp, TransportType.AmqpOverWebsocket]


@pytest.fixture
def service(hub, monkeypatch):
    """Makes back ends; disconnects them afterwards."""
    # The only way to make uamqp trust something else: azure-iot-hub passes no option on.
    monkeypatch.setattr(certifi, "where", lambda: hub.certificate_authority_file)
    made = []

    def make(connection_string=hub.connection_strings["service"], **options):
        manager = IoTHubRegistryManager.from_connection_string(connection_string, **options)
        made.append(manager)
        return manager

    yield make
    for manager in made:
        manager.amqp_svc_client.disconnect_sync()


@pytest.mark.parametrize("transport_type", TRANSPORTS)
def test_a_message_is_sent_with_its_properties(service, new_device, connect, transport_type):
    device = new_device()
    received = queue.Queue()
    connect(device).on_message_received = received.put
    properties = {"contentType": "application/json", "messageId": "m1", "correlationId": "c1", "key": "value"}
    service(transport_type=transport_type).send_c2d_message(device.device_id, '{"x": 1}', properties=properties)
    message = received.get(timeout=15)
    assert (message.data, message.message_id, message.correlation_id) == (b'{"x": 1}', "m1", "c1")
    assert (message.content_type, message.custom_properties) == ("application/json", {"key": "value"})


def test_messages_keep_their_order_and_what_is_refused_fails(service, registry, new_device):
    device_id = new_device().device_id
    sender = service()
    for refused in [
        ("nobody-at-all", "x", {}),
        (device_id, "x" * 65536, {}),
        (device_id, "x", {"iothub-ack": "sometimes"}),
    ]:
        # Whatever it was: the package tells no refusal from another.
        with pytest.raises(Exception, match="C2D message send failure"):
            sender.send_c2d_message(*refused)
    for number in range(50):
        sender.send_c2d_message(device_id, str(number))
    with pytest.raises(Exception, match="C2D message send failure"):
        sender.send_c2d_message(device_id, "one too many")
    assert registry.get_device(device_id).cloud_to_device_message_count == 50


@pytest.mark.parametrize("transport_type", TRANSPORTS)
def test_a_wrong_key_is_a_failure_of_authentication(hub, service, new_device, transport_type):
    wrong_key = "SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    name = hub.connection_strings["service"].rsplit("SharedAccessKey=", 1)[0]
    # Or its kind TokenAuthFailure: uamqp reads the words of the answer from memory that it gave back.
    with pytest.raises(errors.AuthenticationException):
        service(name + wrong_key, transport_type=transport_type).send_c2d_message(new_device().device_id, "x")


@pytest.mark.parametrize("policy", ["device", "registryRead", "registryReadWrite"])
def test_a_policy_without_the_right_may_not_send(hub, service, registry, new_device, policy):
    device_id = new_device().device_id
    with pytest.raises(errors.LinkDetach) as error:
        service(hub.connection_strings[policy]).send_c2d_message(device_id, "x")
    assert error.value.condition == constants.ErrorCodes.UnauthorizedAccess
    assert registry.get_device(device_id).cloud_to_device_message_count == 0
