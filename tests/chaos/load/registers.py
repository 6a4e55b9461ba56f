"""A property with one writer who counts up, as readers see it."""


class Register:
    """Linearizable: a read gives what was acknowledged before it began, or something newer that had begun by its end. A
    write without an answer may take effect at any time after it began, or never."""

    def __init__(self, writer):
        self._writer = writer

    def before_read(self):
        return self._writer.acknowledged

    def check(self, acknowledged_before, value):
        """What is wrong with a value that was read, if anything is."""
        if value > self._writer.began:
            return f"{self._writer.name}: {value} was read and never written"
        if value < acknowledged_before and value not in self._writer.failed:
            return f"{self._writer.name}: {value} was read after {acknowledged_before} was acknowledged"
        return None
