"""The cluster under test: kubectl, helm, and the power of its nodes. This process runs in the network of node 1."""

import json
import os
import pathlib
import subprocess
import time

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
CHART = ROOT / "helm" / "ironhub"
RELEASE = "hub"
# A pod that was evicted, pulled, started and has caught up.
READY_SECONDS = 180


class CommandFailed(Exception):
    pass


def run(*words, timeout=60, check=True):
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout)
    if check and result.returncode != 0:
        raise CommandFailed(f"{' '.join(str(word) for word in words[:6])}: {(result.stderr or result.stdout).strip()[-800:]}")
    return result.stdout


def kubectl(*words, **options):
    return run("kubectl", *words, **options)


def helm(*words, timeout=400):
    return run("helm", *words, timeout=timeout)


def ironhub(*words, timeout=60):
    """A command of the hub's operator, in a gateway's pod."""
    return kubectl("exec", f"deploy/{RELEASE}-gateway", "--", "ironhub", *words, timeout=timeout)


def node_power(verb, number):
    """`kill` or `start` of a node: nodes begin where this process came from, not in the network of node 1."""
    outside = os.environ["IRONHUB_OUTSIDE"]
    enter = ["nsenter", f"--net=/proc/{outside}/ns/net", f"--mount=/proc/{outside}/ns/mnt"]
    run(*enter, ROOT / "deploy" / "kubernetes" / "cluster", verb, number, timeout=120)


def pods(part):
    """Those of a part of the release, by name."""
    selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={part}"
    items = json.loads(kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return {item["metadata"]["name"]: item for item in items}


def is_ready(pod):
    conditions = pod["status"].get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def wait_for(what, condition, seconds=READY_SECONDS):
    """How long it took until the condition held; it may fail meanwhile."""
    start, last = time.monotonic(), None
    while True:
        try:
            if condition():
                return time.monotonic() - start
        except (CommandFailed, subprocess.TimeoutExpired) as error:
            last = error
        if time.monotonic() - start > seconds:
            raise CommandFailed(f"{what}: not within {seconds} s{f' ({last})' if last else ''}")
        time.sleep(0.5)


def wait_until_ready(gateways=2, shards=3, seconds=READY_SECONDS):
    """Every pod of the release is there, of the newest version, and serves."""

    def condition():
        workloads = json.loads(kubectl("get", f"deploy/{RELEASE}-gateway", f"sts/{RELEASE}-shard", "-o", "json"))["items"]
        return all(
            workload["status"].get("observedGeneration") == workload["metadata"]["generation"]
            and workload["status"].get("readyReplicas", 0) == workload["status"].get("updatedReplicas", 0) == wanted
            and workload["status"]["replicas"] == wanted
            for workload, wanted in zip(workloads, (gateways, shards))
        )

    return wait_for("all pods are ready", condition, seconds)


def wait_until_settled(seconds=READY_SECONDS):
    """Every group is where it is wanted."""
    return wait_for("the groups settle", lambda: json.loads(ironhub("cluster", "status", "--json"))["isSettled"], seconds)


def explain():
    """What there is, for whoever reads why a run failed."""
    return "\n".join(
        kubectl(*words, check=False)
        for words in (
            ("get", "nodes,pods,pvc", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "-l", f"app.kubernetes.io/instance={RELEASE}", "--all-containers", "--prefix", "--tail=30"),
        )
    )
