"""The release is removed and installed again, with fewer shards than it had: volumes and certificates stay, and with them
everything."""

from azure.iot.device import IoTHubDeviceClient, Message
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin, TwinProperties

import kubernetes
from scenarios.custom_resource import expected, names, scale, wait_until
from scenarios.install import install

DEVICE = "kept"
# A hub without its majority is silent for a minute before the operator calls shards back.
CALLED_BACK_SECONDS = 240


def run(report, hub, values):
    registry = IoTHubRegistryManager.from_connection_string(hub.connection_strings["iothubowner"])
    with report.step("a device with a twin, a message that waits and an event"):
        identity = registry.create_device_with_sas(DEVICE, "", "", "enabled")
        registry.update_twin(DEVICE, Twin(tags={"place": "cellar"}, properties=TwinProperties(desired={"fan": 3})), "*")
        with connected(hub, identity) as client:
            client.send_message(Message("before"))
        hub.send_to_device(DEVICE, b"waits")
    with report.step("five shards, so that three have no majority of every group"):
        scale(5)
        wait_until("ShardsSettled")
    with report.step("helm uninstall"):
        kubernetes.helm("uninstall", kubernetes.RELEASE, "--wait", "--timeout", "2m")
        kubernetes.wait_for("no pods are left", lambda: not kubernetes.kubectl("get", "pods", "-o", "name").strip())
    with report.step("helm install of three shards on what was kept of five"):
        report.figure("helm install on kept volumes of more shards to Ready", install(values), "s")
    with report.step("the others come back, hand over what they have, and go"):
        wait_until("ShardsSettled", seconds=CALLED_BACK_SECONDS)
        kubernetes.wait_until_ready(shards=3)
        report.expect(names() == expected(3), f"nodes that are left: {names()}")
    with report.step("everything is there, for clients that know only what they knew before"):
        registry = IoTHubRegistryManager.from_connection_string(hub.connection_strings["iothubowner"])
        twin = registry.get_twin(DEVICE)
        report.expect(twin.tags == {"place": "cellar"} and twin.properties.desired["fan"] == 3, f"the twin is {twin}")
        with connected(hub, identity) as client:
            client.send_message(Message("after"))
            messages = []
            client.on_message_received = lambda message: messages.append(message.data)
            kubernetes.wait_for("the message that waited", lambda: messages == [b"waits"], 30)
        bodies = [event["body"] for event in hub.events(DEVICE, 2)]
        report.expect(bodies == ["before", "after"], f"the events are {bodies}")


class connected:
    """A device, for as long as the block lasts."""

    def __init__(self, hub, identity):
        self._client = IoTHubDeviceClient.create_from_connection_string(
            hub.device_connection_string(identity), server_verification_cert=hub.certificate_authority
        )

    def __enter__(self):
        self._client.connect()
        return self._client

    def __exit__(self, *_):
        self._client.shutdown()
