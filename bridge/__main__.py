"""python -m bridge: wiring only."""

from bridge.forwarding import Forwarder
from bridge.pipeline import Failure, Pipeline
from bridge.routing import Router
from bridge.settings import Settings
from contract.schema import versions
from contract.topics import MAINTENANCE, REJECTED, TELEMETRY
from plumbing import kafka, registry, service
from plumbing.health import Health
from plumbing.life import Stop


def main() -> None:
    """Entry point."""
    service.run("bridge", Settings, __doc__, _run)


def _run(settings: Settings, health: Health, stop: Stop) -> None:
    carried = versions(TELEMETRY) + versions(MAINTENANCE)
    ids = registry.register(settings.schema_registry_url, carried)
    router = Router(carried, ids=ids, payload_bytes_max=settings.payload_bytes_max)
    failures: list[Failure] = []
    producer = kafka.producer(
        settings.kafka_bootstrap,
        settings.kafka_properties,
        on_failure=lambda error, message: failures.append((error, message)),
        # The bound that is reached first is --in-flight-max and the read that exceeds it (256 KiB at most).
        queue_buffering_max_messages=settings.in_flight_max + 100_000,
        queue_buffering_max_kbytes=1_048_576,
        delivery_timeout_ms=int(settings.delivery_timeout_s * 1_000),
    )
    kafka.wait_for_topics(producer, (TELEMETRY, MAINTENANCE, REJECTED), stop=stop)
    forwarder = Forwarder(router, producer)
    Pipeline(
        settings=settings, forwarder=forwarder, producer=producer, failures=failures, health=health, stop=stop
    ).run()


if __name__ == "__main__":
    main()
