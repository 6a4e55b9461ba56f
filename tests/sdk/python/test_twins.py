"""Twins as azure-iot-device and azure-iot-hub use them."""

import queue

import pytest
from azure.iot.hub.models import Twin, TwinProperties

from errors import status_of


@pytest.fixture
def new_module(registry, new_device):
    def make():
        device = new_device()
        return registry.create_module_with_sas(device.device_id, "m", "", "", "")

    return make


def updates(client):
    received = queue.Queue()
    client.on_twin_desired_properties_patch_received = received.put
    return received


def desired(properties):
    return Twin(properties=TwinProperties(desired=properties))


def test_a_device_reads_reports_and_follows_its_twin(registry, new_device, connect):
    device = new_device()
    client = connect(device)
    assert client.get_twin() == {"desired": {"$version": 1}, "reported": {"$version": 1}}
    received = updates(client)
    client.patch_twin_reported_properties({"fan": {"speed": 3}, "none": None})
    registry.update_twin(device.device_id, desired({"speed": 4, "list": [1, {"a": 2}]}), "*")
    assert received.get(timeout=15) == {"speed": 4, "list": [1, {"a": 2}], "$version": 2}
    registry.update_twin(device.device_id, desired({"speed": None}), "*")
    assert received.get(timeout=15) == {"speed": None, "$version": 3}
    twin = client.get_twin()
    assert twin["desired"] == {"list": [1, {"a": 2}], "$version": 3}
    assert twin["reported"] == {"fan": {"speed": 3}, "$version": 2}
    read = registry.get_twin(device.device_id)
    assert read.properties.reported["fan"] == {"speed": 3}
    assert read.connection_state == "Connected"


def test_a_module_has_a_twin_of_its_own(registry, new_module, connect):
    module = new_module()
    client = connect(module)
    received = updates(client)
    client.patch_twin_reported_properties({"a": 1})
    twin = registry.update_module_twin(module.device_id, module.module_id, desired({"b": 2}), "*")
    assert (twin.module_id, twin.properties.reported["a"]) == (module.module_id, 1)
    assert received.get(timeout=15) == {"b": 2, "$version": 2}
    assert "a" not in registry.get_twin(module.device_id).properties.reported


def test_a_bad_patch_is_an_error(new_device, connect):
    client = connect(new_device())
    with pytest.raises(Exception):
        client.patch_twin_reported_properties({"a b": 1})
    client.patch_twin_reported_properties({"a": 1})
    assert client.get_twin()["reported"] == {"a": 1, "$version": 2}


def test_etags_guard_writes_and_a_put_replaces(registry, new_device):
    device_id = new_device().device_id
    read = registry.get_twin(device_id)
    updated = registry.update_twin(device_id, Twin(tags={"floor": 1}), read.etag)
    with pytest.raises(Exception) as error:
        registry.update_twin(device_id, Twin(tags={"floor": 2}), read.etag)
    assert status_of(error) == 412
    assert registry.get_twin(device_id).tags == {"floor": 1}
    replaced = registry.replace_twin(device_id, desired({"x": 1}), updated.etag)
    assert not replaced.tags
    assert replaced.properties.desired["x"] == 1


def test_twins_of_many_devices_in_one_request(registry, new_device):
    from azure.iot.hub.protocol.models import ExportImportDevice

    ids = [new_device().device_id for _ in range(3)]
    entries = [ExportImportDevice(id=device_id, import_mode="updateTwin", tags={"n": device_id}) for device_id in ids]
    assert registry.bulk_create_or_update_devices(entries).is_successful
    assert [registry.get_twin(device_id).tags for device_id in ids] == [{"n": device_id} for device_id in ids]


def test_the_session_outlives_the_connection(registry, new_device, connect):
    device = new_device()
    client = connect(device)
    received = updates(client)
    client.get_twin()
    client.disconnect()
    # It subscribes to nothing when it comes back.
    client.connect()
    registry.update_twin(device.device_id, desired({"after": True}), "*")
    update = received.get(timeout=15)
    if update["$version"] == 1:  # the SDK reads the twin by itself and tells what it found
        update = received.get(timeout=15)
    assert update == {"after": True, "$version": 2}
    assert client.get_twin()["desired"] == {"after": True, "$version": 2}
