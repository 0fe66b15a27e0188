"""All topics: Kafka's with partitions and retention, MQTT's with their form."""

import re
from dataclasses import dataclass, replace
from typing import Literal

from contract.errors import Malformed

TELEMETRY = "telemetry"
MAINTENANCE = "maintenance"
ANOMALIES = "anomalies"
ALERTS = "alerts"
REJECTED = "telemetry.rejected"
AUDIT = "scores.audit"
EVIDENCE = "scores.evidence"
CAR_STATE = "car-state"
MODELS = "models"
MODELS_LOG = "models.log"
MODELS_SLICES = "models.slices"
MODELS_EXAM = "models.exam"

_CHALLENGER = "/challenger"

MIRRORED_UP = (TELEMETRY, MAINTENANCE, ANOMALIES, ALERTS, EVIDENCE)
MIRRORED_DOWN = (MODELS,)

# More partitions than scorers today: they limit the number of replicas, and a change would move keys.
TELEMETRY_PARTITIONS = 12

# How long replaced models are kept. A car that sends nothing for longer is learned anew.
HAND_OVER_HOURS = 24 * 7

CAR_ID_BYTES_MAX = 63
_CAR_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{CAR_ID_BYTES_MAX}}}", re.ASCII)


@dataclass(frozen=True)
class Topic:
    """A Kafka topic. Keys are car ids, on the model topics model names (of exams with version and part)."""

    name: str
    partitions: int
    cleanup_policy: Literal["delete", "compact"] = "delete"
    retention_hours: int | None = 24  # None: for ever
    retention_bytes: int | None = None  # of a partition, in whole segments; None: no limit
    message_bytes_max: int = 1_048_576
    segment_bytes: int | None = None  # only closed segments are compacted
    compaction_lag_hours: int | None = None  # records younger than this are not compacted

    @property
    def config(self) -> dict[str, str]:
        """The topic's configuration with Kafka's keys."""
        retention_ms = -1 if self.retention_hours is None else self.retention_hours * 3_600_000
        config = {
            "cleanup.policy": self.cleanup_policy,
            "retention.ms": str(retention_ms),
            "max.message.bytes": str(self.message_bytes_max),
        }
        if self.retention_bytes is not None:
            config["retention.bytes"] = str(self.retention_bytes)
        if self.segment_bytes is not None:
            config["segment.bytes"] = str(self.segment_bytes)
        if self.compaction_lag_hours is not None:
            config["min.compaction.lag.ms"] = str(self.compaction_lag_hours * 3_600_000)
        return config


_TELEMETRY = Topic(TELEMETRY, TELEMETRY_PARTITIONS)
_MAINTENANCE = Topic(MAINTENANCE, 4, retention_hours=None)
_ANOMALIES = Topic(ANOMALIES, 4, retention_hours=24 * 7)
_ALERTS = Topic(ALERTS, 4, retention_hours=24 * 30)
# Whoever sends only what is refused must not fill the disk: 4 GiB in all, the newest.
_REJECTED = Topic(REJECTED, 4, retention_hours=24 * 7, retention_bytes=2**30, segment_bytes=64 * 2**20)
# Keys: the scorer's name for its counts, the car id for an alert of a model on trial.
_EVIDENCE = Topic(EVIDENCE, 4, retention_hours=24 * 30)
# A scorer that starts during a hand-over also needs the model before the newest.
_MODELS = Topic(
    MODELS, 1, cleanup_policy="compact", retention_hours=None, compaction_lag_hours=HAND_OVER_HOURS
)
# The records that published models learned from, for `trainer rebuild` after their telemetry is gone.
_MODELS_SLICES = Topic(MODELS_SLICES, 1, retention_hours=24 * 90)
# Telemetry that a champion was judged on, some megabytes a version: the next candidate is judged on it, too.
_MODELS_EXAM = Topic(MODELS_EXAM, 1, cleanup_policy="compact", retention_hours=None, segment_bytes=16 * 2**20)
# Scorers read all of it at a takeover: small segments leave few records that are not compacted yet.
_CAR_STATE = Topic(
    CAR_STATE, TELEMETRY_PARTITIONS, cleanup_policy="compact", retention_hours=None, segment_bytes=4 * 2**20
)


def challenger_key(model_name: str) -> str:
    """The key on `models` of the model that is on trial beside the champion, whose key is the name itself."""
    return model_name + _CHALLENGER


def is_challenger(key: bytes | None) -> bool:
    """Whether a key on `models` is that of a model on trial."""
    return key is not None and key.endswith(_CHALLENGER.encode())


def mirrored(source: str, topic: str) -> str:
    """The name of `topic` mirrored from cluster `source` (MirrorMaker's DefaultReplicationPolicy)."""
    return f"{source}.{topic}"


def edge_topics(cloud: str = "cloud") -> tuple[Topic, ...]:
    """All topics of an edge cluster."""
    return (
        _TELEMETRY,
        _MAINTENANCE,
        _ANOMALIES,
        _ALERTS,
        _REJECTED,
        # The audit of a telemetry partition is in the audit partition of the same number (scorer/).
        Topic(AUDIT, TELEMETRY_PARTITIONS, retention_hours=24 * 7),
        _EVIDENCE,
        _CAR_STATE,
        _mirror_of(_MODELS, cloud),
    )


def cloud_topics(edge: str = "edge") -> tuple[Topic, ...]:
    """All topics of the cloud cluster for one edge; several edges add their own mirrors."""
    up = (_TELEMETRY, _MAINTENANCE, _ANOMALIES, _ALERTS, _EVIDENCE)
    mirrors = tuple(_mirror_of(topic, edge) for topic in up)
    return (_MODELS, Topic(MODELS_LOG, 1, retention_hours=None), _MODELS_SLICES, _MODELS_EXAM, *mirrors)


def _mirror_of(topic: Topic, source: str) -> Topic:
    return replace(topic, name=mirrored(source, topic.name))


# Everything that cars and workshops send, and commands to them.
MQTT_FILTER = "fleet/v1/#"


def mqtt_topic(car_id: str, kind: str) -> str:
    """`fleet/v1/<car_id>/<kind>`; kind is telemetry, maintenance or command."""
    return f"fleet/v1/{car_id}/{kind}"


def split_mqtt_topic(topic: str) -> tuple[str, str]:
    """(car_id, kind) of `fleet/v1/<car_id>/<kind>`. Raises Malformed (`wrong_topic`)."""
    parts = topic.split("/")
    if len(parts) != 4 or parts[:2] != ["fleet", "v1"]:
        raise Malformed("wrong_topic", f"{topic[:200]!r} is not fleet/v1/<car_id>/<kind>")
    if not _CAR_ID.fullmatch(parts[2]):
        raise Malformed("wrong_topic", f"{parts[2][:200]!r} is not a car id ({_CAR_ID.pattern})")
    return parts[2], parts[3]
