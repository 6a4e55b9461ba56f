"""The hub of the release, described as `hub.json` describes one, so that the SDK suites and the load find it."""

import base64
import json
import pathlib
import ssl
import urllib.request

import hub
import kubernetes

POLICIES = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"]


class InstalledHub(hub.Hub):
    """Reached by the name of its Service."""

    def __init__(self, folder, secret=f"{kubernetes.RELEASE}-server-tls"):
        self.file = pathlib.Path(folder) / "hub.json"
        self.file.write_text(json.dumps(describe(folder, secret)))
        super().__init__(self.file)

    def request(self, method, path):
        """One request of a back end: the ETag of the answer without its quotes, and its body."""
        url = f"https://{self.host_name}{path}?api-version=2021-04-12"
        request = urllib.request.Request(url, method=method, headers={"Authorization": self.service_token()})
        context = ssl.create_default_context(cafile=self.certificate_authority_file)
        with urllib.request.urlopen(request, context=context, timeout=10) as response:
            etag = response.headers.get("ETag")
            return etag and etag.strip('"'), response.read()


def describe(folder, secret):
    """`secret` names the one with the server's certificate."""
    authority = pathlib.Path(folder) / "authority.pem"
    data = json.loads(kubernetes.kubectl("get", "secret", secret, "-o", "json"))["data"]
    authority.write_bytes(base64.b64decode(data["ca.crt"]))
    strings = {policy: connection_string(policy) for policy in POLICIES}
    parts = dict(part.split("=", 1) for part in strings["service"].split(";"))
    host_name, policy, key = parts["HostName"], parts["SharedAccessKeyName"], parts["SharedAccessKey"]
    events = f"Endpoint=sb://{host_name}/;SharedAccessKeyName={policy};SharedAccessKey={key};EntityPath=events"
    return {
        "hostName": host_name,
        "certificateAuthorityFile": str(authority),
        "address": host_name,
        "ports": {"mqtt": 8883, "amqp": 5671, "https": 443, "emulator": None, "admin": 9600},
        "connectionStrings": strings,
        "eventHubCompatible": {"connectionString": events, "name": "events"},
    }


def connection_string(policy):
    return json.loads(kubernetes.ironhub("policy", "show", policy, "--json"))["primaryConnectionString"]
