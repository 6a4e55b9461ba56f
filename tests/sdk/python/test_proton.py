"""Qpid Proton, which the SDK for Java is made of, and which generic AMQP clients use. Its package is the system's:
python3-qpid-proton."""

import json
import os
import pathlib
import re
import subprocess

import pytest
from azure.iot.hub.models import Twin, TwinProperties

SYSTEM_PYTHON = "/usr/bin/python3"
PROGRAM = pathlib.Path(__file__).with_name("proton_client.py")


def proton(hub, what, **task):
    """What the program saw, and the frames that came and went, as it traces them."""
    task = {"host": hub.host_name, "authority": hub.certificate_authority_file, **task}
    ran = subprocess.run(
        [SYSTEM_PYTHON, PROGRAM, what],
        input=json.dumps(task),
        env={**os.environ, "PN_TRACE_FRM": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, f"{ran.stderr[-4000:]}\n(python3-qpid-proton is needed for {SYSTEM_PYTHON})"
    return json.loads(ran.stdout), ran.stderr


def test_a_device_with_small_frames_and_a_session_for_each_link(hub, registry, new_device):
    device = new_device()
    desired = {f"part{number}": "x" * 1000 for number in range(8)}
    registry.update_twin(device.device_id, Twin(properties=TwinProperties(desired=desired)), "*")
    bodies = ["accept " + "y" * 20_000, "release", "reject"]
    for body in bodies:
        hub.send_to_device(device.device_id, body.encode())
    telemetry = [f"telemetry {number}" for number in range(3)]
    seen, frames = proton(
        hub, "device", deviceId=device.device_id, token=hub.device_token(device), telemetry=telemetry, deliveries=4
    )
    assert [event["body"] for event in hub.events(device.device_id, 3)] == telemetry
    assert seen["twin"]["desired"] == {**desired, "$version": 2}
    first_deliveries = [[body, 0, body.split()[0]] for body in bodies]
    assert sorted(seen["settled"]) == sorted([*first_deliveries, ["release", 1, "accept"]])
    assert registry.get_device(device.device_id).cloud_to_device_message_count == 0
    # The large ones came in pieces.
    assert len(re.findall(r"<- @transfer\(20\).*more=true", frames)) >= 5 + 2
    assert len(re.findall(r"-> @begin\(17\)", frames)) >= 7


def test_refused_links_are_told_why(hub, new_device):
    device, other = new_device(), new_device()
    refused = {
        ("sender", f"/devices/{other.device_id}/messages/events"): "amqp:unauthorized-access",
        ("receiver", f"/devices/{other.device_id}/messages/devicebound"): "amqp:unauthorized-access",
        ("sender", "/messages/devicebound"): "amqp:unauthorized-access",
        ("receiver", "/messages/servicebound/feedback"): "amqp:unauthorized-access",
        ("receiver", "events/ConsumerGroups/$Default/Partitions/0"): "amqp:unauthorized-access",
        ("receiver", f"/devices/{device.device_id}/nonsense"): "amqp:not-found",
        ("sender", f"/devices/{device.device_id}/messages/devicebound"): "amqp:not-allowed",
    }
    task = {"deviceId": device.device_id, "token": hub.device_token(device), "refused": list(refused)}
    conditions, _ = proton(hub, "refused", **task)
    assert dict(zip(refused, conditions)) == refused
    assert len(hub.events(device.device_id, len(refused))) == len(refused), "the connection goes on"


def test_the_key_of_a_policy_opens_the_events(hub, new_device, connect):
    device = new_device()
    client = connect(device)
    for number in range(3):
        client.send_message(f"event {number}")
    sent = hub.events(device.device_id, 3)
    policy, key = hub.policy("service")
    address = f"{hub.event_hub_compatible['name']}/ConsumerGroups/$Default/Partitions/{sent[0]['partition']}"
    reader = {"policy": policy, "key": key, "address": address, "offset": sent[0]["offset"]}
    # Others may send in between.
    count = sent[-1]["offset"] - sent[0]["offset"] + 1
    events, _ = proton(hub, "read", **reader, count=count)
    assert events[0] == [str(sent[0]["offset"]), "event 0"]
    for event in sent:
        assert [str(event["offset"]), event["body"]] in events


@pytest.mark.parametrize("policy, key", [("service", "AAAA"), ("nobody", None)])
def test_another_key_or_name_opens_nothing(hub, policy, key):
    said, _ = proton(hub, "login", policy=policy, key=key or hub.policy("service")[1])
    assert "Authentication failed" in said
