"""Readers that stop to read cost the hub no memory, and nobody waits for them."""

from event_readers import Reader
from own_hub import hub, needs_own_hub, registry  # noqa: F401

pytestmark = needs_own_hub
MESSAGES = 125
BYTES = 200_000
# After so many the hub has all the buffers that it needs for this.
WARM_UP = 25
# Half of what is sent afterwards: keeping it for one of the slow readers would take twice as much.
GROWTH_BYTES_MAX = (MESSAGES - WARM_UP) * BYTES // 2


def body(number):
    return f"{number:08}".ljust(BYTES, "x")


def numbers(events):
    assert all(len(event.body_as_str()) == BYTES for event in events)
    return [int(event.body_as_str()[:8]) for event in events]


def test_slow_readers_hold_up_nobody(hub, new_device, connect):
    device = new_device()
    client = connect(device)
    client.send_message(body(0))
    (first,) = hub.events(device.device_id, 1)
    start = {"partition_id": str(first["partition"]), "starting_position": "-1"}
    without_credit, with_credit = Reader(hub, prefetch=4, **start), Reader(hub, **start)
    for slow in (without_credit, with_credit):
        slow.may_go_on.clear()
    with without_credit, with_credit, Reader(hub, **start) as one, Reader(hub, **start) as other:
        readers = [without_credit, with_credit, one, other]
        assert all(reader.next().offset == str(first["offset"]) for reader in readers)
        for number in range(1, MESSAGES):
            if number == WARM_UP:
                before = hub.resident_bytes()
            client.send_message(body(number))
        for reader in (one, other):
            assert numbers(reader.of_device(device.device_id, MESSAGES - 1)) == list(range(1, MESSAGES))
        assert without_credit.events.qsize() + with_credit.events.qsize() < MESSAGES
        growth = hub.resident_bytes() - before
        assert growth < GROWTH_BYTES_MAX, f"{growth / 1024 / 1024:.0f} MiB"
        for slow in (without_credit, with_credit):
            slow.may_go_on.set()
            assert numbers(slow.of_device(device.device_id, MESSAGES - 1)) == list(range(1, MESSAGES))
