"""What the scorer can be told."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plumbing.log import LogFormat
from plumbing.settings import addresses, setting

RuntimeName = Literal["litert", "tflite-runtime"]


@dataclass(frozen=True)
class Settings:
    """Flags, environment (SCORER_…) or these defaults."""

    kafka_bootstrap: str = setting("edge Kafka: host:port,host:port,…")
    kafka_properties: Path | None = setting(
        "file with more Kafka client settings (security, …)", default=None
    )
    schema_registry_url: str | None = setting(
        "Confluent-API schema registry to take schema ids from; none: the ids of the schema files",
        default=None,
    )
    group_id: str = setting("consumer group; its members share the partitions", default="scorer")
    scorer_id: str = setting("name of this replica in audit records", default=socket.gethostname())
    model_name: str = setting("which model of the models topic to run", default="failure-detector")
    cloud_name: str = setting(
        "name of the cloud cluster in replication: models come from <cloud>.models", default="cloud"
    )
    runtime: RuntimeName = setting("TFLite interpreter", default="litert")
    batch_records_max: int = setting("records scored at once", default=16_000)
    batch_wait_ms: int = setting("longest wait for the first record of a batch", default=100)
    fetch_wait_ms: int = setting(
        "Kafka answers after so long with less than 100 kB: less time costs CPU, more costs latency",
        default=3,
    )
    in_flight_batches_max: int = setting(
        "batches scored but not delivered; above it consuming waits", default=100
    )
    commit_interval_ms: int = setting("at most so often are offsets committed", default=200)
    remembered_records: int = setting(
        "records read back per partition on assignment, to know what was scored before", default=20_000
    )
    state_interval_s: float = setting(
        "car states that have changed are written to car-state so often", default=10.0
    )
    delivery_timeout_s: float = setting("Kafka silent for so long: exit and be restarted", default=60.0)
    metrics_host: str = setting("address of /metrics, /healthz, /readyz", default="127.0.0.1")
    metrics_port: int = setting("port of /metrics, /healthz, /readyz; 0: none", default=0)
    log_format: LogFormat = setting("log lines", default="auto")

    def __post_init__(self) -> None:
        addresses(self.kafka_bootstrap.split(","), "--kafka-bootstrap")
        counts = ("batch_records_max", "in_flight_batches_max")
        for name in (*counts, "batch_wait_ms", "fetch_wait_ms", "commit_interval_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1")
        if self.state_interval_s <= 0:
            raise ValueError("--state-interval-s must be positive")
        if self.remembered_records < 0 or self.delivery_timeout_s <= 0:
            raise ValueError(
                "--remembered-records must not be negative, --delivery-timeout-s must be positive"
            )
