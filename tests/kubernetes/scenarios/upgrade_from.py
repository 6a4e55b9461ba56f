"""A hub of the image before the chart: it has neither operator nor Job. It becomes one of today, while it is used."""

import os
import pathlib

import kubernetes
from installed_hub import InstalledHub
from scenarios.upgrade import WITHOUT_SERVICE_SECONDS_MAX, images

BEFORE, NOW = "before", "test"
SECRETS = {"server": "server", "gateway": "peer", "shard": "peer"}
# That image knows a few settings less, and takes nothing from the operator.
VALUES = ("--set", "operator.enabled=false", "--set", "certificates.source=secrets", "--set", "certificates.secrets.tickets=own-tickets")
SECONDS = 400


def run(report, folder, values, new_load):
    """`new_load` makes the load of a hub."""
    with report.step("certificates of one's own"):
        bring_certificates(pathlib.Path(folder) / "own")
    with report.step(f"helm install with the image {BEFORE}"):
        release("install", values, BEFORE)
    hub = InstalledHub(folder, secret="own-server")
    os.environ["REQUESTS_CA_BUNDLE"] = hub.certificate_authority_file
    with new_load(hub).at_work() as load:
        # Gateways of that image did not wait for the peer's end, by which the SDK's network thread may end for good.
        with load.phase("upgrade from before", without_service_max=WITHOUT_SERVICE_SECONDS_MAX, may_stop=True):
            with report.step(f"helm upgrade from the image {BEFORE}"):
                release("upgrade", values, NOW)
                kubernetes.wait_until_ready(seconds=SECONDS)
        report.expect(images() == {f"ironhub:{NOW}"}, f"the images are {images()}")
    with report.step("the hub is removed, as docs/kubernetes.md says"):
        remove()


def release(verb, values, tag):
    words = ("--values", values, *VALUES, "--set", f"image.tag={tag}", "--wait", "--timeout", f"{SECONDS}s")
    secrets = [word for part in SECRETS for word in ("--set", f"certificates.secrets.{part}=own-{part}")]
    kubernetes.helm(verb, kubernetes.RELEASE, kubernetes.CHART, *words, *secrets, timeout=SECONDS + 30)


def bring_certificates(folder):
    """Made on this machine, and kept as Secrets as cert-manager would name their entries."""
    service = f"{kubernetes.RELEASE}-gateway"
    names = (f"{service}.default.svc.cluster.local", service)
    kubernetes.run(os.environ["IRONHUB_BINARY"], "prepare-cluster", folder, *(f"--host-name={name}" for name in names))
    for part, where in SECRETS.items():
        files = {"tls.crt": f"{part}.pem", "tls.key": f"{part}-key.pem", "ca.crt": "authority.pem"}
        entries = [f"--from-file={key}={folder / where / file}" for key, file in files.items()]
        kubernetes.kubectl("create", "secret", "generic", f"own-{part}", "--type=kubernetes.io/tls", *entries)
    kubernetes.kubectl("create", "secret", "generic", "own-tickets", f"--from-file={folder / 'server' / 'ticket-secret'}")


def remove():
    kubernetes.helm("uninstall", kubernetes.RELEASE, "--wait", "--timeout", "2m")
    kubernetes.wait_for("no pods are left", lambda: not kubernetes.kubectl("get", "pods", "-o", "name").strip())
    kubernetes.kubectl("delete", "pvc", "-l", f"app.kubernetes.io/instance={kubernetes.RELEASE}", timeout=120)
    own = [f"own-{part}" for part in (*SECRETS, "tickets")]
    kubernetes.kubectl("delete", "secret", *own)
