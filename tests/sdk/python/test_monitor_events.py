"""What `az iot hub monitor-events` does, with the packages that it is made of: it knows the hub's own host name, a policy
and its key, asks there where the events are, and reads every partition. Newer versions use azure-eventhub, older ones uamqp.
"""

import asyncio
import collections
import json
import time
import urllib.parse

import certifi
import pytest
import uamqp
from azure.eventhub._pyamqp import ReceiveClient
from azure.eventhub._pyamqp.authentication import _CBSAuth
from azure.eventhub._pyamqp.error import AMQPLinkRedirect

from messages import message_with_every_property

POLICY = "service"
PATIENCE_SECONDS = 20
AccessToken = collections.namedtuple("AccessToken", ["token", "expires_on"])


@pytest.fixture(autouse=True)
def trusted_authority(hub, monkeypatch):
    # The tool passes no option on.
    monkeypatch.setattr(certifi, "where", lambda: hub.certificate_authority_file)


def test_newer_versions_are_sent_to_the_event_hub(hub):
    auth = _CBSAuth(
        uri=f"amqps://{hub.host_name}/messages/events/$management",
        audience=hub.host_name,
        token_type=b"servicebus.windows.net:sastoken",
        get_token=lambda: AccessToken(hub.service_token(POLICY), time.time() + 360),
        expires_in=360,
    )
    source = f"amqps://{hub.host_name}/messages/events/$management"
    client = ReceiveClient(hostname=hub.host_name, source=source, auth=auth, timeout=30000, prefetch=1)
    try:
        client.open()
        with pytest.raises(AMQPLinkRedirect) as redirect:
            client.receive_message_batch(max_batch_size=1, timeout=5000)
    finally:
        client.close()
    info = redirect.value.info
    assert info[b"hostname"] == info[b"network-host"] == hub.host_name.encode()
    name = hub.event_hub_compatible["name"]
    assert info[b"port"] == 5671
    assert info[b"address"] == f"amqps://{hub.host_name}:5671/{name}/$management".encode()


def test_older_versions_are_sent_to_the_event_hub_and_read_it(hub, new_device, connect):
    before = int(time.time() * 1000) - 1000
    devices = [new_device() for _ in range(3)]
    for device in devices:
        connect(device).send_message(message_with_every_property())
    redirect = where_the_events_are(hub)
    assert redirect.hostname == redirect.network_host == hub.host_name.encode()
    assert redirect.port == 5671
    address = redirect.address.decode()
    name = address.replace("amqps://", "").split("/")[1]
    assert name == hub.event_hub_compatible["name"]

    described = describe(hub, address, name)
    assert described[b"partition_count"] == 4
    assert described[b"partition_ids"] == [b"0", b"1", b"2", b"3"]

    wanted = {device.device_id.encode() for device in devices}
    found = asyncio.run(read(hub, name, described[b"partition_ids"], before, wanted))
    assert found.keys() == wanted
    for event in found.values():
        assert json.loads(b"".join(event.get_data())) == {"temperature": 21.5}
        assert event.annotations[b"iothub-message-source"] == b"Telemetry"
        assert event.annotations[b"iothub-enqueuedtime"] >= before
        # What the tool prints if it is there; it is for modules and plug and play devices.
        optional = (b"iothub-connection-module-id", b"iothub-interface-name", b"dt-dataschema", b"dt-subject")
        assert not any(name in event.annotations for name in optional)
        properties = event.properties
        assert (properties.message_id, properties.content_type) == (b"message-1", b"application/json")
        assert properties.content_encoding == b"utf-8"


def where_the_events_are(hub):
    user = f"{POLICY}@sas.root.{hub.host_name.split('.')[0]}"
    credentials = f"{urllib.parse.quote_plus(user)}:{urllib.parse.quote_plus(hub.service_token(POLICY))}"
    source = uamqp.address.Source(f"amqps://{credentials}@{hub.host_name}/messages/events/$management")
    client = uamqp.ReceiveClient(source, timeout=30000, prefetch=1)
    try:
        client.open()
        with pytest.raises(uamqp.errors.LinkRedirect) as redirect:
            client.receive_message_batch(max_batch_size=1)
        return redirect.value
    finally:
        client.close()


def describe(hub, address, name):
    auth = uamqp.authentication.SASTokenAuth.from_shared_access_key(f"sb://{hub.host_name}/{name}", *hub.policy(POLICY))
    client = uamqp.ReceiveClient(uamqp.address.Source(address), auth=auth, timeout=30000)
    try:
        client.open()
        response = client.mgmt_request(
            uamqp.Message(application_properties={"name": name}),
            b"READ",
            op_type=b"com.microsoft:eventhub",
            status_code_field=b"status-code",
            description_fields=b"status-description",
            timeout=30000,
        )
        return response.get_data()
    finally:
        client.close()


async def read(hub, name, partitions, after_milliseconds, wanted):
    """One connection, a receiver for each partition. Answers the events of the devices that are wanted."""
    auth = uamqp.authentication.SASTokenAsync.from_shared_access_key(f"sb://{hub.host_name}/{name}", *hub.policy(POLICY))
    connection = uamqp.ConnectionAsync(hub.host_name, sasl=auth, container_id="monitor", properties={"product": "az"})
    found = {}

    async def read_partition(partition):
        source = uamqp.address.Source(
            f"amqps://{hub.host_name}/{name}/ConsumerGroups/$Default/Partitions/{partition.decode()}"
        )
        source.set_filter(f"amqp.annotation.x-opt-enqueuedtimeutc > {after_milliseconds}".encode())
        client = uamqp.ReceiveClientAsync(source, auth=auth, timeout=0, prefetch=0, client_name=f"monitor-{partition}")
        try:
            await client.open_async(connection=connection)
            async for event in client.receive_messages_iter_async():
                device_id = event.annotations.get(b"iothub-connection-device-id")
                if device_id in wanted:
                    found[device_id] = event
        finally:
            await client.close_async()

    readers = [asyncio.create_task(read_partition(partition)) for partition in partitions]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found.keys() != wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    await connection.destroy_async()
    return found
