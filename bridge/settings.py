"""The settings of the bridge."""

from dataclasses import dataclass

from plumbing.kafka import KafkaSettings
from plumbing.login import LoginSettings
from plumbing.service import ServiceSettings
from plumbing.settings import addresses, setting

# MQTT's packet ids have 16 bits, which bounds how many messages of a connection can wait for their PUBACK.
PACKET_IDS = 65_535
PAYLOAD_BYTES_MAX = 900_000  # Kafka's own limit of 1 MB counts key, headers and framing too


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings, LoginSettings, ServiceSettings):
    """Flags, environment (BRIDGE_…) or these defaults."""

    mqtt_brokers: tuple[str, ...] = setting("all broker shards in order: host:port,host:port,…")
    ordinal: int = setting(
        "number of this replica, from 0; it owns the shards with shard % replicas == ordinal", default=0
    )
    replicas: int = setting("number of bridge replicas that share the shards", default=1)
    client_id: str = setting(
        "MQTT client id, to which the shard number is added; must stay the same over restarts",
        default="bridge",
    )
    shared_group: str | None = setting(
        "shared subscription group, instead of owning shards (for brokers that redistribute without loss)",
        default=None,
    )
    in_flight_max: int = setting(
        "most messages read and not yet acknowledged (one read may exceed it); then reading waits for Kafka",
        default=20_000,
        least=1,
        most=PACKET_IDS,
    )
    payload_bytes_max: int = setting(
        "larger MQTT payloads are dead letters", default=16_384, least=128, most=PAYLOAD_BYTES_MAX
    )
    read_nap_ms: float = setting(
        "pause after a wake-up, so that a round has more messages; 0: no pause", default=8.0, least=0
    )
    delivery_timeout_s: float = setting(
        "exit (to be restarted) when Kafka has confirmed nothing for this long", default=120.0, above=0
    )
    keep_alive_s: int = setting("MQTT keep-alive interval", default=30, least=1, most=65_535)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.login  # raises SettingsError for a password that cannot be read
        brokers = addresses(self.mqtt_brokers, "--mqtt-brokers")
        if twice := sorted({f"{host}:{port}" for host, port in brokers if brokers.count((host, port)) > 1}):
            raise ValueError(
                f"--mqtt-brokers names {', '.join(twice)} more than once: every message would be read twice"
            )
        if not 0 <= self.ordinal < self.replicas:
            raise ValueError(
                f"--ordinal {self.ordinal} must be from 0 to --replicas - 1 = {self.replicas - 1}"
            )
        if self.replicas > len(self.mqtt_brokers):
            raise ValueError(
                f"--replicas {self.replicas} is more than the {len(self.mqtt_brokers)} --mqtt-brokers: "
                "a replica without a shard would have nothing to do"
            )

    @property
    def shards(self) -> dict[int, tuple[str, int]]:
        """The broker shards that this replica owns: number to (host, port)."""
        brokers = dict(enumerate(addresses(self.mqtt_brokers, "--mqtt-brokers")))
        return {shard: brokers[shard] for shard in brokers if shard % self.replicas == self.ordinal}
