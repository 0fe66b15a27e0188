"""python -m bridge: wiring only."""

import os
import sys

from bridge.forwarding import Forwarder
from bridge.pipeline import Failure, Pipeline
from bridge.routing import Router
from bridge.settings import Settings
from contract.schema import Schema, schemas
from contract.topics import MAINTENANCE, REJECTED, TELEMETRY
from plumbing import health, kafka, life, log, registry, settings

KAFKA_ANSWERS_WITHIN_S = 30.0


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> None:
    told = settings.load(
        Settings, prefix="BRIDGE", argv=sys.argv[1:], environ=os.environ, description=__doc__ or ""
    )
    log.configure("bridge", told.log_format)
    stop = life.Stop().install()
    state = health.Health()
    server = health.serve(state, host=told.metrics_host, port=told.metrics_port)
    carried = [schema for schema in schemas() if schema.name in (TELEMETRY, MAINTENANCE)]
    router = Router(
        carried, ids=_registered(told.schema_registry_url, carried), payload_bytes_max=told.payload_bytes_max
    )
    failures: list[Failure] = []
    producer = kafka.producer(
        told.kafka_bootstrap,
        told.kafka_properties,
        on_failure=lambda error, message: failures.append((error, message)),
        # Never the limit that is met first: ours is, and a read that reaches it brings at most 256 KiB.
        queue_buffering_max_messages=told.in_flight_max + 100_000,
        queue_buffering_max_kbytes=1_048_576,
        delivery_timeout_ms=int(told.delivery_timeout_s * 1_000),
    )
    kafka.wait_for_topics(producer, (TELEMETRY, MAINTENANCE, REJECTED), KAFKA_ANSWERS_WITHIN_S, stop)
    Pipeline(told, Forwarder(router, producer), producer, failures=failures, health=state, stop=stop).run()
    if server:
        server.shutdown()


def _registered(url: str | None, carried: list[Schema]) -> dict[bytes, int] | None:
    """Fingerprint to the registry's id (subjects by Confluent's TopicNameStrategy); None without one."""
    if url is None:
        return None
    ids = registry.register(url, [(f"{schema.name}-value", schema.text) for schema in carried])
    return {schema.fingerprint: given for schema, given in zip(carried, ids, strict=True)}


if __name__ == "__main__":
    main()
