"""Every port of the deployment, once. All listen on 127.0.0.1."""

from dataclasses import dataclass

from plumbing.settings import SettingsError

# Linux hands out ports from 32768 upwards to outgoing connections: a fixed port there is taken at times.
PORT_MAX = 32767
_MQTT, _EDGE, _CLOUD, _MIRROR = 18830, 19092, 29092, 18193
_SIMULATOR, _BRIDGE, _SCORER = 19101, 19111, 19121
OFFSET_MAX = PORT_MAX - (_CLOUD + 1)


@dataclass(frozen=True)
class Ports:
    """The ports of one deployment, moved by `offset`: 0 the demo, 1000 the tests, so that both can run.

    Raises SettingsError where the offset moves a port out of the range of fixed ones.
    """

    offset: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.offset <= OFFSET_MAX:
            raise SettingsError(f"--port-offset {self.offset} must be between 0 and {OFFSET_MAX}")

    def mqtt(self, shard: int) -> int:
        """MQTT of a broker shard."""
        return _MQTT + self.offset + shard

    @property
    def edge(self) -> int:
        """Bootstrap of the edge cluster; its controller listens on the next one."""
        return _EDGE + self.offset

    @property
    def edge_far(self) -> int:
        """A second listener of the edge cluster, for who comes over a relay (`Plan.relayed`)."""
        return self.edge + 2

    @property
    def relay(self) -> int:
        """Where the relay between the sites listens."""
        return self.edge + 3

    @property
    def cloud(self) -> int:
        """Bootstrap of the cloud cluster; its controller listens on the next one."""
        return _CLOUD + self.offset

    @property
    def mirror(self) -> int:
        """MirrorMaker's internal REST server, which exactly once needs."""
        return _MIRROR + self.offset

    @property
    def simulator(self) -> int:
        """Probes and metrics of the fleet."""
        return _SIMULATOR + self.offset

    def bridge(self, ordinal: int) -> int:
        """Probes and metrics of a bridge."""
        return _BRIDGE + self.offset + ordinal

    def scorer(self, ordinal: int) -> int:
        """Probes and metrics of a scorer."""
        return _SCORER + self.offset + ordinal

    def all(self, *, shards: int, scorers: int, bridges: int = 1, relayed: bool = False) -> dict[int, str]:
        """Every port with who wants it. Raises SettingsError where two want the same."""
        wanted = [(self.mqtt(shard), f"mosquitto shard {shard}") for shard in range(shards)]
        for name, port in (("edge", self.edge), ("cloud", self.cloud)):
            wanted += [(port, f"{name} Kafka"), (port + 1, f"{name} Kafka's controller")]
        wanted += [(self.mirror, "MirrorMaker"), (self.simulator, "the simulator's metrics")]
        wanted += [(self.bridge(number), f"bridge {number}'s metrics") for number in range(bridges)]
        wanted += [(self.scorer(number), f"scorer {number}'s metrics") for number in range(scorers)]
        if relayed:
            wanted += [(self.edge_far, "edge Kafka for the other site"), (self.relay, "the relay")]
        ports = dict(wanted)
        if len(ports) < len(wanted):
            raise SettingsError(
                f"{shards} shards and {scorers} scorers: two of them would want the same port"
            )
        return ports
