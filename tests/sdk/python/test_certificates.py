"""X.509 with azure-iot-device over MQTT: by thumbprint, and by a registered authority."""

import time
import uuid

import pytest
from azure.iot.device import IoTHubDeviceClient, X509, exceptions

from certificates import Pki
from test_connection import wait_for


@pytest.fixture
def pki(tmp_path):
    return Pki(tmp_path)


@pytest.fixture
def device_id(registry):
    device_id = f"python-{uuid.uuid4()}"
    yield device_id
    registry.delete_device(device_id)


@pytest.fixture
def authority(hub, pki):
    """A root that the hub knows, on its owner's word."""
    root = pki.root(f"root-{uuid.uuid4()}")
    path = f"certificates/python-{uuid.uuid4()}"
    hub.settings("PUT", path, {"properties": {"certificate": root.pem, "isVerified": True}})
    root.path = path
    yield root
    if root.path:
        hub.settings("DELETE", path)


@pytest.fixture
def connect_by_certificate(hub):
    clients = []

    def open_client(device_id, certificate, soon=False, **options):
        """With `soon` it may take a moment until the hub accepts: its settings have just changed."""
        deadline = time.monotonic() + (15 if soon else 0)
        while True:
            try:
                return open_once(device_id, certificate, **options)
            except exceptions.CredentialError:
                if time.monotonic() > deadline:
                    raise

    def open_once(device_id, certificate, **options):
        client = IoTHubDeviceClient.create_from_x509_certificate(
            X509(str(certificate.chain_file), str(certificate.key_file)),
            hostname=hub.host_name,
            device_id=device_id,
            server_verification_cert=hub.certificate_authority,
            **options,
        )
        clients.append(client)
        client.connect()
        return client

    yield open_client
    for client in clients:
        try:
            client.shutdown()
        except Exception:  # it was refused, or has just been closed
            pass


def test_by_thumbprint(hub, registry, pki, device_id, connect_by_certificate):
    certificate = pki.self_signed(device_id)
    registry.create_device_with_x509(device_id, certificate.thumbprint, "00" * 32, "enabled")
    connect_by_certificate(device_id, certificate).send_message("by thumbprint")
    [event] = hub.events(device_id, 1)
    assert '"type":"x509","issuer":"iothub"' in event["systemProperties"]["iothub-connection-auth-method"]


def test_another_certificate_is_refused(registry, pki, device_id, connect_by_certificate):
    registry.create_device_with_x509(device_id, "AB" * 32, "00" * 32, "enabled")
    with pytest.raises(exceptions.CredentialError):
        connect_by_certificate(device_id, pki.self_signed(device_id))


def test_by_an_authority(hub, registry, pki, device_id, authority, connect_by_certificate):
    registry.create_device_with_certificate_authority(device_id, "enabled")
    connect_by_certificate(device_id, pki.signed(device_id, authority), soon=True).send_message("by authority")
    [event] = hub.events(device_id, 1)
    assert '"type":"x509","issuer":"external"' in event["systemProperties"]["iothub-connection-auth-method"]


def test_by_an_intermediate_that_is_sent_along(hub, registry, pki, device_id, authority, connect_by_certificate):
    registry.create_device_with_certificate_authority(device_id, "enabled")
    line = pki.signed("line-1", authority, kind="authority")
    connect_by_certificate(device_id, pki.signed(device_id, line, is_root=False), soon=True).send_message("by the line")
    assert len(hub.events(device_id, 1)) == 1


def test_a_certificate_for_another_device_is_refused(registry, pki, device_id, authority, connect_by_certificate):
    registry.create_device_with_certificate_authority(device_id, "enabled")
    with pytest.raises(exceptions.CredentialError):
        connect_by_certificate(device_id, pki.signed("somebody-else", authority))


def test_removing_the_authority_closes_a_live_connection(
    hub, registry, pki, device_id, authority, connect_by_certificate
):
    registry.create_device_with_certificate_authority(device_id, "enabled")
    client = connect_by_certificate(device_id, pki.signed(device_id, authority), soon=True, connection_retry=False)
    hub.settings("DELETE", authority.path)
    authority.path = None
    wait_for(lambda: not client.connected)


def test_possession_is_proved_as_documented(hub, registry, pki, device_id, connect_by_certificate):
    registry.create_device_with_certificate_authority(device_id, "enabled")
    root = pki.root(f"root-{uuid.uuid4()}")
    path = f"certificates/python-{uuid.uuid4()}"
    hub.settings("PUT", path, {"properties": {"certificate": root.pem}})
    try:
        certificate = pki.signed(device_id, root)
        with pytest.raises(exceptions.CredentialError):
            connect_by_certificate(device_id, certificate)
        code = hub.settings("POST", f"{path}/generate-verification-code")["properties"]["verificationCode"]
        verified = hub.settings("POST", f"{path}/verify", {"certificate": pki.proof(code, root).pem})
        assert verified["properties"]["isVerified"] is True
        connect_by_certificate(device_id, certificate, soon=True).send_message("proved")
        assert len(hub.events(device_id, 1)) == 1
    finally:
        hub.settings("DELETE", path)
