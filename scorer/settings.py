"""The settings of the scorer."""

import socket
from dataclasses import dataclass

from plumbing.kafka import GroupProtocol, KafkaSettings
from plumbing.service import ServiceSettings
from plumbing.settings import setting
from plumbing.tflite import RuntimeName


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings, ServiceSettings):
    """Flags, environment (SCORER_…) or these defaults."""

    group_id: str = setting("consumer group, whose members share the partitions", default="scorer")
    output_prefix: str = setting(
        "put before the names of the topics that are written, so a second group can score beside the first",
        default="",
    )
    group_protocol: GroupProtocol = setting(
        "protocol of the consumer group: consumer (KIP-848, Kafka 4), or classic (any Kafka)",
        default="consumer",
    )
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
    cars_max: int = setting(
        "most cars remembered, 1 kB each; of more those not learned and longest unseen are forgotten",
        default=250_000,
        least=1,
    )
    forget_days: float = setting(
        "days after which a car that sends nothing is forgotten, here and in car-state", default=30.0, above=0
    )
    state_interval_s: float = setting(
        "interval at which changed car states are written to car-state", default=10.0, above=0
    )
    evidence_interval_s: float = setting(
        "interval at which what was counted of every model goes to scores.evidence", default=60.0, above=0
    )
    delivery_timeout_s: float = setting(
        "exit (to be restarted) when Kafka has confirmed nothing for this long", default=60.0, above=0
    )
