"""A fresh cluster of three nodes, a release in it, everything that may happen to it, and a verdict."""

import argparse
import os
import pathlib
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
for folder in (HERE, HERE.parent / "chaos", HERE.parent / "sdk" / "python"):
    sys.path.insert(0, str(folder))

import kubernetes  # noqa: E402
from history import History  # noqa: E402
from observed_load import ObservedLoad  # noqa: E402
from report import Report  # noqa: E402
from scenarios import custom_resource, fleet, install, nodes, pods, reinstall, upgrade, upgrade_from  # noqa: E402

VALUES = HERE / "values.yaml"
SCENARIOS = ["upgrade-from", "fleet", "pods", "nodes", "custom-resource", "upgrade", "reinstall"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--fleet-devices", type=int, default=5000)
    parser.add_argument("--fleet-minutes", type=float, default=2)
    parser.add_argument("--upgrade-tag", default="test-2", help="another tag of the image that is loaded")
    parser.add_argument("--only", nargs="*", default=SCENARIOS, choices=SCENARIOS, help="scenarios beside the install")
    parser.add_argument("--report", help="write what was seen into this file, as Markdown")
    return parser.parse_args()


def under_load(report, hub, arguments, history):
    """What devices and back ends must not notice, or not for long."""
    scenarios = {
        "pods": lambda load: pods.run(report, load),
        "nodes": lambda load: nodes.run(report, load),
        "custom-resource": lambda load: custom_resource.run(report, load),
        "upgrade": lambda load: upgrade.run(report, load, VALUES, arguments.upgrade_tag),
    }
    with ObservedLoad(hub, arguments.devices, history, report).at_work() as load:
        for name, scenario in scenarios.items():
            if name in arguments.only:
                scenario(load)


def main():
    arguments = parse()
    folder = tempfile.mkdtemp(prefix="ironhub-kubernetes-")
    # What the SDKs say of lost connections is no news here.
    sys.stderr = open(pathlib.Path(folder) / "sdk-log", "a", buffering=1)
    report, start = Report(), time.monotonic()
    try:
        if "upgrade-from" in arguments.only:
            history = History(pathlib.Path(folder) / "history-of-upgrade-from")
            upgrade_from.run(report, folder, VALUES, lambda hub: ObservedLoad(hub, arguments.devices, history, report))
        hub = install.run(report, folder, VALUES)
        if "fleet" in arguments.only:
            fleet.run(report, folder, VALUES, arguments.upgrade_tag, arguments.fleet_devices, arguments.fleet_minutes)
        under_load(report, hub, arguments, History(pathlib.Path(folder) / "history"))
        if "reinstall" in arguments.only:
            reinstall.run(report, hub, VALUES)
    except Exception as error:
        report.violation(f"{type(error).__name__}: {error}")
    if report.violations:
        print(kubernetes.explain())
        report.say(f"history of the operations, logs of the SDKs: {folder}")
    minutes = (time.monotonic() - start) / 60
    verdict = f"{report.steps} steps in {minutes:.1f} min, {len(report.violations)} violations"
    if arguments.report:
        report.write(arguments.report, verdict)
    print(f"kubernetes: {verdict}", flush=True)
    return 1 if report.violations else 0


if __name__ == "__main__":
    # The SDKs' threads do not end, and would have their say behind the verdict.
    os._exit(main())
