"""Every operation with its beginning, its end and its outcome, and every fault: one line of JSON each."""

import json
import threading
import time


class History:
    def __init__(self, file):
        self._file, self._lock = open(file, "w", encoding="utf-8"), threading.Lock()
        self._zero = time.monotonic()

    def note(self, who, number, began, outcome):
        ended = time.monotonic()
        line = [who, number, round(began - self._zero, 4), round(ended - self._zero, 4), outcome]
        with self._lock:
            print(json.dumps(line, default=str), file=self._file)

    def fault(self, text):
        self.note("fault", 0, time.monotonic(), text)
        self._file.flush()
