"""The trainer's last model, kept from one run to the next as its record in the topic `models`."""

from pathlib import Path

from confluent_kafka import KafkaError, KafkaException

from contract.errors import Malformed
from contract.manifest import unpack
from contract.topics import MODELS, MODELS_LOG, is_challenger
from local.ledger import read_topic
from plumbing import kafka
from plumbing.life import WorldDown

KEPT = Path("var/models/champion.record")
_ANSWER_WITHIN_S = 30.0


def keep(cloud_bootstrap: str, path: Path) -> bool:
    """Write the champion of the cloud's topic to `path`. Returns False without one. Raises WorldDown."""
    messages = [message for batch in read_topic(cloud_bootstrap, MODELS) for message in batch]
    values = [message.value() for message in messages if not is_challenger(message.key())]
    if not values or values[-1] is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(values[-1])
    partial.replace(path)
    return True


def publish(cloud_bootstrap: str, path: Path) -> int | None:
    """Publish a kept model to the cloud's topics and return its version.

    Returns None where none is kept, or one that these programs cannot read. Raises WorldDown.
    """
    try:
        value = path.read_bytes()
        manifest, _ = unpack(value)
    except (FileNotFoundError, Malformed):
        return None
    try:
        producer = kafka.producer(cloud_bootstrap)
        for topic in (MODELS_LOG, MODELS):
            producer.produce(topic, value, manifest.name)
        if producer.flush(_ANSWER_WITHIN_S):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    except KafkaException as error:
        raise WorldDown(f"cloud Kafka ({cloud_bootstrap}) did not take the model {path}: {error}") from error
    return manifest.version
