"""Configurations are not there yet: azure-iot-hub (Python) is told so with the error of an unknown operation."""

import pytest
from azure.iot.hub import IoTHubConfigurationManager
from azure.iot.hub.models import Configuration, ConfigurationContent
from msrest.exceptions import HttpOperationError


@pytest.fixture
def configurations(hub):
    return IoTHubConfigurationManager.from_connection_string(hub.connection_strings["iothubowner"])


@pytest.mark.parametrize(
    "call",
    [
        lambda manager: manager.get_configurations(),
        lambda manager: manager.get_configurations(20),
        lambda manager: manager.get_configuration("c1"),
        lambda manager: manager.create_configuration(Configuration(id="c1", schema_version="1.0")),
        lambda manager: manager.delete_configuration("c1"),
        lambda manager: manager.apply_configuration_on_edge_device("d1", ConfigurationContent(modules_content={})),
    ],
    ids=["list", "list up to", "get", "create", "delete", "apply"],
)
def test_configurations_are_absent(configurations, call):
    with pytest.raises(HttpOperationError) as error:
        call(configurations)
    response = error.value.response
    assert response.status_code == 404
    assert response.headers["iothub-errorcode"] == "GenericNotFound"
    assert response.json()["Message"].startswith("ErrorCode:GenericNotFound;")
