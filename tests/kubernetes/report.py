"""What a run saw: steps with their times, figures, violations."""

import contextlib
import pathlib
import time
import traceback


class Report:
    def __init__(self):
        self.violations, self.figures, self.steps, self.lines = [], {}, 0, []

    def say(self, text):
        self.lines.append(f"{time.strftime('%H:%M:%S')} {text}")
        print(self.lines[-1], flush=True)

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
        self.figures[name] = max((value, unit, must), self.figures.get(name, (0, unit, must)))
        if must is not None and value > must:
            self.violation(f"{name} is {value:.1f} {unit}, must be {must} {unit} at most")

    def write(self, path, verdict):
        """As a page of tests/reports."""
        rows = [f"| {name} | {value:.1f} {unit} | {f'{must} {unit}' if must else ''} |" for name, (value, unit, must) in self.figures.items()]
        text = [f"# Kubernetes, {time.strftime('%Y-%m-%d')}", "", f"`make test-kubernetes`: {verdict}", ""]
        text += ["| figure | measured | must |", "|---|---|---|", *rows, "", "```", *self.lines, "```", ""]
        pathlib.Path(path).write_text("\n".join(text))
