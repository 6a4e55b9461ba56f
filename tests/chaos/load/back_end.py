"""What back ends do that is about no single device."""

import json
import threading
import time

from azure.iot.hub.models import Twin
from msrest.exceptions import HttpOperationError

from .worker import Worker

COUNTER = "chaos-counter"
# They race for every number.
COUNTING_BACK_ENDS = 2


class Feedback:
    """Reads what became of messages."""

    def __init__(self, cluster, history):
        self._cluster, self._history = cluster, history
        self._told, self._changed = {}, threading.Condition()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.wrong = []

    def start(self):
        self._thread.start()

    def _run(self):
        path = "/messages/servicebound/feedback"
        while not self._ends.is_set():
            began = time.monotonic()
            try:
                lock_token, batch = self._cluster.request("GET", path)
                if lock_token is None:
                    time.sleep(0.2)
                    continue
                records = json.loads(batch)
                # Before it is completed: without an answer to that it may be all the same.
                self._take(records)
                self._history.note("feedback", 0, began, [record["originalMessageId"] for record in records])
                self._cluster.request("DELETE", f"{path}/{lock_token}")
            except OSError:  # Of a batch that was not completed we hear again.
                time.sleep(0.2)

    def _take(self, records):
        with self._changed:
            for record in records:
                self._told[record["originalMessageId"]] = record["statusCode"]
                if record["statusCode"] != "Success":
                    self.wrong.append(f"feedback that nothing explains: {record}")
            self._changed.notify_all()

    def wait_for(self, message_ids, seconds):
        """Those of them that it was told of, at last after that time."""
        with self._changed:
            self._changed.wait_for(lambda: message_ids <= self._told.keys(), seconds)
            return message_ids & self._told.keys()

    def stop(self):
        self._ends.set()
        self._thread.join(60)


class Identities:
    """Creates devices, finds them, and deletes every second one."""

    def __init__(self, registry, history):
        self._registry, self.wrong = registry, []
        self._kept, self._deleted = set(), set()
        self.worker = Worker("back end identity", self._create, history)

    def _create(self, number):
        device_id = f"identity-{number}"
        self._registry().create_device_with_sas(device_id, "", "", "enabled")
        self._kept.add(device_id)
        if not self._is_there(device_id):
            self.wrong.append(f"{device_id} was created, and is not there")
        if number % 2 == 0:
            # Gone or not until it is acknowledged.
            self._kept.discard(device_id)
            self._registry().delete_device(device_id)
            self._deleted.add(device_id)

    def _is_there(self, device_id):
        try:
            return self._registry().get_device(device_id).device_id == device_id
        except HttpOperationError as error:
            if error.response.status_code == 404:
                return False
            raise

    def check(self):
        lost = [device_id for device_id in self._kept if not self._is_there(device_id)]
        back = [device_id for device_id in self._deleted if self._is_there(device_id)]
        return [
            *self.wrong,
            *([f"created devices are lost: {sorted(lost)[:20]}"] if lost else []),
            *([f"deleted devices are there: {sorted(back)[:20]}"] if back else []),
        ]


class Counter:
    """A number that several back ends count up, each with the ETag of what it read."""

    def __init__(self, registry, history):
        self._registry = registry
        self.numbers, self.wrong = [], []
        names = [f"back end counter-{number}" for number in range(COUNTING_BACK_ENDS)]
        self.workers = [Worker(name, self._count, history) for name in names]
        registry().create_device_with_sas(COUNTER, "", "", "enabled")

    def _count(self, _number):
        twin = self._registry().get_twin(COUNTER)
        number = (twin.tags or {}).get("number", 0) + 1
        self._registry().update_twin(COUNTER, Twin(tags={"number": number}), f'"{twin.etag}"')
        self.numbers.append(number)
        return number

    def check(self):
        twice = len(self.numbers) - len(set(self.numbers))
        last = (self._registry().get_twin(COUNTER).tags or {}).get("number", 0)
        wrong = [f"{twice} numbers were given to two back ends"] if twice else []
        unanswered = sum(len(worker.failed) for worker in self.workers)
        if not max(self.numbers, default=0) <= last <= len(self.numbers) + unanswered:
            wrong.append(f"the counter is {last} after {len(self.numbers)} counts and {unanswered} without an answer")
        return wrong
