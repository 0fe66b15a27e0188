"""A bridge as it is usually written with paho-mqtt and confluent-kafka, to be measured and not to be used.

`python -m loadtest.peers.paho_bridge MQTT_HOST MQTT_PORT KAFKA auto|manual`: with `auto` paho acknowledges as
soon as `on_message` returns, before Kafka has the message; with `manual` after Kafka's delivery report.
"""

import sys
from functools import partial
from typing import Any

import paho.mqtt.client as mqtt
from confluent_kafka import Producer
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from contract.topics import MQTT_FILTER, TELEMETRY

_SESSION_EXPIRY_NEVER = 0xFFFFFFFF
_RECEIVE_MAX = 20_000


def main(host: str, port: str, kafka: str, acknowledgement: str) -> None:
    """Forward messages until the process is killed."""
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "enable.idempotence": True,
            "linger.ms": 5,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    manual = acknowledgement == "manual"
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, f"paho-{acknowledgement}", protocol=mqtt.MQTTv5, manual_ack=manual
    )

    def on_connect(client: mqtt.Client, *_: Any) -> None:
        client.subscribe(MQTT_FILTER, qos=1)

    def on_message(client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        car = message.topic.split("/")[2]
        report = partial(delivered, message) if manual else None
        producer.produce(TELEMETRY, bytes(message.payload), car, on_delivery=report)
        producer.poll(0)

    def delivered(message: mqtt.MQTTMessage, error: Any, _: Any) -> None:
        if error is None:
            client.ack(message.mid, message.qos)

    client.on_connect, client.on_message = on_connect, on_message
    connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    connect.SessionExpiryInterval, connect.ReceiveMaximum = _SESSION_EXPIRY_NEVER, _RECEIVE_MAX
    client.connect(host, int(port), clean_start=False, properties=connect)
    if not manual:
        client.loop_forever()
    while client.loop(0.01) == mqtt.MQTT_ERR_SUCCESS:
        producer.poll(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
