"""How azure-iot-device experiences refusals, take-over, token renewal and changes of its identity."""

import threading
import time

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device import exceptions


def wait_for(condition, timeout_seconds=15):
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_a_wrong_key_is_refused_as_a_credential_error(hub, new_device, connect):
    device = new_device()
    device.authentication.symmetric_key.primary_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    with pytest.raises(exceptions.CredentialError):
        connect(device)


def test_the_secondary_key_works(hub, new_device, connect):
    device = new_device()
    keys = device.authentication.symmetric_key
    keys.primary_key = keys.secondary_key
    connect(device).send_message("by the secondary key")
    assert len(hub.events(device.device_id, 1)) == 1


def test_an_unknown_device_is_refused(hub, new_device, registry, connect):
    device = new_device()
    registry.delete_device(device.device_id)
    with pytest.raises(exceptions.CredentialError):
        connect(device)


def test_a_disabled_device_is_refused_and_enabled_again(hub, registry, new_device, connect):
    device = new_device()
    keys = device.authentication.symmetric_key
    registry.update_device_with_sas(device.device_id, "*", keys.primary_key, keys.secondary_key, "disabled")
    with pytest.raises(exceptions.ConnectionFailedError):
        connect(device, connection_retry=False)
    registry.update_device_with_sas(device.device_id, "*", keys.primary_key, keys.secondary_key, "enabled")
    connect(device).send_message("back")
    assert len(hub.events(device.device_id, 1)) == 1


def test_disabling_closes_a_live_connection(registry, new_device, connect):
    device = new_device()
    client = connect(device, connection_retry=False)
    keys = device.authentication.symmetric_key
    registry.update_device_with_sas(device.device_id, "*", keys.primary_key, keys.secondary_key, "disabled")
    wait_for(lambda: not client.connected)


def test_rotating_the_key_closes_a_live_connection(registry, new_device, connect):
    device = new_device()
    client = connect(device, connection_retry=False)
    other = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    secondary = device.authentication.symmetric_key.secondary_key
    registry.update_device_with_sas(device.device_id, "*", other, secondary, "enabled")
    wait_for(lambda: not client.connected)


def test_rotating_the_other_key_leaves_the_connection_alone(hub, registry, new_device, connect):
    device = new_device()
    client = connect(device, connection_retry=False)
    primary = device.authentication.symmetric_key.primary_key
    other = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    registry.update_device_with_sas(device.device_id, "*", primary, other, "enabled")
    time.sleep(2)
    assert client.connected
    client.send_message("still here")
    assert len(hub.events(device.device_id, 1)) == 1


def test_deleting_closes_a_live_connection(registry, new_device, connect):
    device = new_device()
    client = connect(device, connection_retry=False)
    registry.delete_device(device.device_id)
    wait_for(lambda: not client.connected)


@pytest.mark.parametrize("websockets", [False, True])
def test_the_newer_connection_wins(hub, new_device, connect, websockets):
    """Who is newer does not depend on the door: the second one always comes over plain MQTT."""
    device = new_device()
    first = connect(device, connection_retry=False, websockets=websockets)
    lost = threading.Event()
    first.on_connection_state_change = lambda: first.connected or lost.set()
    second = connect(device, connection_retry=False)
    assert lost.wait(15)
    second.send_message("from the second")
    assert [event["body"] for event in hub.events(device.device_id, 1)] == ["from the second"]


def test_connection_state_is_seen_by_the_registry(registry, new_device, connect):
    device = new_device()
    client = connect(device)
    wait_for(lambda: registry.get_device(device.device_id).connection_state == "Connected")
    client.shutdown()
    wait_for(lambda: registry.get_device(device.device_id).connection_state == "Disconnected")


@pytest.mark.parametrize("websockets", [False, True])
def test_tokens_are_renewed_before_they_expire(hub, new_device, connect, websockets):
    """The SDK renews 120 s before expiry, so a token of 125 s makes it reconnect after 5 s."""
    device = new_device()
    client = connect(device, sastoken_ttl=125, websockets=websockets)
    reconnected = threading.Event()
    client.on_connection_state_change = lambda: client.connected and reconnected.set()
    assert reconnected.wait(30)
    client.send_message("with a new token")
    assert len(hub.events(device.device_id, 1)) == 1


def test_an_application_token_is_accepted(hub, new_device):
    import base64, hashlib, hmac, urllib.parse

    device = new_device()
    resource = f"{hub.host_name}/devices/{device.device_id}"
    expiry = int(time.time()) + 600
    key = base64.b64decode(device.authentication.symmetric_key.primary_key)
    encoded = urllib.parse.quote(resource, safe="")
    digest = hmac.new(key, f"{encoded}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(digest), safe="")
    token = f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}"
    client = IoTHubDeviceClient.create_from_sastoken(token, server_verification_cert=hub.certificate_authority)
    client.connect()
    client.send_message("x")
    client.shutdown()
    assert len(hub.events(device.device_id, 1)) == 1
