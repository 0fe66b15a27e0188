"""The broker's configuration of k8s/, with the component `tls`, in a real mosquitto."""

import contextlib
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from contract.topics import mqtt_topic
from loadtest.compat import newer
from local import mosquitto
from local.ports import port_is_open
from plumbing.life import WorldDown
from tests.integration.k8s.rendered import named, with_component
from tests.integration.ports import free_port

pytestmark = pytest.mark.integration
TAKEN, TAKEN_BUT_NOBODY_LISTENS, NOT_AUTHORIZED = 0, 16, 135  # MQTT 5, reason codes of a PUBACK
PACKET_TOO_LARGE = 149  # of a DISCONNECT
WITHIN_S = 15.0


CAR = "car-000001"


def built() -> str:
    """The newer mosquitto, compiled the first time."""
    try:
        return str(newer.mosquitto())
    except WorldDown as missing:
        pytest.skip(str(missing))


@pytest.fixture(
    params=[
        pytest.param(mosquitto.find, id="installed"),
        pytest.param(built, id=newer.VERSION, marks=pytest.mark.measuring),
    ]
)
def broker(request: pytest.FixtureRequest) -> str:
    """The program of each."""
    return str(request.param())


class Site(NamedTuple):
    """A mosquitto's ConfigMaps of clusters/edge with the component, and its environment, at other paths."""

    folder: Path
    env: dict[str, str]
    plain: int  # ports
    cars: int

    @contextlib.contextmanager
    def running(self, program: str) -> Iterator[None]:
        """It listens, until it ends as a pod does."""
        with (self.folder / "log").open("wb") as log:
            argv = [program, "-c", self.folder / "config/mosquitto.conf"]
            process = subprocess.Popen(argv, stdout=log, stderr=log, env=os.environ | self.env)
        try:
            deadline = time.monotonic() + WITHIN_S
            while not (port_is_open(self.cars) and port_is_open(self.plain)):
                assert process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "mosquitto does not listen"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(WITHIN_S)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Made once: kustomize and the keys of the certificates take their time."""
    folder = tmp_path_factory.mktemp("mosquitto")
    (folder / "site").mkdir()
    objects = with_component("edge", "tls", folder / "site")
    pod = named(objects, "StatefulSet", "mosquitto")["spec"]["template"]["spec"]
    (env,) = (c.get("env", []) for c in pod["containers"] if c["name"] == "mosquitto")
    plain, cars = free_port(), free_port()
    for name, configmap in (("config", "mosquitto"), ("more", "mosquitto-more"), ("acl", "mosquitto-acl")):
        files = {
            file: text.replace("/mosquitto/", f"{folder}/")
            .replace("listener 1883", f"listener {plain} 127.0.0.1")
            .replace("listener 8883", f"listener {cars} 127.0.0.1")
            for file, text in named(objects, "ConfigMap", configmap)["data"].items()
        }
        if configmap == "mosquitto" and os.geteuid() == 0:  # it would become a user who may not write here
            files["mosquitto.conf"] += "user root\n"
        mount(folder / name, files)
    (folder / "data").mkdir()
    certificates(folder / "tls")
    return Site(folder, {entry["name"]: entry["value"] for entry in env}, plain, cars)


@pytest.fixture
def shard(site: Site, broker: str) -> Iterator[Site]:
    """The site, served by each mosquitto in turn."""
    with site.running(broker):
        yield site


def mount(folder: Path, files: dict[str, str]) -> None:
    """Files as a kubelet mounts those of a ConfigMap: links to a folder that it exchanges."""
    kept = folder / "..2026_12_01_00_00_00.1"
    kept.mkdir(parents=True)
    (folder / "..data").symlink_to(kept.name)
    for name, text in files.items():
        (kept / name).write_text(text, encoding="utf-8")
        (folder / name).symlink_to(f"..data/{name}")


def test_a_car_writes_its_own_topic_and_no_other(shard: Site) -> None:
    """Its certificate's name is its id: its own telemetry is taken, another car's is refused."""
    with client(shard.cars, CAR, shard.folder / "tls") as car:
        assert publish(car, mqtt_topic(CAR, "telemetry")) in (TAKEN, TAKEN_BUT_NOBODY_LISTENS)
        assert publish(car, mqtt_topic("car-000002", "telemetry")) == NOT_AUTHORIZED
        assert publish(car, mqtt_topic(CAR, "maintenance")) == NOT_AUTHORIZED


def test_the_inner_listener_has_no_list(shard: Site) -> None:
    """What is for cars does not keep the bridge from its topics."""
    with client(shard.plain, "bridge") as bridge:
        assert publish(bridge, mqtt_topic("car-000002", "telemetry")) in (TAKEN, TAKEN_BUT_NOBODY_LISTENS)


def test_a_packet_beyond_the_limit_ends_the_connection(shard: Site) -> None:
    """Half of it is what the bridge takes; nothing larger is queued for it."""
    ended: list[int] = []
    topic = mqtt_topic(CAR, "telemetry")
    with client(shard.plain, CAR) as car:
        assert publish(car, topic, bytes(32_000)) in (TAKEN, TAKEN_BUT_NOBODY_LISTENS)
        car.on_disconnect = lambda _client, _data, _flags, code, _properties: ended.append(code.value)
        car.publish(topic, bytes(33_000), qos=1)
        wait(lambda: ended, "an end")
    assert ended[0] == PACKET_TOO_LARGE


def test_without_a_certificate_there_is_no_handshake(shard: Site) -> None:
    """The broker hangs up before any MQTT."""
    context = ssl.create_default_context(cafile=shard.folder / "tls/ca.crt")
    with (
        socket.create_connection(("127.0.0.1", shard.cars), WITHIN_S) as bare,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        converse(context, bare)


@pytest.mark.measuring
@pytest.mark.parametrize("back", [False, True], ids=["upgrade", "downgrade"])
def test_sessions_survive_another_version(site: Site, back: bool) -> None:
    """What one version queued for the bridge, the other one delivers, whichever is the newer."""
    programs = [mosquitto.find(), built()]
    before, after = reversed(programs) if back else programs
    topic, bridge = mqtt_topic(CAR, "telemetry"), f"bridge-{back}"
    with site.running(before):
        with client(site.plain, bridge) as it:
            it.subscribe(topic, qos=1)
        with client(site.plain, "another") as it:
            assert {publish(it, topic) for _ in range(20)} == {TAKEN}
    got: list[bytes] = []
    with site.running(after), client(site.plain, bridge, got=got):
        wait(lambda: len(got) >= 20, "what was queued")
    assert len(got) == 20


def converse(context: ssl.SSLContext, bare: socket.socket) -> None:
    """Shake hands and wait for an answer. With TLS 1.3 the refusal comes after the client's side is done."""
    with context.wrap_socket(bare, server_hostname="localhost") as connection:
        connection.sendall(b"\x10\x00")
        if not connection.recv(1):
            raise ConnectionResetError


@contextlib.contextmanager
def client(
    port: int, name: str, tls: Path | None = None, got: list[bytes] | None = None
) -> Iterator[paho.Client]:
    """Connected, with the certificate of `name` under `tls`; `got` collects what comes. Its session stays."""
    it = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
    if tls:
        it.tls_set(str(tls / "ca.crt"), str(tls / f"{name}.crt"), str(tls / f"{name}.key"))
    if got is not None:
        it.on_message = lambda _client, _data, message: got.append(message.payload)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 600
    it.connect("localhost", port, clean_start=False, properties=session)
    it.loop_start()
    try:
        wait(it.is_connected, "a connection")
        yield it
    finally:
        it.disconnect()
        it.loop_stop()


def publish(it: paho.Client, topic: str, payload: bytes = b"x") -> int:
    """The reason code of the PUBACK."""
    codes: list[int] = []
    it.on_publish = lambda _client, _data, _mid, code, _properties: codes.append(code.value)
    it.publish(topic, payload, qos=1)
    wait(lambda: codes, "a PUBACK")
    return codes[0]


def wait(until: Callable[[], object], what: str) -> None:
    """Until it holds."""
    deadline = time.monotonic() + WITHIN_S
    while not until():
        assert time.monotonic() < deadline, f"there is not {what}"
        time.sleep(0.02)


def certificates(folder: Path) -> None:
    """An authority, the broker's certificate (`tls`) and a car's."""
    folder.mkdir()
    new = ["req", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-x509"]
    openssl(*new, "-keyout", folder / "ca.key", "-out", folder / "ca.crt", "-subj", "/CN=test",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    signed = ["-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-addext", "basicConstraints=CA:FALSE"]
    for name, alternative in (("tls", "localhost"), (CAR, CAR)):
        own = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt", "-subj", f"/CN={name}"]
        openssl(*new, *signed, *own, "-addext", f"subjectAltName=DNS:{alternative}")


def openssl(*arguments: str | Path) -> None:
    """Run it; fails with what it says."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
