"""The load test as docs/kubernetes.md has it: a fleet of devices and its back ends come through the Service, from a pod. First
nothing happens; then the whole release goes to another image meanwhile."""

import json
import pathlib
import re

import kubernetes
from scenarios.upgrade import WITHOUT_SERVICE_SECONDS_MAX, images

RAMP_UP_SECONDS = 60
# Beside the load: to make the devices, to look for what was acknowledged, to delete them.
BESIDE_SECONDS = 600
UPGRADE_SECONDS = 400
# What two of them take on a slow machine.
UPGRADES_MINUTES = 2
ERRORS = re.compile(r"errors: (\d+) in the ramp-up, (\d+) after it")
LONGEST = re.compile(r"time without service, .* longest ([\d.]+) s")
# Acknowledged telemetry, messages to devices, and desired properties.
MISSING = re.compile(r"(?:missing in the event log|missing|not told of the last): (\d+)")


def run(report, folder, values, tag, devices, minutes):
    with report.step("a policy and a Secret for the load test"):
        make_secret()
    with report.step(f"{devices} devices with the default mix"):
        release(values, devices, minutes)
        text = end(report, folder, start("fleet-1"), minutes)
        ramp_up, after = map(int, ERRORS.search(text).groups())
        report.figure(f"fleet of {devices}: errors in the ramp-up", ramp_up, "")
        report.figure(f"fleet of {devices}: errors after the ramp-up", after, "", 0)
    with report.step(f"the release goes to the image {tag} and back under {devices} devices"):
        longer = minutes + UPGRADES_MINUTES
        release(values, devices, longer)
        job = start("fleet-2")
        kubernetes.wait_for("all are connected", lambda: f" {devices} connected" in log(job, "--tail=2"), RAMP_UP_SECONDS + BESIDE_SECONDS)
        for image in (tag, "test"):
            release(values, devices, longer, image)
            report.expect(images() == {f"ironhub:{image}"}, f"the images are {images()}")
        text = end(report, folder, job, longer)
        report.figure("rolling upgrade under a fleet: longest without service", float(LONGEST.search(text)[1]), "s", WITHOUT_SERVICE_SECONDS_MAX)
        report.figure("rolling upgrade under a fleet: acknowledged and lost", sum(map(int, MISSING.findall(text))), "", 0)
    with report.step("the load test leaves"):
        kubernetes.kubectl("delete", "job", "fleet-1", "fleet-2", timeout=120)
        kubernetes.ironhub("policy", "delete", "fleet")


def make_secret():
    words = ("policy", "create", "fleet", "--rights", "RegistryWrite,ServiceConnect", "--json")
    connection_string = json.loads(kubernetes.ironhub(*words))["primaryConnectionString"]
    kubernetes.kubectl("create", "secret", "generic", "fleet", f"--from-literal=connectionString={connection_string}")


def release(values, devices, minutes, tag="test"):
    settings = {"image.tag": tag, "loadTest.image.tag": "test", "loadTest.enabled": "true", "loadTest.connectionStringSecret": "fleet"}
    settings |= {"loadTest.devices": devices, "loadTest.minutes": minutes, "loadTest.rampUpSeconds": RAMP_UP_SECONDS}
    settings["loadTest.resources.requests.cpu"] = "20m"
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    wait = ("--wait", "--timeout", f"{UPGRADE_SECONDS}s")
    kubernetes.helm("upgrade", kubernetes.RELEASE, kubernetes.CHART, "--values", values, *words, *wait, timeout=UPGRADE_SECONDS + 30)
    kubernetes.wait_until_ready()


def start(job):
    kubernetes.kubectl("create", "job", job, f"--from=cronjob/{kubernetes.RELEASE}-fleet")
    return job


def end(report, folder, job, minutes):
    """What the load test says of itself."""
    seconds = RAMP_UP_SECONDS + minutes * 60 + BESIDE_SECONDS
    kubernetes.wait_for("the load test ends", lambda: is_over(job), seconds)
    page = log(job, "--tail=-1")
    (pathlib.Path(folder) / f"{job}.html").write_text(page)
    text = page[page.index("steady phase") : page.rindex("-->")]
    for line in text.splitlines():
        report.say(f"  {line}")
    return text


def log(job, *options):
    return kubernetes.kubectl("logs", f"job/{job}", *options)


def is_over(job):
    conditions = json.loads(kubernetes.kubectl("get", "job", job, "-o", "json"))["status"].get("conditions", [])
    return any(it["type"] in ("Complete", "Failed") and it["status"] == "True" for it in conditions)
