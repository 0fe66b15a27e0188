"""The settings that the bridge refuses, and the shards that it owns."""

from typing import Any

import pytest

from bridge.settings import Settings
from plumbing.settings import SettingsError, load

NEEDED = {"BRIDGE_MQTT_BROKERS": "a:1,b:2,c:3,d:4,e:5", "BRIDGE_KAFKA_BOOTSTRAP": "k:9092"}


def _load(*argv: str) -> Settings:
    return load(Settings, prefix="BRIDGE", argv=argv, environ=NEEDED)


@pytest.mark.parametrize(
    ("replicas", "owned"), [(1, [[0, 1, 2, 3, 4]]), (2, [[0, 2, 4], [1, 3]]), (5, [[0], [1], [2], [3], [4]])]
)
def test_replicas_share_the_shards(replicas: int, owned: list[list[int]]):
    """Each shard belongs to exactly one replica: shard % replicas == ordinal."""
    replica_settings = [
        _load(f"--replicas={replicas}", f"--ordinal={ordinal}") for ordinal in range(replicas)
    ]
    assert [list(each.shards) for each in replica_settings] == owned
    assert replica_settings[0].shards[0] == ("a", 1)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--mqtt-brokers="], "--mqtt-brokers"),
        (["--mqtt-brokers=mosquitto"], "--mqtt-brokers"),
        (["--mqtt-brokers=a:1,b:2,a:1"], "--mqtt-brokers names a:1 more than once"),
        (["--kafka-bootstrap=kafka"], "--kafka-bootstrap"),
        (["--ordinal=1"], "--ordinal"),
        (["--ordinal=-1"], "--ordinal"),
        (["--replicas=0"], "--ordinal 0 must be"),
        (["--replicas=6"], "--replicas"),
        (["--in-flight-max=0"], "--in-flight-max"),
        (["--in-flight-max=65536"], "--in-flight-max"),
        (["--payload-bytes-max=10"], "--payload-bytes-max"),
        (["--payload-bytes-max=1000000"], "--payload-bytes-max"),
        (["--read-nap-ms=-1"], "--read-nap-ms"),
        (["--delivery-timeout-s=0"], "--delivery-timeout-s"),
        (["--keep-alive-s=0"], "--keep-alive-s"),
        (["--log-format=xml"], "--log-format"),
    ],
)
def test_contradictory_settings_are_named(argv: list[str], named: str):
    """Settings that cannot work are refused, by name."""
    with pytest.raises(SettingsError, match=named):
        _load(*argv)


@pytest.mark.parametrize("missing", NEEDED)
def test_needed_settings(missing: str):
    """The addresses of the brokers and of Kafka have no default."""
    environ: dict[str, Any] = {k: v for k, v in NEEDED.items() if k != missing}
    with pytest.raises(SettingsError, match=missing):
        load(Settings, prefix="BRIDGE", argv=[], environ=environ)
