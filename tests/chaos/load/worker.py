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
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)

    @property
    def acknowledged(self):
        """The last number that succeeded."""
        return self.succeeded[-1] if self.succeeded else 0

    def start(self):
        self._last_success = time.monotonic()
        self._thread.start()

    def _run(self):
        while not self._ends.is_set():
            self.began += 1
            self._do(self.began)
            time.sleep(PAUSE_SECONDS)

    def _do(self, number):
        began = time.monotonic()
        try:
            result = self._operation(number)
        except Exception as error:  # Not promised: it may have happened or not.
            self.failed.add(number)
            self._history.note(self.name, number, began, f"failed: {error!r:.200}")
            time.sleep(AFTER_FAILURE_SECONDS)
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
