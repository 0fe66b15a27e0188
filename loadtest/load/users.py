"""locust's users: cars, and cars that follow their own anomalies. Imported by locust alone."""

import itertools
import random
import secrets
import socket
import time
from contextlib import suppress
from typing import Any, ClassVar

import gevent
import paho.mqtt.client as paho
from gevent.event import Event
from locust import User, constant_pacing, task
from locust.contrib.mqtt import MqttClient, MqttUser
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from contract.topics import mqtt_topic
from loadtest.load import target
from loadtest.load.anomalies import Anomalies
from loadtest.load.budgets import ANOMALY, CONNECT, PUBLISH, RECONNECT
from loadtest.load.samples import Sensors

_SESSION_EXPIRY_S = 3_600
_REDIAL_S_MAX = 8


def fire(environment: Any, kind: str, name: str, ms: float | None = None, failed: str | None = None) -> None:
    """One request in locust's statistics; one that failed without an answer has no time."""
    environment.events.request.fire(
        request_type=kind,
        name=name,
        response_time=ms,
        response_length=0,
        exception=TimeoutError(failed) if failed else None,
        context={},
    )


class CarClient(MqttClient):
    """locust's client with one name for all cars' requests, measured dials, and a session as cars have it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.connected = Event()
        self.on_connect_fail = self._on_connect_failure
        # locust 2.47's own for MQTT 5 takes one argument more than paho gives it, and ends the client's loop.
        self.on_disconnect = self._lost
        self.reconnect_delay_set(1, _REDIAL_S_MAX)
        self._dialled_at = 0.0
        self._name = CONNECT
        self._cut = False

    def connect_async(self, host: str, port: int = 1883, *_: Any, **__: Any) -> None:
        """With a session that outlives a broken connection."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_EXPIRY_S
        super().connect_async(host, port, clean_start=False, properties=properties)

    def reconnect(self) -> Any:
        """Every dial goes through here, the first one too."""
        self._dialled_at = time.perf_counter()
        return super().reconnect()

    def cut(self) -> None:
        """End the connection without a word, as a tunnel does; paho dials again after a second."""
        sock = self.socket()
        if sock is not None:
            self._cut = True
            with suppress(OSError):  # it was just lost by itself
                sock.shutdown(socket.SHUT_RDWR)

    def _generate_event_name(self, event_type: str, qos: int, topic: str) -> str:
        return PUBLISH  # one row for all cars, not one a topic

    def _on_connect_cb(self, client: Any, userdata: Any, flags: Any, rc: Any) -> None:
        if rc != 0:
            fire(self.environment, "MQTT", self._name, failed=f"refused: {rc}")
            return
        fire(self.environment, "MQTT", self._name, (time.perf_counter() - self._dialled_at) * 1000)
        self._name = RECONNECT
        self.connected.set()

    def _on_connect_failure(self, client: Any, userdata: Any) -> None:
        fire(self.environment, "MQTT", self._name, failed="the broker does not answer")

    def _lost(self, client: Any, userdata: Any, rc: Any, properties: Any = None) -> None:
        self.connected.clear()
        if rc != 0 and not self._cut:
            fire(self.environment, "MQTT", "disconnect", failed=f"connection lost: {rc}")
        self._cut = False

    def _on_publish_cb(self, client: Any, userdata: Any, mid: int) -> None:
        if mid in self._publish_requests:  # else it came too late and is counted as a failure already
            super()._on_publish_cb(client, userdata, mid)

    @property
    def outstanding(self) -> int:
        """Messages without a PUBACK."""
        return len(self._publish_requests)

    def give_up(self, why: str) -> None:
        """Count what has no PUBACK as failed; paho goes on trying."""
        while self._publish_requests:
            self._publish_requests.popitem()
            fire(self.environment, "MQTT", PUBLISH, failed=why)


class Car(MqttUser):
    """Publishes a sample, waits for its PUBACK, and does so --rate-hz times a second."""

    weight = 9
    client_cls = CarClient
    protocol = paho.MQTTv5
    use_loop_selectors = True  # without them paho's select() ends near 340 connections
    running: ClassVar[set["Car"]] = set()
    # Set at every start of a process, after a fork: no other run, process or machine has the same.
    run_id: ClassVar[str] = ""
    _numbers: ClassVar[Any] = itertools.count()

    def __init__(self, environment: Any) -> None:
        number = next(self._numbers)
        shards = target.brokers(environment.host)
        self.host, self.port = shards[number % len(shards)]
        self.car_id = self.client_id = f"load-{self.run_id}-{number:06d}"
        self.topic = mqtt_topic(self.car_id, "telemetry")
        self.sensors = Sensors(self.car_id)
        self.options = environment.parsed_options
        self.wait_time = constant_pacing(1 / self.options.rate_hz).__get__(self)
        super().__init__(environment)

    def on_start(self) -> None:
        """From now on a storm reaches this car. Cars of one second do not sample at the same moment."""
        self.running.add(self)
        gevent.sleep(random.random() / self.options.rate_hz)

    def on_stop(self) -> None:
        """Say good-bye to the broker; what it never acknowledged is a failure."""
        self.running.discard(self)
        # locust ends a car that waits for its next sample; where that was due just now, it is under way.
        deadline = time.monotonic() + self.options.puback_timeout_s
        while self.client.outstanding and time.monotonic() < deadline:
            gevent.sleep(0.01)
        self.client.give_up("no PUBACK before the end of the run")
        self.client.disconnect()
        self.client.loop_stop()

    @task
    def drive(self) -> None:
        """One sample."""
        self.publish()

    def publish(self, *, faulty: bool = False) -> float | None:
        """Sample and publish; when it was sampled (s since 1970), None without a PUBACK."""
        patience_s = self.options.puback_timeout_s
        if not self.client.connected.wait(patience_s):
            fire(self.environment, "MQTT", PUBLISH, failed=f"not connected for {patience_s:g} s")
            return None
        sampled_at = time.time()
        message = self.client.publish(
            self.topic, self.sensors.sample(int(sampled_at * 1000), faulty=faulty), qos=1
        )
        if message.rc != paho.MQTT_ERR_SUCCESS:  # locust has counted it; paho sends it once it is connected
            return None
        message.wait_for_publish(patience_s)
        self.client.give_up(f"no PUBACK within {patience_s:g} s")
        return sampled_at if message.is_published() else None


class FollowingCar(Car):
    """A car in which something breaks now and then, and which waits for what the scorers say to it."""

    weight = 1
    anomalies: ClassVar[Anomalies | None] = None

    @task
    def drive(self) -> None:
        """One sample; every --faulty-every'th is faulty, and the car waits for its anomaly.

        A car that is broken while a model learns what is usual for it is, to that model, of an unknown kind.
        """
        after = self.sensors.seq - self.options.healthy_first
        faulty = after >= 0 and after % self.options.faulty_every == 0
        if not faulty or self.anomalies is None:
            self.publish()
            return
        found = self.anomalies.expect(self.car_id, self.sensors.seq + 1)
        sampled_at = self.publish(faulty=True)
        patience_s = self.options.anomaly_timeout_s
        if sampled_at is None:
            return
        try:
            ms = (found.get(timeout=patience_s) - sampled_at) * 1000
            fire(self.environment, "Kafka", ANOMALY, ms)
        except gevent.Timeout:
            fire(self.environment, "Kafka", ANOMALY, failed=f"none within {patience_s:g} s: do scorers run?")


def begin_process() -> None:
    """The cars of this process get ids that no other has; to be called after a fork."""
    Car.run_id = secrets.token_hex(4)


def cut_all(**_: Any) -> None:
    """The storm: every car of this process loses its connection at once."""
    for car in list(Car.running):
        car.client.cut()


USERS: tuple[type[User], ...] = (Car, FollowingCar)
