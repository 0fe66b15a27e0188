"""Invalid messages that no car sends: each must end in telemetry.rejected with its reason."""

import itertools
from collections import Counter
from collections.abc import Iterator

import mqtt5

from contract.bounds import STAMP_BYTES
from contract.records import SINGLE_OBJECT_BYTES
from contract.telemetry import SIGNALS
from contract.topics import REJECTED, TELEMETRY, mqtt_topic
from loadtest.bench.traffic import Publisher
from loadtest.load.samples import Sensors
from local.ledger import read_topic
from plumbing.life import WorldDown
from plumbing.mqtt import ConnectionLost

EACH_KIND = 400
_CARS, _SAMPLED_AT_MS = 10, 1_700_000_000_000
_OVERSIZED_BYTES = 20_000  # the bridge takes 16 384


def flood(mqtt: str) -> Counter[str]:
    """Publish all messages; returns their number by reason. Raises WorldDown where the broker fails."""
    sent: Counter[str] = Counter()
    try:
        publisher = Publisher(mqtt, "poisoner")
        for number, (reason, topic, payload) in enumerate(messages(), 1):
            packet = mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number)
            publisher.send(packet.write(), 1)
            sent[reason] += 1
        publisher.finish()
    except ConnectionLost as error:
        raise WorldDown(f"the broker at {mqtt} does not take the invalid messages: {error}") from error
    return sent


def messages() -> Iterator[tuple[str, str, bytes]]:
    """(reason, MQTT topic, payload) of EACH_KIND rounds with one message of every kind."""
    cars = {f"poison-{number}": Sensors(f"poison-{number}") for number in range(_CARS)}
    for car, sensors in itertools.islice(itertools.cycle(cars.items()), EACH_KIND):
        topic, valid = mqtt_topic(car, TELEMETRY), sensors.sample(_SAMPLED_AT_MS)
        stamp_at = len(valid) - 4 * len(SIGNALS) - STAMP_BYTES
        yield "bad_frame", topic, b"\x00" + valid
        yield "unknown_schema", topic, valid[:2] + bytes(8) + valid[SINGLE_OBJECT_BYTES:]
        yield "wrong_car", mqtt_topic("poison-x", TELEMETRY), valid
        yield "wrong_topic", mqtt_topic(car, "diary"), valid
        yield "oversized", topic, valid + bytes(_OVERSIZED_BYTES)
        yield "malformed_record", topic, valid[:40]
        # Valid in frame and length: a time that does not end.
        yield "malformed_record", topic, valid[:stamp_at] + b"\xff" * STAMP_BYTES + valid[stamp_at + 6 :]


def dead_letters(edge_bootstrap: str) -> Counter[str]:
    """The number of dead letters by the reason in their header. Raises WorldDown."""
    return Counter(
        dict(message.headers() or ()).get("reason", b"").decode()
        for batch in read_topic(edge_bootstrap, REJECTED)
        for message in batch
    )
