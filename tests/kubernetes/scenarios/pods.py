"""Pods are deleted, in an orderly way and by force."""

import kubernetes

GONE_SECONDS = 60


def run(report, load):
    for name in sorted(kubernetes.pods("shard")):
        for force in (False, True):
            delete(report, load, "shard", name, force)
    for force in (False, True):
        delete(report, load, "gateway", sorted(kubernetes.pods("gateway"))[0], force)
    with load.phase("kafka deleted by force"), report.step("Kafka's pod is deleted by force, and is back"):
        kubernetes.kubectl("delete", "pod", f"{kubernetes.RELEASE}-kafka-0", "--force", "--grace-period=0")
        kubernetes.kubectl("rollout", "status", f"sts/{kubernetes.RELEASE}-kafka", "--timeout=120s", timeout=130)


def delete(report, load, part, name, force):
    how = "by force" if force else "in order"
    with load.phase(f"{part} deleted {how}", without_service_max=30):
        with report.step(f"{name} is deleted {how}, and replaced"):
            before = uids()
            words = ("--force", "--grace-period=0") if force else ()
            kubernetes.kubectl("delete", "pod", name, *words, timeout=GONE_SECONDS)
            kubernetes.wait_for("another pod", lambda: not before <= uids(), GONE_SECONDS)
            kubernetes.wait_until_ready()


def uids():
    return {pod["metadata"]["uid"] for part in ("gateway", "shard") for pod in kubernetes.pods(part).values()}
