"""A schema registry that speaks the Confluent API, where one is configured."""

from collections.abc import Iterable

from plumbing.life import WorldDown


def register(url: str, schemas: Iterable[tuple[str, str]]) -> list[int]:
    """Register (subject, Avro schema as JSON) pairs in order and return their ids.

    A schema that is there already keeps its id. Raises WorldDown where the registry does not answer or
    refuses a schema, an incompatible one for instance; the message says which.
    """
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient  # noqa: PLC0415 - an extra
    from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415

    client = SchemaRegistryClient({"url": url, "timeout": 10, "max.retries": 3})
    ids = []
    for subject, text in schemas:
        try:
            ids.append(int(client.register_schema(subject, Schema(text, "AVRO"))))
        except (SchemaRegistryError, OSError) as error:
            raise WorldDown(f"schema registry {url}: {subject}: {error}") from error
    return ids
