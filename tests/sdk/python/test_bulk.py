"""Many identities in one call, as azure-iot-hub (Python) makes it."""

import uuid

from azure.iot.hub.models import (
    AuthenticationMechanism,
    DeviceCapabilities,
    ExportImportDevice,
    SymmetricKey,
)

PRIMARY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECONDARY = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="


def entry(device_id, mode, **members):
    return ExportImportDevice(id=device_id, import_mode=mode, **members)


def new(device_id):
    return entry(
        device_id,
        "create",
        status="enabled",
        authentication=AuthenticationMechanism(
            type="sas", symmetric_key=SymmetricKey(primary_key=PRIMARY, secondary_key=SECONDARY)
        ),
        capabilities=DeviceCapabilities(iot_edge=False),
    )


def test_create_update_delete(registry):
    ids = [f"python-{uuid.uuid4()}" for _ in range(100)]
    created = registry.bulk_create_or_update_devices([new(device_id) for device_id in ids])
    assert created.is_successful and not created.errors
    device = registry.get_device(ids[42])
    assert device.authentication.symmetric_key.primary_key == PRIMARY
    updated = registry.bulk_create_or_update_devices(
        [entry(device_id, "update", status="disabled", status_reason="bulk") for device_id in ids]
    )
    assert updated.is_successful
    assert registry.get_device(ids[7]).status_reason == "bulk"
    deleted = registry.bulk_create_or_update_devices([entry(device_id, "delete") for device_id in ids])
    assert deleted.is_successful


def test_what_fails_is_told_and_the_rest_is_done(registry, new_device):
    there, fresh = new_device(), f"python-{uuid.uuid4()}"
    result = registry.bulk_create_or_update_devices([new(there.device_id), new(fresh)])
    assert not result.is_successful
    [error] = result.errors
    assert error.device_id == there.device_id
    assert "already registered" in error.error_status
    assert registry.get_device(fresh).status == "enabled"
    registry.delete_device(fresh)
