"""Step 1 of `make cluster` that needs no cluster: all manifests render, and say what the code says."""

import re
from pathlib import Path
from typing import Any

import pytest

from contract.schema import VARIABLE, read
from contract.signals import read as read_signals
from contract.topics import (
    MIRRORED_DOWN,
    MIRRORED_UP,
    TELEMETRY,
    TELEMETRY_PARTITIONS,
    Topic,
    cloud_topics,
    edge_topics,
)
from local import kafka, mosquitto
from local.java import ROOT
from plumbing import settings
from plumbing.life import SHUTDOWN_DEADLINE_S
from tests.integration.k8s.rendered import (
    CHECKED_ELSEWHERE,
    CLUSTERS,
    CRD_DIR,
    Object,
    build,
    cluster,
    custom_schemas,
    faults,
    named,
    pod_templates,
    with_component,
)

pytestmark = pytest.mark.integration
COMPONENTS = [
    ("edge", "keda"),
    ("edge", "network-policies"),
    ("edge", "tls"),
    ("edge", "own-schema"),
    ("cloud", "own-schema"),
    ("cloud", "gpu"),
]
SERVICES = ("simulator", "bridge", "scorer", "trainer")


def everything(tmp_path: Path) -> list[Object]:
    """All objects of all clusters, with every component."""
    found = [o for name in CLUSTERS for o in cluster(name)]
    for name, component in COMPONENTS:
        folder = tmp_path / f"{name}-{component}"
        folder.mkdir()
        found += with_component(name, component, folder)
    return found


def test_every_object_has_the_shape_of_its_kind(tmp_path: Path) -> None:
    """No unknown field, none missing, no wrong type; kinds that nothing here knows are named."""
    wrong, unknown = [], set()
    for o in everything(tmp_path):
        found = faults(o)
        if found is None:
            unknown.add(o["kind"])
        else:
            wrong += found
    assert sorted(set(wrong)) == []
    unknown -= CHECKED_ELSEWHERE
    if not custom_schemas():
        pytest.skip(f"NOT CHECKED, no definitions in {CRD_DIR} (set CRD_DIR): {', '.join(sorted(unknown))}")
    assert unknown == set()


def test_a_wrong_field_is_found() -> None:
    """The check above sees an unknown field, a wrong type and a missing field, in our and in custom kinds."""
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}
    assert faults({**deployment, "spec": {"replica": 1}}) == ["Deployment x.spec: there is no replica"]
    assert faults({**deployment, "spec": {"replicas": "1"}}) == ["Deployment x.spec.replicas: '1' is no int"]
    if custom_schemas():
        pool = {"apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaNodePool", "metadata": {"name": "x"}}
        assert faults({**pool, "spec": {"replicas": 1, "roles": ["broker"]}}) == [
            "KafkaNodePool x.spec: storage is missing"
        ]


def test_every_pod_is_confined(tmp_path: Path) -> None:
    """Not root, read-only root file system, no capability, no token, no service links, bounded memory."""
    templates = pod_templates(tuple(everything(tmp_path)))
    assert len(templates) >= 5
    for where, template in templates.items():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], where
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert spec["enableServiceLinks"] is False, where
        assert spec["automountServiceAccountToken"] is False, where
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, where
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where
            assert "memory" in container["resources"]["limits"], where
            assert re.fullmatch(r".+:(?!latest$)[\w.-]+", container["image"]), where


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_service_is_probed_and_given_time_to_drain(name: str) -> None:
    """Startup, readiness and liveness; the kubelet waits longer than the services' own deadline."""
    for where, template in pod_templates(cluster(name)).items():
        spec = template["spec"]
        assert spec["terminationGracePeriodSeconds"] >= SHUTDOWN_DEADLINE_S + 5, where
        if not where.startswith("CronJob"):
            probes = {"startupProbe", "readinessProbe", "livenessProbe"}
            assert probes <= spec["containers"][0].keys(), where


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_services_accept_their_settings(name: str, tmp_path: Path) -> None:
    """What the ConfigMaps and the pods' environment say is what the service would start with."""
    for service, package in {
        **dict(zip(SERVICES, SERVICES, strict=True)),
        "watcher": "trainer.watch",
        "mirror": "mirror",
    }.items():
        maps = [o for o in cluster(name) if o["kind"] == "ConfigMap"]
        if not any(o["metadata"]["name"].startswith(f"{service}-settings") for o in maps):
            continue
        variables = named(cluster(name), "ConfigMap", f"{service}-settings")["data"]
        module = __import__(f"{package}.settings", fromlist=["Settings"])
        settings.load(module.Settings, prefix=service.upper(), argv=[], environ=variables)


@pytest.mark.parametrize("name", ["local", "edge"])
def test_bridges_own_all_shards(name: str) -> None:
    """The replicas and shards are those of the bridges' settings, and the fleet has the same shards."""
    variables = named(cluster(name), "ConfigMap", "bridge-settings")["data"]
    bridge = named(cluster(name), "StatefulSet", "bridge")["spec"]
    assert bridge["replicas"] == int(variables["BRIDGE_REPLICAS"])
    shards = variables["BRIDGE_MQTT_BROKERS"].split(",")
    if name == "edge":
        assert len(shards) == named(cluster(name), "StatefulSet", "mosquitto")["spec"]["replicas"]
        fleet = (ROOT / "k8s/apps/simulator/settings.env").read_text(encoding="utf-8")
    else:
        fleet = (ROOT / "k8s/clusters/local/simulator.env").read_text(encoding="utf-8")
    assert f"SIMULATOR_MQTT_BROKERS={variables['BRIDGE_MQTT_BROKERS']}\n" in fleet
    (env,) = [e for e in bridge["template"]["spec"]["containers"][0]["env"] if e["name"] == "BRIDGE_ORDINAL"]
    assert env["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"


@pytest.mark.parametrize(
    ("name", "services"), [("edge", ("bridge", "scorer")), ("cloud", ("trainer", "watcher"))]
)
def test_an_own_schema_reaches_every_service(name: str, services: tuple[str, ...], tmp_path: Path) -> None:
    """The component mounts the folder where the variable says, and the contract accepts what is in it."""
    objects = with_component(name, "own-schema", tmp_path)
    map_name = named(objects, "ConfigMap", "own-schema")["metadata"]["name"]
    for service in services:
        (template,) = [t for key, t in pod_templates(objects).items() if key.endswith(f" {service}")]
        container = template["spec"]["containers"][0]
        (value,) = [e["value"] for e in container["env"] if e["name"] == VARIABLE]
        (mount,) = [m for m in container["volumeMounts"] if m["mountPath"] == value]
        (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == mount["name"]]
        assert volume["configMap"]["name"] == map_name
    folder = tmp_path / "mounted"
    folder.mkdir()
    for file, text in named(objects, "ConfigMap", "own-schema")["data"].items():
        (folder / file).write_text(text, encoding="utf-8")
    (own,) = [schema for schema in read(folder) if schema.name == TELEMETRY]
    signals = tuple(f["name"] for f in own.fields if f["type"] == "float")
    assert read_signals(folder / "signals.toml", signals).signals


def test_scorers_scale_up_to_the_partitions(tmp_path: Path) -> None:
    """No manifest sets their number; HPA and KEDA end at the partitions of what the scorers read."""
    for name in ("local", "edge"):
        assert "replicas" not in named(cluster(name), "Deployment", "scorer")["spec"]
    hpa = named(cluster("edge"), "HorizontalPodAutoscaler", "scorer")["spec"]
    assert hpa["maxReplicas"] == TELEMETRY_PARTITIONS
    keda = named(with_component("edge", "keda", tmp_path), "ScaledObject", "scorer")["spec"]
    assert keda["maxReplicaCount"] == TELEMETRY_PARTITIONS
    from scorer.settings import Settings

    trigger = keda["triggers"][0]["metadata"]
    assert trigger["topic"] == TELEMETRY
    assert trigger["consumerGroup"] == Settings.group_id


@pytest.mark.parametrize(("name", "topics"), [("edge", edge_topics()), ("cloud", cloud_topics())])
def test_kafka_topics_are_those_of_the_contract(name: str, topics: tuple[Topic, ...]) -> None:
    """Names, partitions and configuration, no more and no fewer."""
    found = {o["metadata"]["name"]: o["spec"] for o in cluster(name) if o["kind"] == "KafkaTopic"}
    assert {topic: (spec["partitions"], spec["config"]) for topic, spec in found.items()} == {
        topic.name: (topic.partitions, topic.config) for topic in topics
    }


# What Strimzi says in fields of its own; and what holds for one broker, one process or one machine.
_SAID_ELSEWHERE = {"tasks.max", "exactly.once.source.support", "isolation.level"}
_ONE_MACHINE = (
    r"replication\.factor|storage\.partitions|plugin\.discovery|refresh\.groups|emit\.(heart|check)|listeners"
)


@pytest.mark.parametrize(
    ("mirror", "source", "target", "topics"),
    [("mirror-up", "edge", "cloud", MIRRORED_UP), ("mirror-down", "cloud", "edge", MIRRORED_DOWN)],
)
def test_mirrors_have_the_settings_that_were_proved(
    mirror: str, source: str, target: str, topics: tuple[str, ...]
) -> None:
    """Every setting of local/kafka.py that concerns this direction stands in the resource."""
    spec = named(cluster("edge"), "KafkaMirrorMaker2", mirror)["spec"]
    (one,) = spec["mirrors"]
    assert (one["source"]["alias"], spec["target"]["alias"]) == (source, target)
    assert one["topicsPattern"] == "|".join(topics)
    connector = one["sourceConnector"]
    assert connector["tasksMax"] == 1
    assert spec["target"]["config"]["exactly.once.source.support"] == "enabled"
    assert connector["config"]["consumer.isolation.level"] == "read_committed"
    have = {**spec["target"]["config"], **connector["config"]}
    missing = []
    for key, value in proved(source, target).items():
        if have.get(key) != value:
            missing.append(f"{key}={value}, there is {have.get(key)}")
    assert missing == []


def proved(source: str, target: str) -> dict[str, Any]:
    """The settings of local/kafka.py for one direction, as a Connect worker and connector know them."""
    text = kafka.MIRROR_PROPERTIES
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        skipped = line.startswith(("#", "clusters")) or "->" in key or key.endswith("bootstrap.servers")
        if skipped or not value:
            continue
        if key.startswith(f"{source}.consumer."):
            key = key.removeprefix(f"{source}.")
        elif key.startswith(f"{target}."):
            key = key.removeprefix(f"{target}.")
        elif key.startswith((f"{source}.", "dedicated.")):
            continue  # of the other direction; or of a worker without Connect's own REST server
        if key.startswith("consumer.") and source == "cloud" and "isolation" not in key:
            continue
        if re.search(_ONE_MACHINE, key) or any(key.endswith(ending) for ending in _SAID_ELSEWHERE):
            continue
        found[key] = {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
    assert len(found) >= 8
    return found


def test_mosquitto_has_the_settings_that_were_proved() -> None:
    """Every line of local/mosquitto.py but addresses and folders."""
    here = named(cluster("edge"), "ConfigMap", "mosquitto")["data"]["mosquitto.conf"].splitlines()
    there = [
        line
        for line in mosquitto._CONFIG.splitlines()
        if line and not line.startswith(("#", "listener ", "persistence_location ", "{"))
    ]
    assert len(there) > 8
    assert [line for line in there if line not in here] == []


def test_no_secret_stands_in_a_manifest(tmp_path: Path) -> None:
    """Secrets are only named."""
    assert [o["metadata"]["name"] for o in everything(tmp_path) if o["kind"] == "Secret"] == []


def test_every_image_is_a_target_of_the_dockerfile() -> None:
    """And each of ours is used somewhere."""
    targets = set(
        re.findall(r"^FROM base AS (\w+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    )
    targets -= {"needs", "libraries"}
    used = set()
    for name in CLUSTERS:
        for template in pod_templates(cluster(name)).values():
            image = template["spec"]["containers"][0]["image"]
            if "connected-cars/" in image:
                used.add(re.sub(r".*/|:.*", "", image))
    assert targets == used == set(SERVICES)


def test_every_folder_of_manifests_builds_alone() -> None:
    """apps/ and infrastructure/ can be applied one by one."""
    folders = {path.parent for path in (ROOT / "k8s").glob("*/*/kustomization.yaml")}
    alone = {folder for folder in folders if folder.parent.name in ("apps", "infrastructure")}
    assert len(alone) >= 8
    for folder in sorted(alone):
        assert build(folder)


def test_what_the_images_copy_is_not_ignored() -> None:
    """A folder that the Dockerfile copies stands in .dockerignore, which leaves out all others."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()}
    assert {path for paths in copied for path in paths.split()} <= allowed
