"""One operation, again and again."""

import threading
import time

# Between two operations of one worker.
PAUSE_SECONDS = 0.05
AFTER_FAILURE_SECONDS = 0.2


class Worker:
    """Repeats one operation, numbered from 1; knows when each began and ended, and how."""

    def __init__(self, name, operation, history):
        self.name, self._operation, self._history = name, operation, history
        self.began = 0
        self.succeeded, self.failed, self.longest_seconds = [], set(), 0.0
        # Beginning and end of each success.
        self.spans = {}
        self._last_success = time.monotonic()
        self._ends = threading.Event()
        self._under_way_since = None
        self._thread = None

    @property
    def acknowledged(self):
        """The last number that succeeded."""
        return self.succeeded[-1] if self.succeeded else 0

    def start(self):
        self._last_success = time.monotonic()
        self._begin()

    def _begin(self):
        self._thread = threading.Thread(target=self._run, daemon=True, name=self.name)
        self._thread.start()

    def seconds_under_way(self):
        """For how long it has waited for the end of its operation."""
        since = self._under_way_since
        return time.monotonic() - since if since else 0.0

    def give_up(self):
        """What is under way will not end, but nobody waits for it any more."""
        self.failed.add(self.began)
        self._begin()

    def _run(self):
        me = threading.current_thread()
        while self._thread is me and not self._ends.is_set():
            self.began += 1
            self._do(self.began, me)
            time.sleep(PAUSE_SECONDS)

    def _do(self, number, me):
        began = self._under_way_since = time.monotonic()
        try:
            result = self._operation(number)
        except Exception as error:  # Not promised: it may have happened or not.
            self.failed.add(number)
            self._history.note(self.name, number, began, f"failed: {error!r:.200}")
            time.sleep(AFTER_FAILURE_SECONDS)
            return
        if self._thread is not me:
            return
        now = time.monotonic()
        self.spans[number] = (began, now)
        self.succeeded.append(number)
        self._history.note(self.name, number, began, result)
        self.longest_seconds = max(self.longest_seconds, now - self._last_success)
        self._last_success = now

    def stop(self):
        self._ends.set()

    def join(self):
        self._thread.join(60)
