"""The load test as docs/kubernetes.md has it: a fleet of devices and its back ends come through the Service, from a pod."""

import json
import pathlib
import re

import kubernetes

JOB = "fleet-1"
RAMP_UP_SECONDS = 60
# Beside the load: to make the devices, to look for what was acknowledged, to delete them.
BESIDE_SECONDS = 600
ERRORS = re.compile(r"errors: (\d+) in the ramp-up, (\d+) after it")


def run(report, folder, devices, minutes):
    with report.step("a policy and a Secret for the load test, which the release gets"):
        prepare(devices, minutes)
    with report.step(f"{devices} devices with the default mix"):
        kubernetes.kubectl("create", "job", JOB, f"--from=cronjob/{kubernetes.RELEASE}-fleet")
        seconds = RAMP_UP_SECONDS + minutes * 60 + BESIDE_SECONDS
        kubernetes.wait_for("the load test ends", lambda: outcome() is not None, seconds)
        page = kubernetes.kubectl("logs", f"job/{JOB}", "--tail=-1")
        (pathlib.Path(folder) / "fleet.html").write_text(page)
        report.expect(outcome() == "Complete", f"the load test says: {page[-3000:]}")
        text = page[page.index("steady phase") : page.rindex("-->")]
        for line in text.splitlines():
            report.say(f"  {line}")
        errors = ERRORS.search(text)
        report.figure(f"fleet of {devices}: errors in the ramp-up", int(errors[1]), "")
        report.figure(f"fleet of {devices}: errors after the ramp-up", int(errors[2]), "", 0)
    with report.step("the load test leaves"):
        kubernetes.kubectl("delete", "job", JOB)
        kubernetes.ironhub("policy", "delete", "fleet")


def prepare(devices, minutes):
    words = ("policy", "create", "fleet", "--rights", "RegistryWrite,ServiceConnect", "--json")
    connection_string = json.loads(kubernetes.ironhub(*words))["primaryConnectionString"]
    kubernetes.kubectl("create", "secret", "generic", "fleet", f"--from-literal=connectionString={connection_string}")
    values = {"enabled": "true", "connectionStringSecret": "fleet", "devices": devices, "minutes": minutes}
    values |= {"rampUpSeconds": RAMP_UP_SECONDS, "resources.requests.cpu": "20m"}
    settings = [word for name, value in values.items() for word in ("--set", f"loadTest.{name}={value}")]
    kubernetes.helm("upgrade", kubernetes.RELEASE, kubernetes.CHART, "--reuse-values", *settings, "--wait")


def outcome():
    """`Complete` or `Failed`, once it is."""
    conditions = json.loads(kubernetes.kubectl("get", "job", JOB, "-o", "json"))["status"].get("conditions", [])
    ends = [it["type"] for it in conditions if it["type"] in ("Complete", "Failed") and it["status"] == "True"]
    return ends[0] if ends else None
