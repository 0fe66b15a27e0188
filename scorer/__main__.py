"""python -m scorer: wiring only."""

import gc

from contract.schema import versions
from contract.telemetry import Decoder
from contract.topics import ALERTS, ANOMALIES, AUDIT, CAR_STATE, MODELS, REJECTED, TELEMETRY, mirrored
from plumbing import heap, kafka, registry, service
from plumbing.health import Health
from plumbing.life import Stop
from scorer.assignment import Assignment
from scorer.detector import AnomalyDetector
from scorer.membership import Membership
from scorer.model_feed import ModelFeed
from scorer.pipeline import Pipeline
from scorer.results import Results
from scorer.settings import Settings
from scorer.snapshots import Snapshots
from scorer.source import Source

# More objects than a batch and its results have. Reference counts free those; a search for cycles among some
# thousand messages, again and again, would cost 0.2 µs a record.
_COLLECT_AFTER_OBJECTS = 200_000


def main() -> None:
    """Entry point."""
    service.run("scorer", Settings, __doc__, _run)


def _run(settings: Settings, health: Health, stop: Stop) -> None:
    cluster = (settings.kafka_bootstrap, settings.kafka_properties)
    producer = kafka.producer(
        *cluster,
        delivery_timeout_ms=int(settings.delivery_timeout_s * 1_000),
        linger_ms=1,  # results are few, and the audit records of a batch wait for its anomalies
    )
    models_topic = mirrored(settings.cloud_name, MODELS)
    outputs = [settings.output_prefix + name for name in (ANOMALIES, ALERTS, AUDIT, CAR_STATE, REJECTED)]
    kafka.wait_for_topics(producer, (TELEMETRY, *outputs, models_topic), stop=stop)
    ids = registry.register(settings.schema_registry_url, versions(TELEMETRY))
    decoder = Decoder.of_all_versions(ids)
    feed = ModelFeed(
        kafka.consumer(*cluster, group_id=f"{settings.group_id}-models", enable_partition_eof=True),
        models_topic,
        settings.model_name,
        settings.runtime,
    )
    detector = AnomalyDetector()
    source = Source(settings.group_id)
    snapshots = Snapshots(detector, settings.model_name, settings.state_interval_s, feed.earlier, source)
    gc.set_threshold(_COLLECT_AFTER_OBJECTS)
    heap.keep_freed()
    consumer = kafka.consumer(
        *cluster,
        group_id=settings.group_id,
        group_protocol=settings.group_protocol,
        # Fetches of about 1 000 records, or what has come within fetch_wait_ms: many small ones cost more CPU
        # than the scoring.
        fetch_min_bytes=100_000,
        # The default of 1 MB a partition is 12 MB a fetch, which decompressed takes 100 MB of new memory.
        fetch_max_bytes=2_000_000,
        fetch_wait_max_ms=settings.fetch_wait_ms,
    )
    Pipeline(
        settings=settings,
        consumer=consumer,
        membership=Membership(lambda: kafka.admin(*cluster), consumer, settings.group_id),
        feed=feed,
        results=Results(producer, source, settings.output_prefix),
        decoder=decoder,
        detector=detector,
        snapshots=snapshots,
        assignment=Assignment(
            kafka.consumer(
                *cluster,
                group_id=f"{settings.group_id}-state",
                enable_partition_eof=True,
                # It reads only what is there; a fetch that waited for more would delay the next by 0.5 s.
                fetch_wait_max_ms=10,
            ),
            decoder,
            detector,
            snapshots,
            settings.remembered_records,
            source,
            topic_id=lambda: kafka.topic_ids(*cluster, [TELEMETRY]).get(TELEMETRY, ""),
            has_members=lambda group: kafka.has_members(*cluster, group),
            prefix=settings.output_prefix,
            states_max=settings.cars_max,
        ),
        health=health,
        stop=stop,
    ).run()


if __name__ == "__main__":
    main()
