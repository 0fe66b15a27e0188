"""What the simulator can be told."""

import math
import resource
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

from contract.schema import schemas
from contract.topics import TELEMETRY
from plumbing.log import LogFormat
from plumbing.settings import addresses, flag, setting
from simulator.changes import NEVER, Changes
from simulator.climate import FIRST_DAY
from simulator.faults import Wear
from simulator.journal import Identity

# Files of a process that are not a car's connection: journal, epoll, libraries, the workshop.
SPARE_FILES = 200
CARS_PER_PROCESS_MAX = 20_000  # about what one core carries at 1 Hz, where the limit of files allows more
RING_SAMPLES_MIN, BUFFER_SAMPLES_MAX = 6, 2048
PROCESSES_MAX = 250  # each has source addresses of its own (connections.source_address)
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True)
class Settings:
    """Flags, environment (SIMULATOR_…) or these defaults."""

    mqtt_brokers: tuple[str, ...] = setting(
        "all broker shards in order: host:port,host:port,…; car i belongs to shard i % shards"
    )
    run_dir: Path = setting("folder of the cars' journals; the same folder goes on where it stopped")
    cars: int = setting("cars of the fleet", default=1000)
    first_car: int = setting("number of the first car; another simulator's cars go on after these", default=0)
    rate_hz: float = setting("samples per second of each car", default=1.0)
    seed: int = setting("the fleet: its cars, their trips, their faults", default=1)
    duration_s: float = setting("end after so many seconds; 0: until told", default=0.0)
    faulty_share: float = setting("share of the cars that are prone to faults, 0 to 1", default=0.05)
    ageing: float = setting("how much faster than life components wear; never touches driving", default=1.0)
    time_lapse: float = setting(
        "seconds of driving that a second of the run stands for; faults grow by the run, see --ageing",
        default=1.0,
    )
    healthy_s: float = setting("no fault begins in the first seconds of the run", default=0.0)
    fault_spread_h: float = setting(
        "a prone car's next fault begins within so many hours (divided by --ageing)", default=24.0
    )
    first_day: float = setting("day of the year that the run begins on: the season", default=FIRST_DAY)
    firmware_share: float = setting("share of the cars that get the next firmware, 0 to 1", default=0.0)
    firmware_at_s: float = setting("second of the run at which the first of them gets it", default=0.0)
    firmware_over_s: float = setting("seconds from the first of them to the last", default=0.0)
    cold_k: float = setting("a cold snap: kelvin that the air gets colder", default=0.0)
    cold_at_s: float = setting("second of the run at which it begins", default=0.0)
    cold_over_s: float = setting("seconds of getting so cold, and later warm again", default=21600.0)
    cold_for_s: float = setting("seconds that it stays so cold", default=172800.0)
    new_model_from: int = setting(
        "cars from this number on are of a model that is new to the fleet", default=NEVER
    )
    schema_version: int = setting("version of the telemetry schema that the cars send", default=1)
    buffer_s: float = setting(
        "seconds of samples that a car keeps after their PUBACK, to send again where a broker lost them: "
        "so far a bridge may be behind when a broker dies; half as many may wait for their PUBACK",
        default=60.0,
    )
    keep_alive_s: int = setting("MQTT keep alive", default=60)
    session_expiry_s: int = setting("how long a broker keeps the session of a car that is away", default=3600)
    answer_timeout_s: float = setting("a broker silent for so long is dialled anew", default=20.0)
    connects_per_s: float = setting("new connections a second, whole fleet", default=2500.0)
    processes: int = setting("worker processes; 0: as many as the limit of open files asks for", default=0)
    drain_s: float = setting("at the end, wait so long for outstanding PUBACKs", default=10.0)
    metrics_host: str = setting("address of /metrics, /healthz, /readyz", default="127.0.0.1")
    metrics_port: int = setting("port of /metrics, /healthz, /readyz; 0: none", default=0)
    log_format: LogFormat = setting("log lines", default="auto")
    worker: int | None = setting("set by the simulator for its own workers: which one this is", default=None)
    epoch_ms: int | None = setting("set by the simulator for its own workers: second 0", default=None)
    parent_pid: int | None = setting("set by the simulator for its own workers: whose they are", default=None)

    def __post_init__(self) -> None:
        addresses(self.mqtt_brokers, "--mqtt-brokers")
        for name in ("cars", "rate_hz", "ageing", "time_lapse", "buffer_s", "keep_alive_s", "connects_per_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{flag(name)} {getattr(self, name)} must be above 0")
        for name in ("seed", "duration_s", "healthy_s", "fault_spread_h", "processes", "session_expiry_s",
                     "first_car", "first_day", "firmware_at_s", "firmware_over_s", "cold_at_s", "cold_over_s",
                     "cold_for_s", "new_model_from"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"{flag(name)} {getattr(self, name)} must not be negative")
        for name in ("faulty_share", "firmware_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{flag(name)} {getattr(self, name)} must be 0 to 1")
        known = [schema.version for schema in schemas() if schema.name == TELEMETRY]
        if self.schema_version not in known:
            raise ValueError(f"--schema-version {self.schema_version} is none of {known}")
        if self.first_car + self.cars > 1_000_000:
            after = f" after --first-car {self.first_car}" if self.first_car else ""
            raise ValueError(f"--cars {self.cars}{after} must be at most 1000000: six digits name a car")
        if self.buffer_s * self.rate_hz > BUFFER_SAMPLES_MAX:
            raise ValueError(
                f"--buffer-s {self.buffer_s} at --rate-hz {self.rate_hz}: "
                f"more than {BUFFER_SAMPLES_MAX} samples a car; take a smaller --buffer-s"
            )
        self._refuse_wrong_processes()
        self._refuse_too_few_ports()

    def _refuse_wrong_processes(self) -> None:
        fit = cars_per_process_max()
        needed = -(-self.cars // fit)
        if 0 < self.processes < needed:
            raise ValueError(
                f"--processes {self.processes} is too few for {self.cars} cars: {fit} fit into one (limit of "
                f"open files); take at least {needed}, or 0, or raise the hard limit (ulimit -Hn)"
            )
        if self.processes > self.cars:
            raise ValueError(f"--processes {self.processes} is more than there are --cars; take fewer, or 0")
        if self.workers > PROCESSES_MAX:
            raise ValueError(
                f"--cars {self.cars} in {self.workers} processes of at most {fit} cars, more than "
                f"{PROCESSES_MAX}: raise the hard limit of open files (ulimit -Hn), or take fewer --cars"
            )

    def _refuse_too_few_ports(self) -> None:
        """To a broker elsewhere all connections come from one address: each takes one of its ports."""
        brokers = addresses(self.mqtt_brokers, "--mqtt-brokers")
        most, ports = -(-self.cars // len(brokers)), source_ports()
        if most > ports and not all(is_local(host) for host, _ in brokers):
            raise ValueError(
                f"--cars {self.cars} over {len(brokers)} --mqtt-brokers: {most} connections to one, but this "
                f"host has {ports} ports to connect from; take more brokers, spread the cars over several "
                "hosts, or widen net.ipv4.ip_local_port_range"
            )

    @property
    def period_s(self) -> float:
        """Seconds between two samples of a car."""
        return 1 / self.rate_hz

    @property
    def ring(self) -> int:
        """Samples in a car's ring: those of --buffer-s that were acknowledged, half as many that wait.

        One more than fit into the time, since a broker may die right after the last of them.
        """
        kept = math.ceil(self.buffer_s * self.rate_hz) + 1
        return max(RING_SAMPLES_MIN, kept + -(-kept // 2))

    @property
    def workers(self) -> int:
        """How many worker processes there are."""
        return self.processes or -(-self.cars // cars_per_process_max())

    @property
    def wear(self) -> Wear:
        """How faults are drawn."""
        return Wear(self.faulty_share, self.ageing, self.healthy_s, self.fault_spread_h)

    @property
    def changes(self) -> Changes:
        """What changes without being a fault."""
        return Changes(**{field.name: getattr(self, field.name) for field in fields(Changes)})

    def share(self, worker: int) -> range:
        """The cars of a worker."""
        begin, end = (self.first_car + n * self.cars // self.workers for n in (worker, worker + 1))
        return range(begin, end)

    def identity(self, worker: int, epoch_ms: int) -> Identity:
        """What the journal of a worker must have been begun with."""
        cars = self.share(worker)
        return Identity(
            seed=self.seed,
            first=cars.start,
            cars=len(cars),
            ring=self.ring,
            wear=zlib.crc32(repr((self.wear, self.changes, self.first_day)).encode()),
            epoch_ms=epoch_ms,
        )


def cars_per_process_max() -> int:
    """So many cars fit into one process; mostly the limit of open files says how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = CARS_PER_PROCESS_MAX if hard == resource.RLIM_INFINITY else hard - SPARE_FILES
    return max(1, min(files, CARS_PER_PROCESS_MAX))


def source_ports() -> int:
    """How many connections one address may have to the same broker (Linux)."""
    low, high = map(int, _PORT_RANGE.read_text().split())
    return high - low + 1


def is_local(host: str) -> bool:
    """Whether a broker is on this machine, where connections come from many loopback addresses."""
    return host == "localhost" or host.startswith("127.")


def arguments(told: Settings) -> list[str]:
    """The command line that says all of `told` again."""
    line = []
    for field in fields(told):
        value = getattr(told, field.name)
        if value is not None:
            line += [flag(field.name), ",".join(value) if isinstance(value, tuple) else str(value)]
    return line
