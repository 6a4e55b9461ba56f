"""The identity registry as azure-iot-hub (Python) uses it."""

import uuid

import pytest
from azure.core.exceptions import HttpResponseError

from errors import status_of


def test_create_get_update_delete(registry):
    device_id = f"python-{uuid.uuid4()}"
    created = registry.create_device_with_sas(device_id, "", "", "enabled")
    assert created.authentication.type == "sas"
    assert created.authentication.symmetric_key.primary_key
    assert created.connection_state == "Disconnected"
    assert registry.get_device(device_id).etag == created.etag
    keys = created.authentication.symmetric_key
    updated = registry.update_device_with_sas(
        device_id, created.etag, keys.primary_key, keys.secondary_key, "disabled"
    )
    assert updated.status == "disabled"
    assert updated.etag != created.etag
    assert updated.generation_id == created.generation_id
    registry.delete_device(device_id, updated.etag)
    with pytest.raises(Exception) as error:
        registry.get_device(device_id)
    assert status_of(error) == 404


def test_creating_twice_is_a_conflict(registry, new_device):
    device = new_device()
    with pytest.raises(Exception) as error:
        registry.create_device_with_sas(device.device_id, "", "", "enabled")
    assert status_of(error) == 409


def test_a_stale_etag_is_refused(registry, new_device):
    device = new_device()
    keys = device.authentication.symmetric_key
    registry.update_device_with_sas(device.device_id, device.etag, keys.primary_key, keys.secondary_key, "enabled")
    with pytest.raises(Exception) as error:
        registry.delete_device(device.device_id, device.etag)
    assert status_of(error) == 412


def test_an_invalid_id_is_refused(registry):
    with pytest.raises(Exception) as error:
        registry.create_device_with_sas("not valid", "", "", "enabled")
    assert status_of(error) == 400


def test_thumbprints_and_authorities_are_kept(registry):
    device_id = f"python-{uuid.uuid4()}"
    device = registry.create_device_with_x509(device_id, "AB" * 20, "CD" * 32, "enabled")
    assert device.authentication.x509_thumbprint.primary_thumbprint == "AB" * 20
    registry.delete_device(device_id)
    device = registry.create_device_with_certificate_authority(device_id, "enabled")
    assert device.authentication.type == "certificateAuthority"
    registry.delete_device(device_id)


def test_listing_and_statistics(registry, new_device):
    made = {new_device().device_id for _ in range(5)}
    assert made <= {device.device_id for device in registry.get_devices(1000)}
    assert len(registry.get_devices(2)) == 2
    statistics = registry.get_device_registry_statistics()
    assert statistics.total_device_count >= 5
    assert statistics.total_device_count == statistics.enabled_device_count + statistics.disabled_device_count
    assert registry.get_service_statistics().connected_device_count >= 0


def test_modules(registry, new_device):
    device = new_device()
    module = registry.create_module_with_sas(device.device_id, "m1", "me", "", "")
    assert (module.module_id, module.managed_by) == ("m1", "me")
    assert [m.module_id for m in registry.get_modules(device.device_id)] == ["m1"]
    registry.delete_module(device.device_id, "m1", module.etag)
    with pytest.raises(Exception) as error:
        registry.get_module(device.device_id, "m1")
    assert status_of(error) == 404


def test_a_policy_without_the_right_is_refused(hub):
    from azure.iot.hub import IoTHubRegistryManager

    for policy in ["service", "device"]:
        manager = IoTHubRegistryManager.from_connection_string(hub.connection_strings[policy])
        with pytest.raises(Exception) as error:
            manager.get_devices(1)
        assert status_of(error) == 401
