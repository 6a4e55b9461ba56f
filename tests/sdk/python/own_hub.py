"""Fixtures for suites that end their hub or look into its process; to be imported, in place of the usual ones."""

import os

import pytest
from azure.iot.hub import IoTHubRegistryManager

import restartable_hub

needs_own_hub = pytest.mark.skipif(bool(restartable_hub.MISSING), reason=restartable_hub.WHY_NOT)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Not the hub of the other tests."""
    hub = restartable_hub.RestartableHub(tmp_path_factory.mktemp("hub"))
    os.environ["REQUESTS_CA_BUNDLE"] = hub.certificate_authority_file
    yield hub
    hub.stop()


@pytest.fixture(scope="module")
def registry(hub):
    return IoTHubRegistryManager.from_connection_string(hub.connection_strings["iothubowner"])
