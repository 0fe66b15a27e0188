"""python -m scorer: wiring only."""

import gc
import os
import sys

from contract.framing import schema_ids
from contract.schema import Schema, schemas
from contract.telemetry import Decoder
from contract.topics import ALERTS, ANOMALIES, AUDIT, CAR_STATE, MODELS, REJECTED, TELEMETRY, mirrored
from plumbing import health, heap, kafka, life, log, registry, settings
from scorer.assignment import Assignment
from scorer.detector import Detector
from scorer.model_feed import ModelFeed
from scorer.pipeline import Pipeline
from scorer.results import Results
from scorer.settings import Settings
from scorer.snapshots import Snapshots

KAFKA_ANSWERS_WITHIN_S = 30.0
# More objects than batches and their results hold: reference counts free these, and looking for cycles
# among some thousand messages again and again costs a fifth of a µs a record.
_COLLECT_AFTER_OBJECTS = 200_000


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> None:
    told = settings.load(
        Settings, prefix="SCORER", argv=sys.argv[1:], environ=os.environ, description=__doc__ or ""
    )
    log.configure("scorer", told.log_format)
    stop = life.Stop().install()
    state = health.Health()
    server = health.serve(state, host=told.metrics_host, port=told.metrics_port)
    where = (told.kafka_bootstrap, told.kafka_properties)
    producer = kafka.producer(
        *where,
        delivery_timeout_ms=int(told.delivery_timeout_s * 1_000),
        # Results are few, and the audit records of a batch wait for its anomalies: both would wait.
        linger_ms=1,
    )
    models_topic = mirrored(told.cloud_name, MODELS)
    needed = (TELEMETRY, ANOMALIES, ALERTS, AUDIT, CAR_STATE, REJECTED, models_topic)
    kafka.wait_for_topics(producer, needed, KAFKA_ANSWERS_WITHIN_S, stop)
    decoder = Decoder(_schemas_by_id(told.schema_registry_url))
    feed = ModelFeed(
        kafka.consumer(*where, group_id=f"{told.group_id}-models", enable_partition_eof=True),
        models_topic,
        told.model_name,
        told.runtime,
    )
    detector = Detector()
    snapshots = Snapshots(detector, told.model_name, told.state_interval_s, feed.earlier)
    gc.set_threshold(_COLLECT_AFTER_OBJECTS)
    heap.keep_freed()
    Pipeline(
        told,
        consumer=kafka.consumer(
            *where,
            group_id=told.group_id,
            group_protocol="consumer",
            # Answers of 1 000 records, or what has come meanwhile: small ones cost more CPU than scoring.
            fetch_min_bytes=100_000,
            # By default up to 1 MB of each partition, 12 MB: unpacked 100 MB that are new memory each time.
            fetch_max_bytes=2_000_000,
            fetch_wait_max_ms=told.fetch_wait_ms,
        ),
        feed=feed,
        results=Results(producer),
        decoder=decoder,
        detector=detector,
        snapshots=snapshots,
        assignment=Assignment(
            kafka.consumer(
                *where,
                group_id=f"{told.group_id}-state",
                enable_partition_eof=True,
                # It never waits for news, and a fetch that does holds up the next one for half a second.
                fetch_wait_max_ms=10,
            ),
            decoder,
            detector,
            snapshots,
            told.remembered_records,
        ),
        health=state,
        stop=stop,
    ).run()
    if server:
        server.shutdown()


def _schemas_by_id(url: str | None) -> dict[int, Schema]:
    telemetry = [schema for schema in schemas() if schema.name == TELEMETRY]
    if url is None:
        return schema_ids(telemetry)
    ids = registry.register(url, [(f"{TELEMETRY}-value", schema.text) for schema in telemetry])
    return schema_ids(
        telemetry, {schema.fingerprint: given for schema, given in zip(telemetry, ids, strict=True)}
    )


if __name__ == "__main__":
    main()
