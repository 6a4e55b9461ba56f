"""Readers of the events, made of azure-eventhub."""

import queue
import threading
import time

from azure.eventhub import EventHubConsumerClient, TransportType

PATIENCE_SECONDS = 20


def consumer(hub, consumer_group="$Default", connection_string=None, **options):
    """A client that gives up at once: what the hub says is seen, and what it says next too."""
    return EventHubConsumerClient.from_connection_string(
        connection_string or hub.event_hub_compatible["connectionString"],
        consumer_group,
        connection_verify=hub.certificate_authority_file,
        retry_total=0,
        **{"transport_type": TransportType.Amqp, **options},
    )


class Reader:
    """A consumer client that reads in a thread of its own."""

    def __init__(self, hub, consumer_group="$Default", connection_string=None, client_options=None, **options):
        self.events, self.errors, self.closed = queue.Queue(), queue.Queue(), queue.Queue()
        self.client = consumer(hub, consumer_group, connection_string, **(client_options or {}))
        self.options = options
        # While it is not set, the handler does not come back, and the client asks for no more.
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __enter__(self):
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()
        return self

    def _receive(self):
        # In batches: one by one, the SDK looks for more on the socket for 0.2 s before it hands out the next.
        self.client.receive_batch(
            on_event_batch=self._handle,
            on_error=lambda partition, error: self.errors.put(error),
            on_partition_close=lambda partition, reason: self.closed.put(reason),
            **self.options,
        )

    def _handle(self, partition, events):
        for event in events:
            self.events.put(event)
        self.may_go_on.wait()

    def __exit__(self, *_):
        self.may_go_on.set()
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
