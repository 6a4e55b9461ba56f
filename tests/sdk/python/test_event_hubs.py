"""Events read back by azure-eventhub, as back ends do."""

import datetime
import json
import queue
import threading
import time
import uuid

import pytest
from azure.eventhub import CloseReason, EventData, EventHubConsumerClient, EventHubProducerClient, TransportType
from azure.eventhub.exceptions import AuthenticationError, ConnectionLostError, EventHubError

from messages import message_with_every_property

PATIENCE_SECONDS = 20


class Reader:
    """A consumer client that reads in a thread of its own."""

    def __init__(self, hub, consumer_group="$Default", connection_string=None, **options):
        self.events, self.errors, self.closed = queue.Queue(), queue.Queue(), queue.Queue()
        self.client = consumer(hub, consumer_group, connection_string, transport_type=options.pop("transport_type", None))
        self.options = options

    def __enter__(self):
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()
        return self

    def _receive(self):
        self.client.receive(
            on_event=lambda partition, event: self.events.put(event),
            on_error=lambda partition, error: self.errors.put(error),
            on_partition_close=lambda partition, reason: self.closed.put(reason),
            **self.options,
        )

    def __exit__(self, *_):
        self.client.close()
        self.thread.join(PATIENCE_SECONDS)

    def next(self, timeout_seconds=PATIENCE_SECONDS):
        return self.events.get(timeout=timeout_seconds)

    def error(self):
        return self.errors.get(timeout=PATIENCE_SECONDS)

    def of_device(self, device_id, count):
        """The next events that the device sent."""
        deadline, found = time.monotonic() + PATIENCE_SECONDS, []
        while len(found) < count:
            event = self.next(max(0.01, deadline - time.monotonic()))
            if event.system_properties[b"iothub-connection-device-id"] == device_id.encode():
                found.append(event)
        return found


def consumer(hub, consumer_group="$Default", connection_string=None, transport_type=None):
    return EventHubConsumerClient.from_connection_string(
        connection_string or hub.event_hub_compatible["connectionString"],
        consumer_group,
        connection_verify=hub.certificate_authority_file,
        transport_type=transport_type or TransportType.Amqp,
        retry_total=0,
    )


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


@pytest.fixture
def consumer_group(hub):
    """A consumer group of the test's own: epochs do not meet those of other tests."""
    name = f"group-{uuid.uuid4().hex[:8]}"
    hub.settings("PUT", f"consumer-groups/{name}", {})
    yield name
    hub.settings("DELETE", f"consumer-groups/{name}")


def test_the_event_hub_describes_itself(hub, sent):
    device_id, partition, events = sent
    with consumer(hub) as client:
        properties = client.get_eventhub_properties()
        assert properties["eventhub_name"] == hub.event_hub_compatible["name"]
        assert properties["partition_ids"] == client.get_partition_ids()
        assert abs(datetime.datetime.now(datetime.timezone.utc) - properties["created_at"]) < datetime.timedelta(days=1)
        described = client.get_partition_properties(partition)
        assert described["id"] == partition and not described["is_empty"]
        assert described["beginning_sequence_number"] == 0
        assert described["last_enqueued_sequence_number"] >= events[-1]["sequenceNumber"]
        assert described["last_enqueued_offset"] == str(described["last_enqueued_sequence_number"])
        with pytest.raises(EventHubError):
            client.get_partition_properties("99")


@pytest.mark.parametrize("transport", [TransportType.Amqp, TransportType.AmqpOverWebsocket])
def test_every_property_of_a_message_is_read(hub, new_device, connect, transport):
    device = new_device()
    message = message_with_every_property()
    message.custom_properties["alert"] = "a b&c"
    message.custom_properties["ünï"] = "çödé ☃"
    connect(device).send_message(message)
    # Over WebSocket the SDK waits for silent partitions one after the other, so it is told which one.
    with Reader(hub, transport_type=transport, **at(hub.events(device.device_id, 1)[0])) as reader:
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


def test_the_start_positions(hub, sent):
    device_id, partition, events = sent
    fifth = events[5]
    enqueued = datetime.datetime.fromisoformat(fifth["enqueuedTime"][:23] + "+00:00")
    for position, inclusive, first in [
        (str(fifth["offset"]), False, 6),
        (str(fifth["offset"]), True, 5),
        (fifth["sequenceNumber"], False, 6),
        (fifth["sequenceNumber"], True, 5),
        (enqueued - datetime.timedelta(milliseconds=1), False, None),
        (enqueued, True, None),
        ("-1", False, 0),
    ]:
        options = {"partition_id": partition, "starting_position": position, "starting_position_inclusive": inclusive}
        with Reader(hub, **options) as reader:
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


def test_an_event_of_many_frames_arrives(hub, new_device, connect):
    device = new_device()
    body = "x" * 200_000
    connect(device).send_message(body)
    with Reader(hub, track_last_enqueued_event_properties=True, **at(hub.events(device.device_id, 1)[0])) as reader:
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
    device_policy = dict(part.split("=", 1) for part in hub.connection_strings["device"].split(";"))
    endpoint = good.split(";")[0]
    not_enough = (
        f"{endpoint};SharedAccessKeyName=device;SharedAccessKey={device_policy['SharedAccessKey']};"
        f"EntityPath={hub.event_hub_compatible['name']}"
    )
    with Reader(hub, connection_string=not_enough, **options) as reader:
        assert isinstance(reader.error(), EventHubError)
        assert reader.events.empty()
    producer = EventHubProducerClient.from_connection_string(
        good, connection_verify=hub.certificate_authority_file, transport_type=TransportType.Amqp, retry_total=0
    )
    with producer, pytest.raises(EventHubError):
        producer.send_batch([EventData("x")])
