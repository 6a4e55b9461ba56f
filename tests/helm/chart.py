"""The chart under test, and Helm: IRONHUB_HELM names the program."""

import difflib
import functools
import json
import os
import pathlib
import re
import subprocess

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
CHART = ROOT / "helm" / "ironhub"
SNAPSHOTS = HERE / "snapshots"
# Enough to be rendered; every case changes something of it.
BASE = HERE / "base.yaml"
# Drawn anew by each rendering.
RANDOM = re.compile(r"(ticket-secret: ).*")


def helm(*words):
    return subprocess.run([os.environ["IRONHUB_HELM"], *map(str, words)], capture_output=True, text=True, timeout=60)


def render(*value_files, sets=()):
    """What `helm install hub` would send to Kubernetes, hooks included."""
    values = [word for file in value_files for word in ("--values", file)]
    settings = [word for setting in sets for word in ("--set", setting)]
    result = helm("template", "hub", CHART, "--namespace", "iot", *values, *settings)
    if result.returncode != 0:
        raise ValueError(result.stderr)
    return RANDOM.sub(r"\1DRAWN", result.stdout)


def defaults(folder):
    """The values of values.yaml, read by Helm: a chart in an empty folder that renders its values."""
    (folder / "templates").mkdir()
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: values, version: 1.0.0}")
    (folder / "values.yaml").write_text((CHART / "values.yaml").read_text())
    (folder / "templates" / "values.yaml").write_text("{{ toJson .Values }}")
    return json.loads(helm("template", folder).stdout.split("\n", 2)[2])


def cases():
    return sorted(file.stem for file in (HERE / "cases").glob("*.yaml"))


@functools.cache
def rendered(case=None):
    return render(BASE) if case is None else render(BASE, HERE / "cases" / f"{case}.yaml")


def snapshot(case=None):
    """The whole rendering of the base; of a case, what it changes in that."""
    if case is None:
        return rendered()
    lines = difflib.unified_diff(rendered().splitlines(), rendered(case).splitlines(), n=2, lineterm="")
    # Where the lines stand is no news.
    return "".join(("@@" if line.startswith("@@") else line) + "\n" for line in list(lines)[2:])
