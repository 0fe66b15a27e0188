"""The settings of `make compat`."""

from dataclasses import dataclass
from pathlib import Path

from loadtest.compat.brokers import BROKERS, KAFKAS
from local import champion
from plumbing.settings import setting


@dataclass(frozen=True)
class Settings:
    """Flags, environment (COMPAT_…) or these defaults."""

    brokers: tuple[str, ...] = setting(
        "MQTT brokers; mosquitto-2.1 is built from Debian's sources, once", default=("mosquitto", "hivemq")
    )
    kafkas: tuple[str, ...] = setting(
        "Kafkas, with the protocol of the scorers' group", default=tuple(KAFKAS)
    )
    cars: int = setting("cars, each with a message a second", default=1_000, least=1)
    seconds: float = setting(
        "how long the costs are measured, before anything is killed", default=15.0, above=0
    )
    model: Path = setting(
        "a kept model; where there is none, a small fleet trains one", default=champion.KEPT
    )
    port_offset: int = setting("added to every port, to run beside another deployment", default=0)
    run_dir: Path = setting(
        "folder of logs, emptied first; summary.json is beside it", default=Path("var/compat/run")
    )

    def __post_init__(self) -> None:
        for name, chosen, known in (("brokers", self.brokers, BROKERS), ("kafkas", self.kafkas, KAFKAS)):
            if not chosen or set(chosen) - set(known):
                raise ValueError(f"--{name} must name some of {','.join(known)}")
