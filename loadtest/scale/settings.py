"""The settings of a scale run, and whether this machine has room for it."""

from dataclasses import dataclass
from pathlib import Path

from loadtest.deployment import paced_like_demo, require_fleet
from local import java, preflight
from local.champion import KEPT
from local.deployment import Plan
from plumbing.settings import setting

# Measured with 100 000 cars (docs/measurements.md): everything but the cars; and for each car the client's
# side, the broker's side and the kernel's two sockets.
BASE_MIB, CAR_KIB = 1_300, 12
# A record in both clusters' logs and their indexes; each car's journal; logs, class files, the checkpoint.
RECORD_BYTES, DISK_BASE_MIB = 300, 1_024
# Time of a run besides the hold: ramp-up, warm-up, the wait for a steady state.
_BESIDE_HOLD_S = 180.0
_SHM = Path("/dev/shm")


@dataclass(frozen=True)
class Settings:
    """Flags, environment (SCALE_…) or these defaults."""

    cars: int = setting("how many cars, each with its own connection", default=100_000, least=1)
    rate: float = setting("messages a second of the whole fleet", default=10_000.0, above=0)
    minutes: float = setting("how long all cars are held connected and measured", default=3.0, above=0)
    connect_s: float = setting(
        "seconds over which the cars' first connections are spread", default=30.0, above=0
    )
    warm_s: float = setting(
        "seconds before the measurement, in which the JVMs compile their hot code", default=15.0, least=0
    )
    seed: int = setting("seed of the fleet and of a training", default=1)
    bridges: int = setting(
        "bridge processes; each owns shards with shard % bridges == ordinal", default=1, least=1
    )
    scorers: int = setting("scorer replicas, at most one for each partition", default=2, least=1)
    shards: int = setting("MQTT broker shards; 0: as many as the file limit requires", default=0, least=0)
    processes: int = setting("simulator processes; 0: as many as the file limit requires", default=0, least=0)
    model: Path = setting(
        "file of the trainer's last model; where there is none, one is trained and kept here", default=KEPT
    )
    jvm: java.Compiler = setting(
        "compiler of the JVMs: c1 is ready at once, c2 takes half a core for two minutes, then carries more",
        default="c1",
    )
    port_offset: int = setting("added to every port, to run beside another deployment", default=0)
    run_dir: Path = setting("logs, state and results; emptied at the start", default=Path("var/scale"))

    def __post_init__(self) -> None:
        require_fleet(self.cars, self.rate)

    @property
    def hold_s(self) -> float:
        """Length of the measurement."""
        return 60 * self.minutes

    @property
    def plan(self) -> Plan:
        """The deployment. Wear is so fast that 20 hours of it take half of the hold, to show slow faults."""
        plan = Plan(
            run_dir=self.run_dir,
            cars=self.cars,
            rate_hz=self.rate / self.cars,
            seed=self.seed,
            ageing=40 * 60 / self.minutes,
            healthy_s=self.connect_s + 30,
            bridges=self.bridges,
            scorers=self.scorers,
            shards=self.shards,
            processes=self.processes,
            connects_per_s=max(1_000.0, self.cars / self.connect_s),
            compiler=self.jvm,
            fleet_dir=memory_dir(self.port_offset),
            port_offset=self.port_offset,
        )
        return paced_like_demo(plan)

    def check_room(self) -> None:
        """Raises WorldDown where memory or disk do not suffice, and says what to change."""
        preflight.check_memory(BASE_MIB + self.cars * CAR_KIB // 1024)
        records = self.rate * (self.hold_s + _BESIDE_HOLD_S)
        preflight.check_disk(self.run_dir, DISK_BASE_MIB + int(records * RECORD_BYTES) // 1024**2)


def memory_dir(port_offset: int) -> Path | None:
    """A folder in memory for the cars' journals; None without a /dev/shm.

    A real car has a flash memory of its own. Here they would share a disk with two Kafka brokers, and a write
    to a mapped page can wait while that page is written back (docs/decisions/one-session.md).
    """
    return _SHM / f"connected-cars-{port_offset}" if _SHM.is_dir() else None
