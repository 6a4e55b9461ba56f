"""A cluster of processes, load on it, faults in it, and a verdict."""

import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "sdk" / "python"))

import faults  # noqa: E402
import network  # noqa: E402
from history import History  # noqa: E402
from load import Load  # noqa: E402
from running_cluster import RunningCluster  # noqa: E402

# The time in which everything has to work again after the last fault.
HEALING_SECONDS = 120


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--devices", type=int, default=6)
    parser.add_argument("--only", action="append", help="a fault, such as kill or split; may be repeated")
    parser.add_argument("--keep", action="store_true", help="keep the history and the logs")
    return parser.parse_args()


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main():
    arguments = parse()
    say(f"seed {arguments.seed}, {arguments.minutes:g} minutes, {arguments.devices} devices")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ironhub-chaos-"))
    # What the SDKs say of lost connections is no news here.
    sys.stderr = open(folder / "sdk-log", "a", buffering=1)
    history = History(folder / "history")

    def tell(text):
        say(text)
        history.fault(text)

    network.build()
    cluster = RunningCluster(folder)
    os.environ["REQUESTS_CA_BUNDLE"] = cluster.certificate_authority_file
    violations = []
    load = Load(cluster, arguments.devices, history)
    try:
        load.start()
        chosen = faults.named(arguments.only)
        counts, unexpected = faults.inject(
            cluster, random.Random(arguments.seed), arguments.minutes * 60, tell, chosen
        )
        violations += unexpected
        tell("heals")
        violations += cluster.heal(HEALING_SECONDS)
        violations += load.wait_until_all_go_on(HEALING_SECONDS)
        load.stop()
        violations += load.check()
        say(f"faults: {', '.join(f'{name} {count}' for name, count in sorted(counts.items()))}")
        say(load.summary())
    finally:
        load.stop()
        load.shutdown()
        try:
            cluster.stop()
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            violations.append(f"the cluster does not end: {error}")
    for violation in violations:
        say(f"VIOLATION {violation}")
    if violations or arguments.keep:
        cluster.keep_logs()
        say(f"history and logs: {folder}")
    else:
        cluster.remove()
    print(f"chaos: seed {arguments.seed}, {len(violations)} violations", flush=True)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
