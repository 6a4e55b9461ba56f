"""What a run saw: steps with their times, figures, violations."""

import contextlib
import time
import traceback


class Report:
    def __init__(self):
        self.violations, self.figures, self.steps = [], {}, 0

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    @contextlib.contextmanager
    def step(self, name):
        """One thing that is done and must succeed; the run goes on after one that did not."""
        start = time.monotonic()
        self.steps += 1
        try:
            yield
            self.say(f"ok {time.monotonic() - start:5.1f} s  {name}")
        except Exception as error:
            self.violation(f"{name}: {type(error).__name__}: {error}")
            traceback.print_exc()

    def violation(self, text):
        self.violations.append(text)
        self.say(f"VIOLATION {text}")

    def expect(self, truth, text):
        if not truth:
            self.violation(text)

    def figure(self, name, value, unit, must=None):
        """Of several of one name the largest is kept."""
        self.say(f"figure: {name}: {value:.1f} {unit}")
        self.figures[name] = max(value, self.figures.get(name, 0))
        if must is not None and value > must:
            self.violation(f"{name} is {value:.1f} {unit}, must be {must} {unit} at most")
