"""A hub is killed while devices send and a reader with a checkpoint store reads: nothing is lost, nothing changes places."""

import threading
import time

from own_hub import hub, needs_own_hub, registry  # noqa: F401
from processors import Processor, eventually

pytestmark = needs_own_hub
FROM_THE_START = {"starting_position": "-1"}


class Sender:
    """A device that sends one message after the other, and remembers which the hub took."""

    def __init__(self, client, name):
        self.acknowledged = []
        self._client, self._name, self._is_over = client, name, threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self):
        number = 0
        while not self._is_over.is_set():
            body = f"{self._name} {number}"
            try:
                self._client.send_message(body)
                self.acknowledged.append(body)
            except Exception:  # the hub is away, and nobody promised anything
                time.sleep(0.05)
            number += 1
            time.sleep(0.05)

    def stop(self):
        self._is_over.set()
        self._thread.join(20)


def wait_for_more(senders, processors, count):
    """Each device has sent so many more, and all that it was promised until then is handled."""
    until = [len(sender.acknowledged) + count for sender in senders]
    eventually("more", lambda: all(len(sender.acknowledged) >= end for sender, end in zip(senders, until)))
    wait_for_all(senders, processors)


def wait_for_all(senders, processors):
    promised = {body for sender in senders for body in list(sender.acknowledged)}
    handled = lambda: set().union(*(processor.bodies for processor in processors))  # noqa: E731
    eventually("what was acknowledged", lambda: promised <= handled())


def test_readers_go_on_where_they_were(hub, new_device, connect, tmp_path):
    devices = [new_device() for _ in range(4)]
    senders = [Sender(connect(device, connection_retry_interval=1), device.device_id) for device in devices]
    with Processor(hub, tmp_path, **FROM_THE_START) as first:
        wait_for_more(senders, [first], 20)
        hub.kill()
        hub.start()
        wait_for_more(senders, [first], 20)
    # This time the reader goes too, and devices still send.
    hub.kill()
    hub.start()
    with Processor(hub, tmp_path, **FROM_THE_START) as second:
        wait_for_more(senders, [first, second], 20)
        for sender in senders:
            sender.stop()
        wait_for_all(senders, [first, second])

    for life in (first, second):
        for events in life.by_partition().values():
            numbers = [event.sequence_number for event in events]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "none left out, none twice"
    last, begin = first.by_partition(), second.by_partition()
    for partition in last.keys() & begin.keys():
        assert begin[partition][0].sequence_number == last[partition][-1].sequence_number + 1
    # An offset means the same event to whoever reads it, whenever.
    handled = {(int(event.partition), int(event.offset)): event.body for event in first.handled + second.handled}
    for device in devices:
        for event in hub.events(device.device_id, 1):
            assert handled[event["partition"], int(event["offset"])] == event["body"]
