"""Event processors: consumer clients that share the partitions with others by a checkpoint store."""

import asyncio
import collections
import threading
import time

from azure.eventhub import TransportType
from azure.eventhub.aio import EventHubConsumerClient

from event_readers import PATIENCE_SECONDS
from file_checkpoint_store import FileCheckpointStore

Handled = collections.namedtuple("Handled", "partition sequence_number offset body")


class Processor:
    """One life of an application that handles events and notes after each batch how far it came. It runs in a thread of
    its own, with the asynchronous client: the other one reads its partitions one after the other."""

    def __init__(self, hub, folder, consumer_group="$Default", **options):
        self.handled, self.partitions = [], set()
        self._hub, self._folder, self._consumer_group, self._options = hub, folder, consumer_group, options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def _run(self):
        self._loop.run_until_complete(self._receive())
        self._loop.close()

    async def _receive(self):
        self._client = EventHubConsumerClient.from_connection_string(
            self._hub.event_hub_compatible["connectionString"],
            self._consumer_group,
            checkpoint_store=FileCheckpointStore(self._folder),
            load_balancing_interval=0.2,
            partition_ownership_expiration_interval=5,
            connection_verify=self._hub.certificate_authority_file,
            transport_type=TransportType.Amqp,
            # A lost partition is claimed again, and read from the checkpoint.
            retry_total=0,
        )
        await self._client.receive_batch(
            on_event_batch=self._handle,
            on_partition_initialize=self._begin,
            on_partition_close=self._end,
            **self._options,
        )

    async def _handle(self, context, events):
        for event in events:
            self.handled.append(
                Handled(context.partition_id, event.sequence_number, event.offset, event.body_as_str())
            )
        if events:
            await context.update_checkpoint(events[-1])

    async def _begin(self, context):
        self.partitions.add(context.partition_id)

    async def _end(self, context, _):
        self.partitions.discard(context.partition_id)

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result(PATIENCE_SECONDS)
        self._thread.join(PATIENCE_SECONDS)

    @property
    def bodies(self):
        return {event.body for event in list(self.handled)}

    def by_partition(self):
        """What it handled, partition by partition, in its order."""
        found = collections.defaultdict(list)
        for event in self.handled:
            found[event.partition].append(event)
        return found


def eventually(what, is_so):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"in vain waited for: {what}"
        time.sleep(0.02)
