"""The IotHub: shards from three to five and back while operators end, a shard that is drained, policies and certificates."""

import base64
import json
import os

import kubernetes

RESOURCE = f"iothub/{kubernetes.RELEASE}"
# Moving the replicas of two shards, on one machine.
MOVED_SECONDS = 240
# Secrets are looked at once a minute.
SECRET_SECONDS = 120


def run(report, load):
    with report.step("the hub is as its IotHub says"):
        wait_until("Ready", "SettingsApplied", "ShardsSettled")
    with load.phase("three to five shards", without_service_max=30):
        with report.step("five shards, and each has its share"):
            scale(5)
            wait_until("ShardsSettled")
            kubernetes.wait_until_ready(shards=5)
            report.expect(all(node["replicas"] > 0 for node in nodes()), f"without a share: {nodes()}")
    with load.phase("five to three shards", without_service_max=30):
        with report.step("three shards, although the operator ends twice meanwhile"):
            scale(3)
            for _ in range(2):
                kubernetes.wait_for("shards drain", lambda: any(node["state"] == "draining" for node in nodes()), 60)
                end_operator()
            wait_until("ShardsSettled")
            kubernetes.wait_until_ready(shards=3)
            report.expect(names() == expected(3), f"nodes that are left: {nodes()}")
            report.expect("finalizers" not in resource()["metadata"], "the finalizer is still there")
    with load.phase("a shard comes again", without_service_max=30):
        with report.step("a shard that was removed comes again, with another disk"):
            scale(4)
            wait_until("ShardsSettled")
            report.expect(names() == expected(4), f"nodes: {nodes()}")
    with load.phase("a shard is drained", without_service_max=30):
        with report.step("a shard carries nothing, then its share again"):
            patch({"drainedShards": [1]})
            wait_until("ShardsSettled")
            drained = next(node for node in nodes() if node["name"] == expected(2)[1])
            report.expect((drained["state"], drained["replicas"]) == ("draining", 0), f"drained: {drained}")
            patch({"drainedShards": []})
            wait_until("ShardsSettled")
            report.expect(all(node["replicas"] > 0 for node in nodes()), f"without a share: {nodes()}")
            scale(3)
            wait_until("ShardsSettled")
    with report.step("a policy comes, gets another key, and goes"):
        policy(report)
    with report.step("a certificate comes and goes"):
        certificate(report)


def policy(report):
    write_key(1)
    rights = ["RegistryRead", "ServiceConnect"]
    patch({"policies": [{"name": "dashboard", "rights": rights, "keysSecret": {"name": "dashboard-keys"}}]})
    wait_until("SettingsApplied")
    report.expect(key_of_dashboard() == key(1), "the key of the Secret is not that of the policy")
    write_key(2)
    kubernetes.wait_for("the other key", lambda: key_of_dashboard() == key(2), SECRET_SECONDS)
    patch({"policies": [{"name": "dashboard", "rights": rights, "keysSecret": {"name": "missing"}}]})
    kubernetes.wait_for("the mistake is told", lambda: "the Secret missing is not there" in condition("SettingsApplied")["message"])
    patch({"policies": []})
    kubernetes.wait_for("it is gone", lambda: "dashboard" not in kubernetes.ironhub("policy", "list"))
    wait_until("Ready", "SettingsApplied")


def certificate(report):
    words = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", os.devnull)
    pem = kubernetes.run("openssl", *words, "-subj", "/CN=Factory", "-days", "30")
    patch({"certificates": [{"name": "factory", "certificate": pem}]})
    kubernetes.wait_for("a verification code", lambda: factory().get("verificationCode"))
    patch({"certificates": [{"name": "factory", "certificate": pem, "isVerified": True}]})
    kubernetes.wait_for("it is verified", lambda: factory().get("isVerified"))
    report.expect("verificationCode" not in factory(), "a code that is of no use any more")
    patch({"certificates": []})
    kubernetes.wait_for("it is gone", lambda: "factory" not in kubernetes.ironhub("certificate", "list"))


def factory():
    """What the status says of the certificate, once it does."""
    certificates = resource()["status"].get("certificates", [])
    return next((it for it in certificates if it["name"] == "factory"), {})


def resource():
    return json.loads(kubernetes.kubectl("get", RESOURCE, "-o", "json"))


def condition(kind):
    return next(it for it in resource()["status"]["conditions"] if it["type"] == kind)


def wait_until(*kinds, seconds=MOVED_SECONDS):
    """The conditions hold for what is written now."""

    def hold():
        now = resource()
        conditions = {it["type"]: it for it in now["status"]["conditions"]}
        generation = now["metadata"]["generation"]
        return all(conditions[it]["status"] == "True" and conditions[it]["observedGeneration"] == generation for it in kinds)

    kubernetes.wait_for(" and ".join(kinds), hold, seconds)


def patch(spec):
    kubernetes.kubectl("patch", RESOURCE, "--type=merge", "-p", json.dumps({"spec": spec}))


def scale(shards):
    kubernetes.kubectl("scale", RESOURCE, f"--replicas={shards}")


def end_operator():
    selector = f"app.kubernetes.io/instance={kubernetes.RELEASE},app.kubernetes.io/component=operator"
    kubernetes.kubectl("delete", "pod", "-l", selector, "--force", "--grace-period=0")


def nodes():
    return resource()["status"]["shards"]["nodes"]


def names():
    return sorted(node["name"] for node in nodes() if node["state"] == "active")


def expected(shards):
    return [f"{kubernetes.RELEASE}-shard-{number}" for number in range(shards)]


def key(number):
    return base64.b64encode(bytes([number]) * 32).decode()


def write_key(number):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dashboard-keys"}, "stringData": {"primaryKey": key(number)}}
    path = kubernetes.pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / "ironhub-dashboard-keys.json"
    path.write_text(json.dumps(secret))
    kubernetes.kubectl("apply", "-f", path)
    path.unlink()


def key_of_dashboard():
    return json.loads(kubernetes.ironhub("policy", "show", "dashboard", "--json"))["primaryKey"]
