"""Every test gets a hub that runs already and devices of its own; it only sees what an SDK user sees."""

import os
import uuid

import pytest
from azure.iot.hub import IoTHubRegistryManager

import hub as hub_under_test


@pytest.fixture(scope="session")
def hub():
    hub = hub_under_test.from_environment()
    os.environ["REQUESTS_CA_BUNDLE"] = hub.certificate_authority_file
    return hub


@pytest.fixture(scope="session")
def registry(hub):
    return IoTHubRegistryManager.from_connection_string(hub.connection_strings["iothubowner"])


@pytest.fixture
def new_device(registry):
    """Makes enabled devices with keys drawn by the hub; deletes them afterwards."""
    made = []

    def make():
        device_id = f"python-{uuid.uuid4()}"
        made.append(device_id)
        return registry.create_device_with_sas(device_id, "", "", "enabled")

    yield make
    for device_id in made:
        try:
            registry.delete_device(device_id)
        except Exception:  # the test deleted it itself
            pass


@pytest.fixture
def connect(hub):
    """Opens device or module clients; shuts them down afterwards."""
    from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient

    clients = []

    def open_client(identity, **options):
        kind = IoTHubModuleClient if getattr(identity, "module_id", None) else IoTHubDeviceClient
        client = kind.create_from_connection_string(
            hub.device_connection_string(identity), server_verification_cert=hub.certificate_authority, **options
        )
        clients.append(client)
        client.connect()
        return client

    yield open_client
    for client in clients:
        try:
            client.shutdown()
        except Exception:  # the test shut it down itself
            pass


@pytest.fixture
def consumer_group(hub):
    """A consumer group of the test's own: epochs do not meet those of other tests."""
    name = f"group-{uuid.uuid4().hex[:8]}"
    hub.settings("PUT", f"consumer-groups/{name}", {})
    yield name
    hub.settings("DELETE", f"consumer-groups/{name}")
