"""The settings of the scorer."""

import socket
from dataclasses import dataclass
from pathlib import Path

from plumbing.log import LogFormat
from plumbing.settings import addresses, setting
from plumbing.tflite import RuntimeName


@dataclass(frozen=True)
class Settings:
    """Flags, environment (SCORER_…) or these defaults."""

    kafka_bootstrap: str = setting("edge Kafka: host:port,host:port,…")
    kafka_properties: Path | None = setting(
        "file with more Kafka client settings (security, …)", default=None
    )
    schema_registry_url: str | None = setting(
        "URL of a schema registry (Confluent API) that assigns schema ids; none: the ids in the schema files",
        default=None,
    )
    group_id: str = setting("consumer group, whose members share the partitions", default="scorer")
    scorer_id: str = setting("name of this replica in audit records", default=socket.gethostname())
    model_name: str = setting(
        "name of the model to run, of those on the models topic", default="failure-detector"
    )
    cloud_name: str = setting(
        "name of the cloud cluster in replication; models are read from <cloud>.models", default="cloud"
    )
    runtime: RuntimeName = setting("TFLite interpreter", default="litert")
    batch_records_max: int = setting("most records scored at once", default=16_000, least=1)
    batch_wait_ms: int = setting("longest wait for the first record of a batch", default=100, least=1)
    fetch_wait_ms: int = setting(
        "longest wait of Kafka for 100 kB of records: a shorter one costs CPU, a longer one latency",
        default=3,
        least=1,
    )
    in_flight_batches_max: int = setting(
        "most batches whose results are not delivered; then consuming waits", default=100, least=1
    )
    commit_interval_ms: int = setting("shortest time between two commits of offsets", default=200, least=1)
    remembered_records: int = setting(
        "records read back for each assigned partition, to recognise duplicates", default=20_000, least=0
    )
    state_interval_s: float = setting(
        "interval at which changed car states are written to car-state", default=10.0, above=0
    )
    delivery_timeout_s: float = setting(
        "exit (to be restarted) when Kafka has confirmed nothing for this long", default=60.0, above=0
    )
    metrics_host: str = setting("address of /metrics, /healthz, /readyz", default="127.0.0.1")
    metrics_port: int = setting("port of /metrics, /healthz, /readyz; 0: none", default=0)
    log_format: LogFormat = setting("format of log lines", default="auto")

    def __post_init__(self) -> None:
        addresses(self.kafka_bootstrap.split(","), "--kafka-bootstrap")
