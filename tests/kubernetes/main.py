"""A fresh cluster of three nodes, a release in it, everything that may happen to it, and a verdict."""

import argparse
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
from scenarios import custom_resource, install, nodes, pods, reinstall, upgrade  # noqa: E402

VALUES = HERE / "values.yaml"


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--upgrade-tag", default="test-2", help="another tag of the image that is loaded")
    parser.add_argument("--only", nargs="*", default=["pods", "nodes", "custom-resource", "upgrade", "reinstall"], help="scenarios after the install")
    return parser.parse_args()


def under_load(report, hub, arguments, history):
    """What devices and back ends must not notice, or not for long."""
    scenarios = {
        "pods": lambda load: pods.run(report, load),
        "nodes": lambda load: nodes.run(report, load),
        "custom-resource": lambda load: custom_resource.run(report, load),
        "upgrade": lambda load: upgrade.run(report, load, VALUES, arguments.upgrade_tag),
    }
    load = ObservedLoad(hub, arguments.devices, history, report)
    try:
        load.start()
        for name, scenario in scenarios.items():
            if name in arguments.only:
                scenario(load)
        load.stop()
        with report.step("nothing that was acknowledged is lost"):
            for violation in load.check():
                report.violation(violation)
        report.say(load.summary())
    finally:
        load.stop()
        load.shutdown()


def main():
    arguments = parse()
    folder = tempfile.mkdtemp(prefix="ironhub-kubernetes-")
    # What the SDKs say of lost connections is no news here.
    sys.stderr = open(pathlib.Path(folder) / "sdk-log", "a", buffering=1)
    report, start = Report(), time.monotonic()
    try:
        hub = install.run(report, folder, VALUES)
        under_load(report, hub, arguments, History(pathlib.Path(folder) / "history"))
        if "reinstall" in arguments.only:
            reinstall.run(report, hub, VALUES)
    except Exception as error:
        report.violation(f"{type(error).__name__}: {error}")
    if report.violations:
        print(kubernetes.explain())
        report.say(f"history of the operations, logs of the SDKs: {folder}")
    minutes = (time.monotonic() - start) / 60
    figures = "; ".join(f"{name} {value:.1f} s" for name, value in report.figures.items())
    print(f"kubernetes: {report.steps} steps in {minutes:.1f} min, {len(report.violations)} violations; {figures}", flush=True)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
