"""A node loses power and comes back; another one is drained."""

import json

import kubernetes

NODE_SECONDS = 90


def run(report, load):
    with load.phase("node without power", recovery_seconds=120):
        lose_power(report, 3)
    with load.phase("node drained", without_service_max=30):
        drain(report, 2)


def lose_power(report, number):
    node = f"node{number}"
    with report.step(f"{node} loses power, and is missed"):
        kubernetes.node_power("kill", number)
        kubernetes.wait_for("its loss is seen", lambda: condition(node) == "Unknown", NODE_SECONDS)
    with report.step("gateways go on elsewhere without it"):
        kubernetes.wait_for("two gateways", lambda: len(ready_elsewhere("gateway", node)) == 2)
    with report.step("its shards are given up, and go on elsewhere with their volumes"):
        # Whoever says so knows that the node is off: Kubernetes never dares to.
        for name, pod in kubernetes.pods("shard").items():
            if pod["spec"].get("nodeName") == node:
                kubernetes.kubectl("delete", "pod", name, "--force", "--grace-period=0")
        kubernetes.wait_for("three shards", lambda: len(ready_elsewhere("shard", node)) == 3)
    with report.step(f"{node} has power again"):
        kubernetes.node_power("start", number)
        kubernetes.wait_for("it is back", lambda: condition(node) == "True", NODE_SECONDS)
        kubernetes.wait_until_ready()
        kubernetes.wait_until_settled()


def drain(report, number):
    node = f"node{number}"
    with report.step(f"{node} is drained, as the budgets allow"):
        kubernetes.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s", timeout=250)
        kubernetes.wait_until_ready()
        left = [name for part in ("gateway", "shard") for name, pod in kubernetes.pods(part).items() if pod["spec"]["nodeName"] == node]
        report.expect(not left, f"still on {node}: {left}")
    with report.step(f"{node} takes pods again"):
        kubernetes.kubectl("uncordon", node)
        kubernetes.wait_until_settled()


def condition(node):
    conditions = json.loads(kubernetes.kubectl("get", "node", node, "-o", "json"))["status"]["conditions"]
    return next(condition["status"] for condition in conditions if condition["type"] == "Ready")


def ready_elsewhere(part, node):
    pods = kubernetes.pods(part).values()
    return [pod for pod in pods if kubernetes.is_ready(pod) and pod["spec"].get("nodeName") != node]
