"""locust's users: cars, and cars that wait for their own anomalies. Only locust imports this module."""

import itertools
import random
import socket
import time
from contextlib import suppress
from typing import Any, ClassVar

import gevent
import paho.mqtt.client as paho
from gevent.event import Event
from locust import constant_pacing, task
from locust.contrib.mqtt import MqttClient, MqttUser
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from contract.topics import mqtt_topic
from loadtest.load import target
from loadtest.load.anomalies import Anomalies
from loadtest.load.budgets import ANOMALY, CONNECT, PUBLISH, RECONNECT
from loadtest.load.samples import Sensors

_SESSION_EXPIRY_S = 3_600
_RECONNECT_DELAY_S_MAX = 8


def fire(environment: Any, kind: str, name: str, ms: float | None = None, failed: str | None = None) -> None:
    """Add a request to locust's statistics; one that failed without an answer has no time."""
    environment.events.request.fire(
        request_type=kind,
        name=name,
        response_time=ms,
        response_length=0,
        exception=TimeoutError(failed) if failed else None,
        context={},
    )


class TimedMqttClient(MqttClient):
    """locust's client with one name for all cars' requests, timed connections, and a persistent session."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.connected = Event()
        self.on_connect_fail = self._on_connect_failure
        # locust 2.47's own callback takes one argument more than paho passes for MQTT 5, and ends the loop.
        self.on_disconnect = self._on_lost
        self.reconnect_delay_set(1, _RECONNECT_DELAY_S_MAX)
        self._dialled_at = 0.0
        self._name = CONNECT
        self._cut = False

    def connect_async(self, host: str, port: int = 1883, *_: Any, **__: Any) -> None:
        """Connect with a session that outlives a broken connection."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_EXPIRY_S
        super().connect_async(host, port, clean_start=False, properties=properties)

    def reconnect(self) -> Any:
        """paho calls this for every connection, the first one too."""
        self._dialled_at = time.perf_counter()
        return super().reconnect()

    def cut(self) -> None:
        """Close the connection without DISCONNECT, as in a tunnel; paho reconnects after a second."""
        sock = self.socket()
        if sock is not None:
            self._cut = True
            with suppress(OSError):  # it has just been lost anyway
                sock.shutdown(socket.SHUT_RDWR)

    def _generate_event_name(self, event_type: str, qos: int, topic: str) -> str:
        return PUBLISH  # one row for all cars instead of one a topic

    def _on_connect_cb(self, client: Any, userdata: Any, flags: Any, rc: Any) -> None:
        if rc != 0:
            fire(self.environment, "MQTT", self._name, failed=f"refused: {rc}")
            return
        fire(self.environment, "MQTT", self._name, (time.perf_counter() - self._dialled_at) * 1000)
        self._name = RECONNECT
        self.connected.set()

    def _on_connect_failure(self, client: Any, userdata: Any) -> None:
        fire(self.environment, "MQTT", self._name, failed="the broker does not answer")

    def _on_lost(self, client: Any, userdata: Any, rc: Any, properties: Any = None) -> None:
        self.connected.clear()
        if rc != 0 and not self._cut:
            fire(self.environment, "MQTT", "disconnect", failed=f"connection lost: {rc}")
        self._cut = False

    def _on_publish_cb(self, client: Any, userdata: Any, mid: int) -> None:
        if mid in self._publish_requests:  # otherwise it is late and has been counted as a failure
            super()._on_publish_cb(client, userdata, mid)

    @property
    def unacknowledged(self) -> int:
        """Messages without a PUBACK."""
        return len(self._publish_requests)

    def give_up(self, why: str) -> None:
        """Count messages without a PUBACK as failures; paho goes on sending them."""
        while self._publish_requests:
            self._publish_requests.popitem()
            fire(self.environment, "MQTT", PUBLISH, failed=why)


class Car(MqttUser):
    """Publishes a sample and waits for its PUBACK, --rate-hz times a second."""

    weight = 9
    client_cls = TimedMqttClient
    protocol = paho.MQTTv5
    use_loop_selectors = True  # without them paho's select() fails at about 340 connections
    running: ClassVar[set["Car"]] = set()
    run_id: ClassVar[str] = ""  # random for every process, set after its fork
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
        self.username, self.password = target.login(
            self.options.mqtt_username, self.options.mqtt_password_file
        )
        super().__init__(environment)

    def on_start(self) -> None:
        """Take part in storms from now on; start at a random moment so that cars do not sample in step."""
        self.running.add(self)
        gevent.sleep(random.random() / self.options.rate_hz)

    def on_stop(self) -> None:
        """Disconnect; messages that the broker never acknowledged are failures."""
        self.running.discard(self)
        # locust ends a car while it waits for its next sample, which may have been published just now.
        deadline = time.monotonic() + self.options.puback_timeout_s
        while self.client.unacknowledged and time.monotonic() < deadline:
            gevent.sleep(0.01)
        self.client.give_up("no PUBACK before the end of the run")
        self.client.disconnect()
        self.client.loop_stop()

    @task
    def drive(self) -> None:
        """One sample."""
        self.publish()

    def publish(self, *, faulty: bool = False) -> float | None:
        """Publish a sample; returns when it was sampled (s since 1970), or None without a PUBACK."""
        timeout_s = self.options.puback_timeout_s
        if not self.client.connected.wait(timeout_s):
            fire(self.environment, "MQTT", PUBLISH, failed=f"not connected for {timeout_s:g} s")
            return None
        sampled_at = time.time()
        payload = self.sensors.sample(int(sampled_at * 1000), faulty=faulty)
        message = self.client.publish(self.topic, payload, qos=1)
        if message.rc != paho.MQTT_ERR_SUCCESS:  # locust counted it; paho sends it once it is connected
            return None
        message.wait_for_publish(timeout_s)
        self.client.give_up(f"no PUBACK within {timeout_s:g} s")
        return sampled_at if message.is_published() else None


class FollowingCar(Car):
    """A car that sends a faulty sample now and then, and waits for the anomaly that the scorers publish."""

    weight = 1
    anomalies: ClassVar[Anomalies | None] = None

    @task
    def drive(self) -> None:
        """One sample; every --faulty-every'th is faulty, and the car waits for its anomaly.

        The first --healthy-first samples are healthy, because a model first learns what is usual for a car.
        """
        after = self.sensors.seq - self.options.healthy_first
        faulty = after >= 0 and after % self.options.faulty_every == 0
        if not faulty or self.anomalies is None:
            self.publish()
            return
        anomaly = self.anomalies.expect(self.car_id, self.sensors.seq + 1)
        sampled_at, timeout_s = self.publish(faulty=True), self.options.anomaly_timeout_s
        if sampled_at is None:
            return
        try:
            read_at = anomaly.get(timeout=timeout_s)
            fire(self.environment, "Kafka", ANOMALY, (read_at - sampled_at) * 1000)
        except gevent.Timeout:
            fire(self.environment, "Kafka", ANOMALY, failed=f"none within {timeout_s:g} s: do scorers run?")


def cut_all(**_: Any) -> None:
    """A storm: every car of this process loses its connection at once."""
    for car in list(Car.running):
        car.client.cut()
