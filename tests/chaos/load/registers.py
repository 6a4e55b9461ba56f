"""A property with one writer who counts up, as readers see it."""

import time


class Register:
    """Linearizable: a read gives what was acknowledged before it began, or something newer that had begun by its end. A
    write without an answer may take effect at any time after it began, or never.

    MQTT delivers at least once: a device sends again what has no PUBACK when its connection breaks, patches of its twin too,
    whose PUBACKs keep their place behind those of telemetry. So they may be applied once more until a message that was sent
    after them, by the same device, is acknowledged: `behind` is who sends those."""

    def __init__(self, writer, behind=None):
        self._writer, self._behind = writer, behind

    def before_read(self):
        """To be kept for the check."""
        return self._writer.acknowledged, time.monotonic()

    def check(self, before_read, value):
        """What is wrong with a value that was read, if anything is."""
        acknowledged, asked = before_read
        if value > self._writer.began:
            return f"{self._writer.name}: {value} was read and never written"
        if value < acknowledged and value not in self._writer.failed and not self._may_come_again(value, asked):
            return f"{self._writer.name}: {value} was read after {acknowledged} was acknowledged"
        return None

    def _may_come_again(self, value, asked):
        if self._behind is None or value not in self._writer.spans:
            return False
        (_, written) = self._writer.spans[value]
        return not any(began > written and ended < asked for began, ended in list(self._behind.spans.values()))
