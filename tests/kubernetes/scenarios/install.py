"""A release is installed; unmodified SDKs and plain clients reach it through the Service."""

import os
import socket
import ssl
import subprocess
import sys
import time

import kubernetes
from installed_hub import InstalledHub

SUITES = ["test_connection", "test_telemetry", "test_twins", "test_methods", "test_device_bound", "test_event_hubs"]
SUITES += ["test_registry", "test_amqp", "test_websocket"]
NODE_PORTS = {"mqtt": 30883, "amqp": 30671, "https": 30443}
# Of issue 8, with all images present.
READY_SECONDS_MAX = 90


def install(values):
    start = time.monotonic()
    kubernetes.helm("install", kubernetes.RELEASE, kubernetes.CHART, "--values", values, "--wait", "--timeout", "5m")
    return time.monotonic() - start


def run(report, folder, values):
    with report.step("helm install --wait"):
        report.figure("helm install to Ready", install(values), "s", READY_SECONDS_MAX)
    hub = InstalledHub(folder)
    os.environ["REQUESTS_CA_BUNDLE"] = hub.certificate_authority_file
    with report.step("the notes' commands work"):
        assert_device_commands(report)
    with report.step("each port answers at each node"):
        for node in (1, 2, 3):
            for name, port in NODE_PORTS.items():
                handshake(hub, f"10.88.0.{node}", port)
    with report.step("what must not be in pods is not"):
        expect_no_rights(report)
    with report.step("the suites of unmodified SDKs"):
        run_suites(report, hub)
    return hub


def assert_device_commands(report):
    created = kubernetes.ironhub("device", "create", "notes")
    report.expect("HostName=" in created, f"no connection string: {created}")
    kubernetes.ironhub("device", "delete", "notes")


def handshake(hub, address, port):
    """TLS with the name and the authority that clients are given."""
    context = ssl.create_default_context(cafile=hub.certificate_authority_file)
    with socket.create_connection((address, port), timeout=10) as tcp:
        with context.wrap_socket(tcp, server_hostname=hub.host_name):
            pass


def expect_no_rights(report):
    for account in (kubernetes.RELEASE, f"{kubernetes.RELEASE}-certificates"):
        for right in (("list", "secrets"), ("get", "pods"), ("delete", "statefulsets")):
            user = f"system:serviceaccount:default:{account}"
            answer = kubernetes.kubectl("auth", "can-i", *right, "--as", user, check=False).strip()
            report.expect(answer == "no", f"{account} may {' '.join(right)}: {answer}")


def run_suites(report, hub):
    folder = kubernetes.ROOT / "tests" / "sdk" / "python"
    files = [folder / f"{suite}.py" for suite in SUITES]
    options = ["-q", "-W", "ignore", "-p", "no:cacheprovider", "--rootdir", folder]
    command = [sys.executable, "-m", "pytest", *options, *files]
    environment = {**os.environ, "IRONHUB_HUB_JSON": str(hub.file)}
    result = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, timeout=900)
    summary = result.stdout.strip().splitlines()[-1]
    report.say(f"  {summary}")
    if result.returncode != 0:
        report.violation(f"SDK suites: {result.stdout[-3000:]}")
