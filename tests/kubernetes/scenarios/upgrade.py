"""The whole release goes to another image while it is used."""

import kubernetes

# Of issue 8.
WITHOUT_SERVICE_SECONDS_MAX = 30
UPGRADE_SECONDS = 400


def run(report, load, values, tag):
    before = images()
    with load.phase("rolling upgrade", without_service_max=WITHOUT_SERVICE_SECONDS_MAX):
        with report.step(f"helm upgrade to the image {tag}"):
            words = ("--values", values, "--set", f"image.tag={tag}", "--wait", "--timeout", f"{UPGRADE_SECONDS}s")
            kubernetes.helm("upgrade", kubernetes.RELEASE, kubernetes.CHART, *words, timeout=UPGRADE_SECONDS + 30)
            # Helm does not wait for pods that are on their way out, nor for the last of a StatefulSet to have served.
            kubernetes.wait_until_ready()
    report.expect(images() == {f"ironhub:{tag}"} != before, f"the images are {images()}")


def images():
    pods = [pod for part in ("gateway", "shard") for pod in kubernetes.pods(part).values()]
    return {container["image"] for pod in pods for container in pod["spec"]["containers"]}
