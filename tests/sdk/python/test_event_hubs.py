"""Events read back by azure-eventhub, as back ends do."""

import contextlib
import datetime
import json
import os
import queue
import time

import pytest
from azure.eventhub import CloseReason, EventData, EventHubProducerClient, TransportType
from azure.eventhub.exceptions import AuthenticationError, ConnectionLostError, EventHubError

from event_readers import PATIENCE_SECONDS, Reader, consumer
from messages import message_with_every_property

# The SDK speaks AMQP with a library of its own, or with the one that was before it.
PYAMQP = pytest.param({}, id="pyamqp")
PYAMQP_WEBSOCKET = pytest.param({"transport_type": TransportType.AmqpOverWebsocket}, id="pyamqp-websocket")
UAMQP = pytest.param({"uamqp_transport": True}, id="uamqp")


def at(event):
    """Options to read from that event on."""
    return {
        "partition_id": str(event["partition"]),
        "starting_position": str(event["offset"]),
        "starting_position_inclusive": True,
    }


@pytest.fixture
def sent(hub, new_device, connect):
    """A device that sent ten messages, its partition, and what the JSON reader says of them."""
    device = new_device()
    client = connect(device)
    for number in range(10):
        client.send_message(str(number))
    events = hub.events(device.device_id, 10)
    return device.device_id, str(events[0]["partition"]), events


@pytest.mark.parametrize("client_options", [PYAMQP, UAMQP])
def test_the_event_hub_describes_itself(hub, sent, client_options):
    device_id, partition, events = sent
    with consumer(hub, **client_options) as client:
        properties = client.get_eventhub_properties()
        assert properties["eventhub_name"] == hub.event_hub_compatible["name"]
        assert properties["partition_ids"] == client.get_partition_ids()
        assert abs(datetime.datetime.now(datetime.timezone.utc) - properties["created_at"]) < datetime.timedelta(days=1)
        described = client.get_partition_properties(partition)
        assert described["id"] == partition and not described["is_empty"]
        assert described["beginning_sequence_number"] == 0
        assert described["last_enqueued_sequence_number"] >= events[-1]["sequenceNumber"]
        assert described["last_enqueued_offset"] == str(described["last_enqueued_sequence_number"])
        # With uamqp the SDK trips over its own report.
        with pytest.raises((EventHubError, AttributeError)):
            client.get_partition_properties("99")


@pytest.mark.parametrize("client_options", [PYAMQP, PYAMQP_WEBSOCKET, UAMQP])
def test_every_property_of_a_message_is_read(hub, new_device, connect, client_options):
    device = new_device()
    message = message_with_every_property()
    message.custom_properties["alert"] = "a b&c"
    message.custom_properties["ünï"] = "çödé ☃"
    connect(device).send_message(message)
    # Over WebSocket the SDK waits for silent partitions one after the other, so it is told which one.
    with Reader(hub, client_options=client_options, **at(hub.events(device.device_id, 1)[0])) as reader:
        (event,) = reader.of_device(device.device_id, 1)
    assert event.body_as_json() == {"temperature": 21.5}
    assert event.properties == {"alert".encode(): b"a b&c", "ünï".encode(): "çödé ☃".encode()}
    system = dict(event.system_properties)
    assert json.loads(system.pop(b"iothub-connection-auth-method"))["scope"] == "device"
    assert isinstance(system.pop(b"iothub-enqueuedtime"), int)
    assert system.pop(b"x-opt-sequence-number") == event.sequence_number
    assert system.pop(b"x-opt-offset") == event.offset.encode()
    assert abs(event.enqueued_time.timestamp() - time.time()) < 60
    system.pop(b"x-opt-enqueued-time")
    assert system == {
        b"iothub-connection-device-id": device.device_id.encode(),
        b"iothub-connection-auth-generation-id": device.generation_id.encode(),
        b"iothub-message-source": b"Telemetry",
        b"message-id": b"message-1",
        b"correlation-id": b"correlation 1",
        b"user-id": b"user/1",
        b"to": f"/devices/{device.device_id}/messages/events".encode(),
        b"content-type": b"application/json",
        b"content-encoding": b"utf-8",
        b"absolute-expiry-time": 1893456000000,
    }


@pytest.mark.parametrize("client_options", [PYAMQP, UAMQP])
def test_the_start_positions(hub, sent, client_options):
    device_id, partition, events = sent
    fifth = events[5]
    enqueued = datetime.datetime.fromisoformat(fifth["enqueuedTime"][:23] + "+00:00")
    positions = [
        (str(fifth["offset"]), False, 6),
        (str(fifth["offset"]), True, 5),
        (fifth["sequenceNumber"], False, 6),
        (fifth["sequenceNumber"], True, 5),
        (enqueued - datetime.timedelta(milliseconds=1), False, None),
        (enqueued, True, None),
        ("-1", False, 0),
    ]
    # Some at a time, for the limit of readers.
    for some in (positions[:4], positions[4:]):
        with contextlib.ExitStack() as readers:
            opened = [
                readers.enter_context(
                    Reader(
                        hub,
                        client_options=client_options,
                        partition_id=partition,
                        starting_position=position,
                        starting_position_inclusive=inclusive,
                    )
                )
                for position, inclusive, _ in some
            ]
            for reader, (position, _, first) in zip(opened, some):
                (event,) = reader.of_device(device_id, 1)
                if first is None:
                    assert event.enqueued_time >= enqueued
                else:
                    assert event.body_as_str() == str(first), position


def test_the_latest_position_reads_only_what_comes(hub, new_device, connect):
    device = new_device()
    client = connect(device)
    client.send_message("before")
    (before,) = hub.events(device.device_id, 1)
    with Reader(hub, partition_id=str(before["partition"]), starting_position="@latest") as reader:
        with pytest.raises(queue.Empty):
            reader.next(1)
        client.send_message("after")
        (event,) = reader.of_device(device.device_id, 1)
        assert event.body_as_str() == "after"


@pytest.mark.parametrize("client_options", [PYAMQP, UAMQP])
def test_an_event_of_many_frames_arrives(hub, new_device, connect, client_options):
    device = new_device()
    body = "x" * 200_000
    connect(device).send_message(body)
    options = {"track_last_enqueued_event_properties": True, **at(hub.events(device.device_id, 1)[0])}
    with Reader(hub, client_options=client_options, **options) as reader:
        (event,) = reader.of_device(device.device_id, 1)
        assert event.body_as_str() == body


def test_the_emulator_mode_reads_without_tls(hub, sent):
    if not hub.emulator_port:
        pytest.skip("the hub was not asked to listen without TLS")
    device_id, partition, _ = sent
    plain = hub.event_hub_compatible["connectionString"].replace(
        f"sb://{hub.host_name}/", f"sb://{hub.host_name}:{hub.emulator_port}/"
    )
    options = {"partition_id": partition, "starting_position": "-1"}
    with Reader(hub, connection_string=f"{plain};UseDevelopmentEmulator=true", **options) as reader:
        assert [event.body_as_str() for event in reader.of_device(device_id, 10)] == [str(n) for n in range(10)]


def test_the_address_may_differ_from_the_name(hub, sent):
    """As behind a proxy: the name of the event hub's host is only in tokens, in Open and in addresses."""
    other_name = os.environ.get("IRONHUB_SDK_OTHER_HOST_NAME")
    if not other_name:
        pytest.skip("the hub was not given a second name")
    device_id, partition, _ = sent
    named = hub.event_hub_compatible["connectionString"].replace(f"sb://{hub.host_name}/", f"sb://{other_name}/")
    address = {"custom_endpoint_address": f"sb://{hub.host_name}:5671"}
    options = {"partition_id": partition, "starting_position": "-1"}
    with Reader(hub, connection_string=named, client_options=address, **options) as reader:
        assert [event.body_as_str() for event in reader.of_device(device_id, 10)] == [str(n) for n in range(10)]


def test_equal_and_higher_epochs_take_over_and_lower_ones_are_refused(hub, sent, consumer_group):
    _, partition, _ = sent
    options = {"partition_id": partition, "starting_position": "-1"}
    with Reader(hub, consumer_group, owner_level=1, **options) as first:
        first.next()
        with Reader(hub, consumer_group, owner_level=1, **options) as second:
            second.next()
            assert isinstance(first.error(), ConnectionLostError)
            assert first.closed.get(timeout=PATIENCE_SECONDS) == CloseReason.OWNERSHIP_LOST
            with Reader(hub, consumer_group, owner_level=0, **options) as lower:
                assert isinstance(lower.error(), ConnectionLostError)
            with Reader(hub, consumer_group, **options) as without:
                assert isinstance(without.error(), ConnectionLostError)
            with Reader(hub, consumer_group, owner_level=2, **options) as third:
                third.next()
                assert isinstance(second.error(), ConnectionLostError)


def test_a_sixth_reader_of_a_partition_is_refused(hub, sent, consumer_group):
    _, partition, _ = sent
    options = {"partition_id": partition, "starting_position": "-1"}
    readers = [Reader(hub, consumer_group, **options) for _ in range(6)]
    try:
        for reader in readers[:5]:
            reader.__enter__().next()
        error = readers[5].__enter__().error()
        assert "which is 5" in str(error)
    finally:
        for reader in readers:
            reader.__exit__()


def test_what_is_not_there_or_not_allowed_is_refused(hub, sent):
    _, partition, _ = sent
    good = hub.event_hub_compatible["connectionString"]
    options = {"partition_id": partition, "starting_position": "-1"}
    with Reader(hub, "absent", **options) as reader:
        assert "amqp:not-found" in str(reader.error())
    with Reader(hub, starting_position=10**9, partition_id=partition) as reader:
        assert "is not there" in str(reader.error())
    other_key = good.replace("SharedAccessKey=", "SharedAccessKey=AAAA")
    with Reader(hub, connection_string=other_key, **options) as reader:
        assert isinstance(reader.error(), AuthenticationError)
    name, key = hub.policy("device")
    endpoint, event_hub = good.split(";")[0], hub.event_hub_compatible["name"]
    not_enough = f"{endpoint};SharedAccessKeyName={name};SharedAccessKey={key};EntityPath={event_hub}"
    with Reader(hub, connection_string=not_enough, **options) as reader:
        assert isinstance(reader.error(), EventHubError)
        assert reader.events.empty()
    producer = EventHubProducerClient.from_connection_string(
        good, connection_verify=hub.certificate_authority_file, transport_type=TransportType.Amqp, retry_total=0
    )
    with producer, pytest.raises(EventHubError):
        producer.send_batch([EventData("x")])
