"""The settings of a soak run, and whether this machine has room for it."""

from dataclasses import dataclass
from pathlib import Path

from loadtest.deployment import paced_like_demo, require_fleet
from local import preflight
from local.champion import KEPT
from local.deployment import Plan
from plumbing.settings import setting

# A record in both clusters' logs, their indexes, and what is made of it.
_RECORD_BYTES, _DISK_BASE_MIB = 600, 2_048


@dataclass(frozen=True)
class Settings:
    """Flags, environment (SOAK_…) or these defaults."""

    hours: float = setting("how long the load goes on", default=4.0, above=0)
    cars: int = setting("how many cars, each with its own connection", default=1_000, least=1)
    rate: float = setting("messages a second of the whole fleet", default=2_500.0, above=0)
    scorers: int = setting("scorer replicas, at most one for each partition", default=2, least=1)
    retention_minutes: float = setting(
        "how long both clusters keep telemetry and what is made of it, so that deletion is at work",
        default=15.0,
        least=1,
    )
    look_every_s: float = setting("seconds between two looks at every process", default=10.0, least=1)
    warm_share: float = setting(
        "share of the run at its start that is left out of the slopes: caches fill, JVMs take their heaps",
        default=0.4,
        least=0,
        most=0.9,
    )
    slope_mib_per_h_max: float = setting("a process that grows faster fails the run", default=1.0, above=0)
    seed: int = setting("seed of the fleet and of a training", default=1)
    model: Path = setting(
        "file of the trainer's last model; where there is none, one is trained and kept here", default=KEPT
    )
    port_offset: int = setting("added to every port, to run beside another deployment", default=0)
    run_dir: Path = setting("logs, state and results; emptied at the start", default=Path("var/soak"))

    def __post_init__(self) -> None:
        require_fleet(self.cars, self.rate)

    @property
    def duration_s(self) -> float:
        """Length of the run."""
        return 3_600 * self.hours

    @property
    def plan(self) -> Plan:
        """The deployment. Components wear as in life: four hours are more than a year of driving."""
        return paced_like_demo(
            Plan(
                run_dir=self.run_dir,
                cars=self.cars,
                rate_hz=self.rate / self.cars,
                seed=self.seed,
                scorers=self.scorers,
                port_offset=self.port_offset,
            )
        )

    def check_room(self) -> None:
        """Raises WorldDown where the disk does not suffice, and says what to change."""
        # A segment is deleted as a whole, once its newest record is old enough.
        kept_s = min(self.duration_s, 3 * 60 * self.retention_minutes)
        preflight.check_disk(
            self.run_dir, _DISK_BASE_MIB + int(self.rate * kept_s * _RECORD_BYTES) // 1024**2
        )
