"""The settings of a chaos run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.chaos.faults import FAULTS
from loadtest.chaos.pairs import ALONE, PAIRED, Injection, alone, draw
from loadtest.chaos.small_fleet import size
from loadtest.deployment import require_fleet
from local.champion import KEPT
from local.deployment import Plan
from local.ports import HOPS
from plumbing.settings import setting

CARS_MIN = 20


@dataclass(frozen=True)
class Settings:
    """Flags, environment (CHAOS_…) or these defaults."""

    faults: tuple[str, ...] = setting(
        "which faults, in this order, with --pairs the ones to draw from; none: all (--list)", default=()
    )
    pairs: int = setting(
        "this many pairs of faults, drawn from the seed, instead of each fault alone", default=0, least=0
    )
    list: bool = setting("print the faults and exit", default=False)
    messages: int = setting("the load goes on until the cars have sent this many", default=1_000_000, least=0)
    rate: float = setting("messages a second of the whole fleet", default=2_500.0, above=0)
    cars: int = setting("how many cars, each with its own connection", default=1_000, least=CARS_MIN)
    buffer_s: float = setting(
        "seconds of samples that a car sends again to a killed broker, and the most a bridge may be behind; "
        "0: 10, with --pairs 60",
        default=0.0,
        least=0,
    )
    seed: int = setting(
        "seed of the fleet, of a training, of the pairs, and of the moments of the faults", default=1
    )
    recovery_s_max: float = setting(
        "a recovery that takes longer fails the run; 0: 15, with --pairs 30", default=0.0, least=0
    )
    behind_s_max: float = setting(
        "recovered: at every stage the newest record of every car is at most this old, plus its period",
        default=2.0,
        above=0,
    )
    model: Path = setting(
        "file of the trainer's last model; where there is none, one is trained and kept here", default=KEPT
    )
    port_offset: int = setting("added to every port, to run beside another deployment", default=0)
    run_dir: Path = setting("logs, state and results; emptied at the start", default=Path("var/chaos"))

    def __post_init__(self) -> None:
        known = [name for name in PAIRED if name not in ALONE] if self.pairs else [*FAULTS]
        if unknown := [name for name in self.faults if name not in known]:
            raise ValueError(f"--faults {', '.join(unknown)}: none of {', '.join(known)}")
        if self.pairs and len(set(self.faults)) == 1:
            raise ValueError("--pairs draws two different faults: give more --faults, or none")
        require_fleet(self.cars, self.rate)

    @property
    def injections(self) -> Sequence[Injection]:
        """What is injected, in this order."""
        if self.pairs:
            return draw(self.pairs, self.seed, self.faults)
        return alone(self.faults or tuple(FAULTS))

    @property
    def recovered_within_s(self) -> float:
        """How long a recovery may take."""
        return self.recovery_s_max or (30.0 if self.pairs else 15.0)

    @property
    def bound_s(self) -> float:
        """The greatest age of a car's newest record where nothing is behind."""
        return self.behind_s_max + self.cars / self.rate

    @property
    def small_fleet(self) -> int:
        """How many of the cars are in a simulator of their own (small_fleet.py)."""
        return size(self.cars) if self.pairs else 0

    @property
    def plan(self) -> Plan:
        """The deployment: one of everything, so that nothing can take over."""
        return Plan(
            run_dir=self.run_dir,
            cars=self.cars - self.small_fleet,
            rate_hz=self.rate / self.cars,
            seed=self.seed,
            scorers=1,
            buffer_s=self.buffer_s or (60.0 if self.pairs else 10.0),
            relayed=HOPS if self.pairs else ("link",),
            port_offset=self.port_offset,
        )
