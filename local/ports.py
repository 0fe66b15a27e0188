"""Every port of the deployment, all on 127.0.0.1, and whether a program answers there.

Only the standard library is used: `local/setup` records class archives while pip is at work.
"""

import socket
import struct
from collections.abc import Collection
from typing import NamedTuple

from plumbing import web
from plumbing.settings import SettingsError

# Linux gives ports from 32768 upwards to outgoing connections: a fixed port there may be taken.
PORT_MAX = 32767
_MQTT, _EDGE, _CLOUD, _MIRROR = 18830, 19092, 29092, 18193
_WATCHER, _SIMULATOR, _MIRROR_WATCH, _SMALL_FLEET, _BRIDGE, _SCORER = 19100, 19101, 19102, 19103, 19111, 19121
OFFSET_MAX = PORT_MAX - (_CLOUD + 1)
_TIMEOUT_S = 0.5
_RELAY = 18811
# Connections that can go through a relay (loadtest/relay.py), which cuts them and slows them down.
MQTT_HOPS = ("cars", "mqtt")  # cars to the MQTT broker, and the broker to the bridge
KAFKA_HOPS = (
    "bridge",
    "scorers",
    "link",
)  # to edge Kafka: bridge, scorers, and MirrorMaker of the other site
HOPS = (*KAFKA_HOPS, *MQTT_HOPS)


class Hop(NamedTuple):
    """A connection through a relay."""

    relay: int  # the port to which the clients connect
    target: int  # the port to which the relay connects


class Ports:
    """The ports of one deployment. The controller of a Kafka cluster listens on the port after its own."""

    def __init__(self, offset: int = 0) -> None:
        """`offset` is added to every port, so that several deployments can run: 0 demo, 1000 and more tests.

        Raises SettingsError where it moves a port out of the range of fixed ones.
        """
        if not 0 <= offset <= OFFSET_MAX:
            raise SettingsError(f"--port-offset {offset} must be between 0 and {OFFSET_MAX}")
        self._offset = offset
        self.edge = _EDGE + offset  # bootstrap of the edge cluster
        self.cloud = _CLOUD + offset  # bootstrap of the cloud cluster
        self.mirror = _MIRROR + offset  # MirrorMaker's internal REST server, which exactly once needs
        self.watcher = _WATCHER + offset  # probes and metrics, as of the four below
        self.simulator = _SIMULATOR + offset
        self.mirror_watch = _MIRROR_WATCH + offset
        self.small_fleet = _SMALL_FLEET + offset  # a second simulator, of `make chaos`

    def mqtt(self, shard: int) -> int:
        """MQTT of a broker shard."""
        return _MQTT + self._offset + shard

    def hop(self, name: str) -> Hop:
        """The ports of a hop that goes through a relay, by its name in HOPS."""
        number = HOPS.index(name)
        # A Kafka names its own port to its clients, so clients behind a relay need a listener of their own.
        target = self.mqtt(0) if name in MQTT_HOPS else self.edge + 2 + number
        return Hop(_RELAY + self._offset + number, target)

    def bridge(self, ordinal: int) -> int:
        """Probes and metrics of a bridge."""
        return _BRIDGE + self._offset + ordinal

    def scorer(self, ordinal: int) -> int:
        """Probes and metrics of a scorer."""
        return _SCORER + self._offset + ordinal

    def all(
        self, *, shards: int, scorers: int, bridges: int = 1, relayed: Collection[str] = ()
    ) -> dict[int, str]:
        """Every port with the name of its user. Raises SettingsError where two would use the same."""
        wanted = [(self.mqtt(shard), f"mosquitto shard {shard}") for shard in range(shards)]
        for name, port in (("edge", self.edge), ("cloud", self.cloud)):
            wanted += [(port, f"{name} Kafka"), (port + 1, f"{name} Kafka's controller")]
        wanted += [(self.mirror, "MirrorMaker"), (self.simulator, "the simulator's metrics")]
        wanted += [(self.watcher, "the watcher's metrics"), (self.mirror_watch, "MirrorMaker's watch")]
        wanted += [(self.bridge(number), f"bridge {number}'s metrics") for number in range(bridges)]
        wanted += [(self.scorer(number), f"scorer {number}'s metrics") for number in range(scorers)]
        for name in relayed:
            relay, target = self.hop(name)
            wanted.append((relay, f"the relay of the hop {name}"))
            wanted += [] if name in MQTT_HOPS else [(target, f"edge Kafka's listener for the hop {name}")]
        ports = dict(wanted)
        if len(ports) < len(wanted):
            raise SettingsError(
                f"{shards} shards and {scorers} scorers: two of them would want the same port"
            )
        return ports


def port_is_open(port: int) -> bool:
    """Whether a connection is accepted."""
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S):
            return True
    except OSError:
        return False


def kafka_answers(port: int) -> bool:
    """Whether a broker answers ApiVersions (key 18, version 0), the first request of any client."""
    body = struct.pack(">hhih5s", 18, 0, 1, 5, b"probe")
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.sendall(struct.pack(">i", len(body)) + body)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


def is_ready(port: int) -> bool:
    """Whether a service's /readyz says so."""
    try:
        with web.opened(f"http://127.0.0.1:{port}/readyz", timeout_s=_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
