"""Names, partitions and settings of the topics."""

import pytest

from contract import topics
from contract.errors import Malformed

EDGE = {topic.name: topic for topic in topics.edge_topics()}
CLOUD = {topic.name: topic for topic in topics.cloud_topics()}


def test_every_topic_of_the_picture_is_there():
    """What the services write and what is mirrored, on the cluster where it belongs."""
    assert set(EDGE) == {
        topics.TELEMETRY,
        topics.MAINTENANCE,
        topics.ANOMALIES,
        topics.ALERTS,
        topics.REJECTED,
        topics.AUDIT,
        topics.EVIDENCE,
        topics.CAR_STATE,
        "cloud.models",
    }
    assert set(CLOUD) == {
        topics.MODELS,
        topics.MODELS_LOG,
        topics.MODELS_SLICES,
        topics.MODELS_EXAM,
        "edge.telemetry",
        "edge.maintenance",
        "edge.anomalies",
        "edge.alerts",
        "edge.scores.evidence",
    }


@pytest.mark.parametrize("name", topics.MIRRORED_UP)
def test_what_is_mirrored_up_has_the_same_partitions(name: str):
    """MirrorMaker keeps a record's partition: the mirror must have as many."""
    assert CLOUD[topics.mirrored("edge", name)].partitions == EDGE[name].partitions


@pytest.mark.parametrize("name", topics.MIRRORED_DOWN)
def test_what_is_mirrored_down_has_the_same_partitions(name: str):
    """Models come down to as many partitions."""
    assert EDGE[topics.mirrored("cloud", name)].partitions == CLOUD[name].partitions


def test_partition_n_has_its_audit_and_its_state_in_partition_n():
    """scores.audit and car-state are partitioned like telemetry."""
    assert EDGE[topics.AUDIT].partitions == EDGE[topics.TELEMETRY].partitions
    assert EDGE[topics.CAR_STATE].partitions == EDGE[topics.TELEMETRY].partitions


def test_several_edges_feed_one_cloud():
    """The mirrors' names carry the edge's; the models are the cloud's only ones."""
    names = {t.name for t in (*topics.cloud_topics("north"), *topics.cloud_topics("south"))}
    assert {"north.telemetry", "south.telemetry"} < names
    assert "cloud2.models" in {t.name for t in topics.edge_topics("cloud2")}


def test_models_are_kept_and_their_history_too():
    """models keeps the newest record of a name, models.log all of them, neither for a limited time."""
    assert CLOUD[topics.MODELS].config["cleanup.policy"] == "compact"
    assert (
        CLOUD[topics.MODELS_LOG].config | {"cleanup.policy": "delete", "retention.ms": "-1"}
        == CLOUD[topics.MODELS_LOG].config
    )
    assert EDGE["cloud.models"].config["cleanup.policy"] == "compact"


def test_a_model_that_was_replaced_is_kept_for_the_hand_over():
    """Compaction does not touch it before its cars have had a week, in the cloud and at the edge."""
    for topic in (CLOUD[topics.MODELS], EDGE["cloud.models"]):
        assert topic.config["min.compaction.lag.ms"] == str(7 * 24 * 3_600_000)


def test_car_states_are_compacted_in_small_segments():
    """What is read whole at a takeover is not left to grow to Kafka's segments of a gigabyte."""
    assert int(EDGE[topics.CAR_STATE].config["segment.bytes"]) == 4 * 2**20


def test_exams_are_compacted_in_small_segments():
    """The newest exams are kept for ever, replaced ones do not fill a segment of a gigabyte; cloud only."""
    config = CLOUD[topics.MODELS_EXAM].config
    assert (config["cleanup.policy"], config["retention.ms"]) == ("compact", "-1")
    assert int(config["segment.bytes"]) == 16 * 2**20
    assert topics.MODELS_EXAM not in topics.MIRRORED_DOWN


def test_maintenance_reports_are_kept_for_ever():
    """They are the labels: no retention time ends them, here and in the cloud."""
    assert EDGE[topics.MAINTENANCE].config["retention.ms"] == "-1"
    assert CLOUD["edge.maintenance"].config["retention.ms"] == "-1"


def test_retention_is_in_kafkas_units():
    """Hours become milliseconds."""
    assert topics.Topic("t", 1, retention_hours=24).config["retention.ms"] == "86400000"


@pytest.mark.parametrize("kind", ["telemetry", "maintenance", "command"])
@pytest.mark.parametrize("car_id", ["c", "car-000001", "WVWZZZ1JZ3W386752", "A_z-9" * 12 + "abc"])
def test_mqtt_topics_split_into_what_they_were_made_of(car_id: str, kind: str):
    """fleet/v1/<car_id>/<kind>, both ways."""
    assert topics.mqtt_topic(car_id, kind) == f"fleet/v1/{car_id}/{kind}"
    assert topics.split_mqtt_topic(f"fleet/v1/{car_id}/{kind}") == (car_id, kind)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "/",
        "fleet",
        "fleet/v1",
        "fleet/v1/car",
        "fleet/v2/car/telemetry",
        "Fleet/v1/car/telemetry",
        "fleet/v1//telemetry",
        "fleet/v1/car/telemetry/",
        "fleet/v1/car/a/telemetry",
        "/fleet/v1/car/telemetry",
        "fleet/v1/c ar/telemetry",
        "fleet/v1/ça/telemetry",
        "fleet/v1/car\n/telemetry",
        "fleet/v1/+/telemetry",
        "fleet/v1/" + "c" * 64 + "/telemetry",
        "fleet/v1/٣/telemetry",
        "x" * 70_000,
    ],
)
def test_any_other_mqtt_topic_is_refused(topic: str):
    """wrong_topic, with a message of bounded length."""
    with pytest.raises(Malformed) as refusal:
        topics.split_mqtt_topic(topic)
    assert refusal.value.reason == "wrong_topic"
    assert len(str(refusal.value)) < 500
