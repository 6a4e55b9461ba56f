"""What the oracles of the load find wrong, and what not."""

import time

from history import History
from load.registers import Register
from load.worker import Worker


class Writer:
    name = "writer"

    def __init__(self, began, acknowledged, failed=(), spans=None):
        self.began, self.acknowledged, self.failed, self.spans = began, acknowledged, set(failed), spans or {}


def test_a_read_is_between_what_was_acknowledged_and_what_had_begun():
    register = Register(Writer(began=7, acknowledged=6))
    acknowledged, asked = register.before_read()
    assert acknowledged == 6
    assert [register.check((5, asked), value) for value in (5, 6, 7)] == [None, None, None]
    assert "after 5 was acknowledged" in register.check((5, asked), 4)
    assert "never written" in register.check((5, asked), 8)


def test_a_write_without_an_answer_may_take_effect_at_any_time():
    register = Register(Writer(began=7, acknowledged=7, failed=[4]))
    assert register.check((6, 0), 4) is None
    assert register.check((6, 0), 5) is not None


def test_a_patch_may_come_again_until_a_later_message_is_acknowledged():
    telemetry = Writer(began=2, acknowledged=2, spans={1: (10, 20), 2: (31, 40)})
    register = Register(Writer(began=7, acknowledged=7, spans={4: (28, 30), 5: (32, 33)}), behind=telemetry)
    assert register.check((6, 39), 4) is None, "the message of 31 to 40 is not acknowledged yet"
    assert register.check((6, 41), 4) is not None
    assert register.check((6, 41), 5) is None, "it was sent after the message"


def test_a_worker_knows_what_succeeded_and_what_did_not(tmp_path):
    def operation(number):
        if number == 2:
            raise OSError("no answer")
        return number * 10

    history = History(tmp_path / "history")
    worker = Worker("even", operation, history)
    worker.start()
    deadline = time.monotonic() + 30
    while worker.acknowledged < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.stop()
    worker.join()
    assert worker.succeeded[:2] == [1, 3]
    assert worker.failed == {2}
    history.fault("the end")
    lines = (tmp_path / "history").read_text().splitlines()
    assert lines[0].startswith('["even", 1, ') and lines[0].endswith(", 10]")
    assert "no answer" in lines[1] and "the end" in lines[-1]
