"""Readers of one consumer group that share the work by a checkpoint store, as back ends with several instances do."""

import datetime

import pytest

from processors import Processor, eventually


@pytest.fixture
def devices(new_device, connect):
    return [connect(new_device()) for _ in range(6)]


def send(devices, text):
    bodies = {f"{text} {number}" for number in range(5 * len(devices))}
    for number, body in enumerate(sorted(bodies)):
        devices[number % len(devices)].send_message(body)
    return bodies


def test_two_readers_share_the_partitions(hub, devices, consumer_group, tmp_path):
    start = {"starting_position": datetime.datetime.now(datetime.timezone.utc)}
    with Processor(hub, tmp_path, consumer_group, **start) as first:
        eventually("every partition", lambda: len(first.partitions) == 4)
        partitions = set(first.partitions)
        alone = send(devices, "alone")
        eventually("what is sent to one", lambda: alone <= first.bodies)
        with Processor(hub, tmp_path, consumer_group, **start) as second:
            eventually("two each", lambda: len(first.partitions) == len(second.partitions) == 2)
            assert first.partitions | second.partitions == partitions
            shared = send(devices, "shared")
            eventually("what is sent to both", lambda: shared <= first.bodies | second.bodies)
            of_first = {event.partition for event in first.handled if event.body in shared}
            of_second = {event.partition for event in second.handled if event.body in shared}
            assert not of_first & of_second and first.partitions.isdisjoint(second.partitions)
            eventually("two each", lambda: len(first.partitions) == len(second.partitions) == 2)
        eventually("every partition again", lambda: first.partitions == partitions)
        again = send(devices, "alone again")
        eventually("what is sent to the one that is left", lambda: again <= first.bodies)
    for processor in (first, second):
        for events in processor.by_partition().values():
            numbers = [event.sequence_number for event in events]
            assert numbers == sorted(set(numbers))
