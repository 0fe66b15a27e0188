"""The broker's configuration of k8s/, with the component `tls`, in a real mosquitto."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from contract.topics import mqtt_topic
from local import mosquitto
from local.ports import port_is_open
from tests.integration.k8s.rendered import named, with_component
from tests.integration.ports import free_port

pytestmark = pytest.mark.integration
TAKEN, TAKEN_BUT_NOBODY_LISTENS, NOT_AUTHORIZED = 0, 16, 135  # MQTT 5, reason codes of a PUBACK
WITHIN_S = 15.0


@pytest.fixture
def cars_port(tmp_path: Path) -> Iterator[int]:
    """The port of a mosquitto with the ConfigMaps of clusters/edge and the component, at other paths."""
    (tmp_path / "site").mkdir()
    objects = with_component("edge", "tls", tmp_path / "site")
    data = {
        m: named(objects, "ConfigMap", m)["data"] for m in ("mosquitto", "mosquitto-more", "mosquitto-acl")
    }
    plain, cars = free_port(), free_port()
    for folder, files in (("config", "mosquitto"), ("more", "mosquitto-more"), ("acl", "mosquitto-acl")):
        (tmp_path / folder).mkdir()
        for name, text in data[files].items():
            here = text.replace("/mosquitto/", f"{tmp_path}/").replace(
                "listener 1883", f"listener {plain} 127.0.0.1"
            )
            (tmp_path / folder / name).write_text(here.replace("listener 8883", f"listener {cars} 127.0.0.1"))
    (tmp_path / "data").mkdir()
    certificates(tmp_path / "tls")
    config = tmp_path / "config/mosquitto.conf"
    if os.geteuid() == 0:  # it would become a user who may not write here
        config.write_text(config.read_text() + "user root\n")
    process = subprocess.Popen(
        [mosquitto.find(), "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + WITHIN_S
        while not port_is_open(cars):
            assert process.poll() is None, "mosquitto ended"
            assert time.monotonic() < deadline, "mosquitto does not listen"
            time.sleep(0.05)
        yield cars
    finally:
        process.terminate()
        process.wait(WITHIN_S)


def test_a_car_writes_its_own_topic_and_no_other(cars_port: int, tmp_path: Path) -> None:
    """Its certificate's name is its id: its own telemetry is taken, another car's is refused."""
    car = client(cars_port, tmp_path / "tls", "car-000001")
    try:
        assert publish(car, mqtt_topic("car-000001", "telemetry")) in (TAKEN, TAKEN_BUT_NOBODY_LISTENS)
        assert publish(car, mqtt_topic("car-000002", "telemetry")) == NOT_AUTHORIZED
        assert publish(car, mqtt_topic("car-000001", "maintenance")) == NOT_AUTHORIZED
    finally:
        car.loop_stop()
        car.disconnect()


def test_without_a_certificate_there_is_no_handshake(cars_port: int, tmp_path: Path) -> None:
    """The broker hangs up before any MQTT."""
    context = ssl.create_default_context(cafile=tmp_path / "tls/ca.crt")
    with (
        socket.create_connection(("127.0.0.1", cars_port), WITHIN_S) as bare,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        converse(context, bare)


def converse(context: ssl.SSLContext, bare: socket.socket) -> None:
    """Shake hands and wait for an answer. With TLS 1.3 the refusal comes after the client's side is done."""
    with context.wrap_socket(bare, server_hostname="localhost") as connection:
        connection.sendall(b"\x10\x00")
        if not connection.recv(1):
            raise ConnectionResetError


def client(port: int, tls: Path, name: str) -> paho.Client:
    """A connected client with the certificate of `name`."""
    it = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
    it.tls_set(str(tls / "ca.crt"), str(tls / f"{name}.crt"), str(tls / f"{name}.key"))
    it.connect("localhost", port)
    it.loop_start()
    deadline = time.monotonic() + WITHIN_S
    while not it.is_connected():
        assert time.monotonic() < deadline, "not connected"
        time.sleep(0.02)
    return it


def publish(it: paho.Client, topic: str) -> int:
    """The reason code of the PUBACK."""
    codes: list[int] = []
    it.on_publish = lambda _client, _data, _mid, code, _properties: codes.append(code.value)
    it.publish(topic, b"x", qos=1)
    deadline = time.monotonic() + WITHIN_S
    while not codes:
        assert time.monotonic() < deadline, "no PUBACK"
        time.sleep(0.02)
    return codes[0]


def certificates(folder: Path) -> None:
    """An authority, the broker's certificate (`tls`) and a car's."""
    folder.mkdir()
    new = ["req", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-x509"]
    openssl(*new, "-keyout", folder / "ca.key", "-out", folder / "ca.crt", "-subj", "/CN=test",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    signed = ["-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-addext", "basicConstraints=CA:FALSE"]
    for name, alternative in (("tls", "localhost"), ("car-000001", "car-000001")):
        own = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt", "-subj", f"/CN={name}"]
        openssl(*new, *signed, *own, "-addext", f"subjectAltName=DNS:{alternative}")


def openssl(*arguments: str | Path) -> None:
    """Run it; fails with what it says."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
