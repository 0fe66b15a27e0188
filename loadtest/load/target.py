"""Checks of the deployment under test before the first car drives."""

import socket
from pathlib import Path

from confluent_kafka import TopicPartition

from contract.topics import ANOMALIES, MODELS, mirrored
from local import preflight
from plumbing import kafka
from plumbing.life import WorldDown
from plumbing.login import LoginSettings
from plumbing.settings import SettingsError, addresses

_ANSWER_WITHIN_S = 3.0
# paho opens the connection, and a pair of sockets that wakes its loop.
FILES_A_USER = 3


def brokers(host: str) -> tuple[tuple[str, int], ...]:
    """(host, port) of every MQTT shard in `host:port,host:port,…`. Raises SettingsError."""
    return addresses([part.strip() for part in host.split(",") if part.strip()], "--host")


def login(username: str, password_file: str) -> tuple[str | None, str | None]:
    """(user name, password), as paho takes them; None for what is not given. Raises SettingsError."""
    file = Path(password_file) if password_file else None
    found = LoginSettings(mqtt_username=username or None, mqtt_password_file=file).login
    return found.username, None if found.password is None else found.password.decode()


def check_brokers(host: str) -> None:
    """Raises WorldDown naming the first MQTT broker that does not listen."""
    for address in brokers(host):
        try:
            socket.create_connection(address, _ANSWER_WITHIN_S).close()
        except OSError as error:
            raise WorldDown(
                f"no MQTT broker listens at {address[0]}:{address[1]} ({error}): start a deployment "
                "(make up), or name all shards of a running one: --host host:port,host:port,…"
            ) from error


def check_model(bootstrap: str, properties: Path | None, cloud_name: str) -> None:
    """Raises WorldDown where Kafka does not answer, or has no model, because then nothing is scored."""
    topic = mirrored(cloud_name, MODELS)
    consumer = kafka.consumer(bootstrap, properties, group_id="load")
    try:
        kafka.wait_for_topics(consumer, (ANOMALIES, topic), _ANSWER_WITHIN_S)
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=_ANSWER_WITHIN_S)
    except WorldDown as error:
        raise WorldDown(f"{error}; --kafka-bootstrap {bootstrap} must name the edge cluster") from error
    finally:
        consumer.close()
    if end == 0:
        raise WorldDown(
            f"the topic {topic} holds no model, so no anomaly will come: train one "
            "(python -m trainer train), or drive only cars that wait for none (make load CLASSES=Car)"
        )


def check_files(users: int, processes: int) -> None:
    """Raise the limit of open files. Raises SettingsError where it does not suffice for the users."""
    preflight.allow_open_files()
    users_max = preflight.cars_per_shard() // FILES_A_USER * processes
    if users > users_max:
        raise SettingsError(
            f"--users {users}: with this limit of open files (ulimit -Hn) {processes} process(es) carry "
            f"{users_max} ({FILES_A_USER} files a user): take fewer users or more --processes"
        )
