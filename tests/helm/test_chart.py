"""What the chart renders, and what it refuses."""

import json
import os
import re
import subprocess
import textwrap

import chart
import pytest

DOCUMENTATION = (chart.ROOT / "docs" / "kubernetes.md").read_text()
SOURCES = "".join(file.read_text() for file in (chart.ROOT / "services").glob("**/src/**/*.rs"))


@pytest.mark.parametrize("case", [None, *chart.cases()])
def test_lint_finds_nothing(case):
    values = [chart.BASE] if case is None else [chart.BASE, chart.HERE / "cases" / f"{case}.yaml"]
    result = chart.helm("lint", "--strict", "--quiet", chart.CHART, *(w for file in values for w in ("--values", file)))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("case", [None, *chart.cases()])
def test_it_renders_what_its_snapshot_says(case):
    """`tests/helm/renew` writes new ones."""
    file = chart.SNAPSHOTS / ("base.yaml" if case is None else f"{case}.diff")
    assert chart.snapshot(case) == file.read_text()


@pytest.mark.parametrize(
    "setting, words",
    [
        ("replicas=3", "replicas"),
        ("gateway.replica=3", "replica"),
        ("gateway.replicas=0", "minimum"),
        ("gateway.replicas=two", "got string"),
        ("gateway.service.type=External", "value must be one of"),
        ("gateway.service.ports.mqtt=70000", "maximum"),
        ("gateway.service.nodePorts.https=443", "nodePorts"),
        ("gateway.service.loadBalancerSourceRanges={everywhere}", "pattern"),
        ("gateway.drain.timeoutSeconds=10", "at least 3 more than gateway.drain.spreadSeconds"),
        ("gateway.settings.Limits=1", "pattern"),
        ("gateway.resources.limits.memory=much", "pattern"),
        ("gateway.tolerations[0].keys=a", "additional properties 'keys' not allowed"),
        ("shard.antiAffinity=never", "value must be one of"),
        ("shard.storage.size=", "pattern"),
        ("shard.storage.whenDeleted=Keep", "value must be one of"),
        ("hub.groups=257", "maximum"),
        ("hub.hostNames={a b}", "pattern"),
        ("certificates.source=openssl", "value must be one of"),
        ("certificates.source=secrets", "must name a Secret"),
        ("certificates.source=cert-manager,operator.enabled=true", "operator.ownerSecret must name a Secret"),
        ("certificates.certManager.issuer.names=a", "additional properties 'names' not allowed"),
        ("kafka.bootstrapServers=kafka", "pattern"),
        ("kafka.bootstrapServers=", "kafka.bootstrapServers must say where events are kept"),
        ("kafka.replicationFactor=0", "replicationFactor"),
        ("kafka.sasl.mechanism=GSSAPI", "value must be one of"),
        ("kafka.sasl.mechanism=PLAIN", "kafka.sasl.username must be set"),
        ("kafka.development.enabled=maybe", "got string"),
        ("networkPolicy.adminFrom[0].cidr=10.0.0.0/8", "additional properties 'cidr' not allowed"),
        ("monitoring.alert.enabled=true", "additional properties 'alert' not allowed"),
        ("loadTest.enabled=true", "loadTest.connectionStringSecret must name a Secret"),
        ("loadTest.devices=0", "minimum"),
        ("loadTest.minutes=long", "got string"),
        ("loadTest.telemetrySeconds=0.01", "telemetrySeconds"),
        ("loadTest.arguments={verify}", "pattern"),
        ("loadTest.image.pullPolicy=Always", "additional properties 'pullPolicy' not allowed"),
        ("log.format=xml", "value must be one of"),
        ("fullnameOverride=Hub", "pattern"),
    ],
)
def test_a_wrong_value_is_refused_by_name(setting, words):
    with pytest.raises(ValueError) as refused:
        chart.render(chart.BASE, sets=[setting])
    assert words in str(refused.value)


@pytest.mark.skipif("IRONHUB_BINARY" not in os.environ, reason="IRONHUB_BINARY names no hub")
@pytest.mark.parametrize("role", ["gateway", "shard", "operator"])
@pytest.mark.parametrize("case", [None, *chart.cases()])
def test_the_hub_takes_the_configuration(tmp_path, case, role):
    """With the settings on the command line."""
    if case == "operator" and subprocess.run([os.environ["IRONHUB_BINARY"], "operator", "--help"], capture_output=True).returncode:
        pytest.skip("this hub has no operator")
    rendered = chart.rendered(case)
    if role == "operator" and "operator.toml" not in rendered:
        pytest.skip("no operator")
    configuration = tmp_path / "configuration.toml"
    text = re.search(rf"^  {role}\.toml: \|\n((?:    .*\n)+)", rendered, re.MULTILINE)[1]
    configuration.write_text(textwrap.dedent(text))
    container = rendered[rendered.index(f"--config=/configuration/{role}.toml") :]
    settings = re.findall(r"--set=[^\s\"]+", container[: container.index("ports:")])
    command = [os.environ["IRONHUB_BINARY"], role, "--config", configuration, *settings, "--print-config"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    assert (settings or role == "operator") and "0.0.0.0" in result.stdout


def test_the_schema_knows_the_values_and_no_others(tmp_path):
    schema = json.loads((chart.CHART / "values.schema.json").read_text())
    assert differences(schema, chart.defaults(tmp_path), "") == ["global"]


def differences(schema, values, path):
    """Names that only one of the two has."""
    properties = schema.get("properties")
    if properties is None:
        return []
    assert schema["additionalProperties"] is False, path
    either = sorted(set(properties) ^ set(values))
    both = [name for name in properties if name in values and isinstance(values[name], dict)]
    return [path + name for name in either] + [
        found for name in both for found in differences(properties[name], values[name], f"{path}{name}.")
    ]


# Kubernetes' own words, and those that a name says all of.
OBVIOUS = {"resources", "nodeSelector", "tolerations", "priorityClassName", "podAnnotations", "podLabels", "topologyKeys"}
OBVIOUS |= {"enabled", "repository", "pullPolicy", "kind", "group", "labels", "annotations", "size", "className", "username"}
OBVIOUS |= {"heap", "interval", "minReplicas", "maxReplicas"}


def test_every_value_is_explained():
    """By a comment above it, or above a mapping that it stands in."""
    unexplained, explained, before = [], {}, ""
    for line in (chart.CHART / "values.yaml").read_text().splitlines():
        if key := re.match(r"( *)(\w+):", line):
            indent, name = len(key[1]), key[2]
            explained = {i: is_explained for i, is_explained in explained.items() if i < indent}
            explained[indent] = before.lstrip().startswith("#") or name in OBVIOUS
            if not line.endswith(":") and not any(explained.values()):
                unexplained.append(line.strip())
        before = line
    assert unexplained == []


def metrics_of(file):
    return set(re.findall(r"\bironhub_[a-z_]+", (chart.CHART / "files" / file).read_text()))


@pytest.mark.parametrize("file", ["alerts.yaml", "dashboard.json"])
def test_every_metric_is_one_that_the_hub_exports(file):
    for metric in metrics_of(file):
        name = metric.removesuffix("_bucket")
        of_event_log = f'"{name.removeprefix("ironhub_event_log_")}"'
        assert f'"{name}"' in SOURCES or (name.startswith("ironhub_event_log_") and of_event_log in SOURCES), metric


def test_every_alert_is_explained():
    for alert in re.findall(r"alert: (\w+)", (chart.CHART / "files" / "alerts.yaml").read_text()):
        assert f"| {alert} |" in DOCUMENTATION, alert


def test_the_image_and_the_pods_agree_on_the_user():
    user = re.search(r"^user=(\d+)$", (chart.ROOT / "deploy" / "image").read_text(), re.MULTILINE)[1]
    users = re.findall(r"^USER (.*)$", (chart.ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert users == [f"{user}:{user}"] * 2
    base = chart.render(chart.BASE)
    assert set(re.findall(r"(?:runAsUser|runAsGroup|fsGroup): (\d+)", base)) == {user}


def test_every_container_is_without_rights():
    cases = [chart.HERE / "cases" / f"{case}.yaml" for case in ("kafka-development", "load-test")]
    rendered = chart.render(chart.BASE, *cases, sets=["operator.enabled=true"])
    containers = len(re.findall(r"^ +image: ", rendered, re.MULTILINE))
    assert containers == 8
    for words in ("allowPrivilegeEscalation: false", "readOnlyRootFilesystem: true", "drop: [ALL]"):
        assert rendered.count(words) == containers, words
    assert rendered.count("enableServiceLinks: false") == rendered.count("seccompProfile: {type: RuntimeDefault}")
