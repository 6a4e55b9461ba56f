"""The hub under test, described by the hub.json that IRONHUB_HUB_JSON names, and a reader of its events."""

import base64
import hashlib
import hmac
import json
import os
import ssl
import time
import urllib.parse
import urllib.request


class Hub:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        self.host_name = document["hostName"]
        self.certificate_authority_file = document["certificateAuthorityFile"]
        self.connection_strings = document["connectionStrings"]
        self.event_hub_compatible = document["eventHubCompatible"]
        self.emulator_port = document["ports"].get("emulator")
        with open(self.certificate_authority_file, encoding="utf-8") as file:
            self.certificate_authority = file.read()

    def device_connection_string(self, device):
        key = device.authentication.symmetric_key.primary_key
        module = f";ModuleId={device.module_id}" if getattr(device, "module_id", None) else ""
        return f"HostName={self.host_name};DeviceId={device.device_id}{module};SharedAccessKey={key}"

    def policy(self, name):
        """Its name and key."""
        parts = dict(part.split("=", 1) for part in self.connection_strings[name].split(";"))
        return parts["SharedAccessKeyName"], parts["SharedAccessKey"]

    def service_token(self, policy="iothubowner"):
        name, key = self.policy(policy)
        return f"{token(self.host_name, key)}&skn={name}"

    def device_token(self, device):
        return token(f"{self.host_name}/devices/{device.device_id}", device.authentication.symmetric_key.primary_key)

    def events(self, device_id, count, timeout_seconds=15):
        """Waits until the device has sent at least `count` events; returns all of them, oldest first."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            events = self._read_events(device_id)
            if len(events) >= count or time.monotonic() > deadline:
                return events
            time.sleep(0.1)

    def send_to_device(self, device_id, body, headers=None):
        """Puts a message into the device's queue."""
        request = urllib.request.Request(
            f"https://{self.host_name}/devices/{device_id}/messages/deviceBound?api-version=2021-04-12",
            method="POST",
            data=body,
            headers={"Authorization": self.service_token("service"), **(headers or {})},
        )
        context = ssl.create_default_context(cafile=self.certificate_authority_file)
        urllib.request.urlopen(request, context=context, timeout=10).close()

    def settings(self, method, path, body=None):
        """One request to the settings API, whatever the version of the object."""
        request = urllib.request.Request(
            f"https://{self.host_name}/ironhub/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self.service_token()},
        )
        if method != "PUT":
            request.add_header("If-Match", "*")
        context = ssl.create_default_context(cafile=self.certificate_authority_file)
        with urllib.request.urlopen(request, context=context, timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else None

    def _read_events(self, device_id):
        query = urllib.parse.urlencode({"device": device_id, "since": "earliest"})
        request = urllib.request.Request(
            f"https://{self.host_name}/ironhub/v1/events?{query}", headers={"Authorization": self.service_token()}
        )
        context = ssl.create_default_context(cafile=self.certificate_authority_file)
        with urllib.request.urlopen(request, context=context, timeout=10) as response:
            return [json.loads(line) for line in response.read().splitlines() if line]


def token(resource, key):
    """Lasts ten minutes."""
    resource, expiry = urllib.parse.quote_plus(resource), int(time.time()) + 600
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote_plus(base64.b64encode(digest))
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"


def from_environment():
    return Hub(os.environ["IRONHUB_HUB_JSON"])
