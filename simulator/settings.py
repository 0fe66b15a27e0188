"""Settings of the simulator, and the share of the fleet that each worker process runs."""

import math
import resource
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

from contract.schema import latest, versions
from contract.topics import TELEMETRY
from plumbing.login import LoginSettings
from plumbing.service import ServiceSettings
from plumbing.settings import addresses, setting
from simulator.journal import Identity
from simulator.scenario import Scenario

# Open files of a process besides the cars' connections: journal, epoll, libraries, the workshop.
SPARE_FILES = 200
CARS_PER_PROCESS_MAX = 20_000  # about what one core can run at 1 Hz
RING_SAMPLES_MIN, BUFFER_SAMPLES_MAX = 6, 2048
PROCESSES_MAX = 250  # each has its own source addresses (connections.source_address)
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, kw_only=True)
class Settings(Scenario, LoginSettings, ServiceSettings):
    """Filled from flags, then the environment (SIMULATOR_…), then these defaults."""

    mqtt_brokers: tuple[str, ...] = setting(
        "all broker shards in order: host:port,host:port,…; car i belongs to shard i % shards"
    )
    run_dir: Path = setting("folder of the cars' journals; a start with the same folder continues the run")
    cars: int = setting("number of cars", default=1000, least=1)
    first_car: int = setting(
        "number of the first car, above 0 for a second simulator of the same fleet", default=0, least=0
    )
    rate_hz: float = setting("samples per second of each car", default=1.0, above=0)
    seed: int = setting("determines the fleet: its cars, their trips, their faults", default=1, least=0)
    time_lapse: float = setting(
        "seconds of driving per second of the run; does not change how fast faults grow, see --ageing",
        default=1.0,
        above=0,
    )
    schema_version: int = setting(
        "version of the telemetry schema that the cars send; older cars send an older one",
        default=latest(TELEMETRY).version,
    )
    buffer_s: float = setting(
        "seconds of samples that a car keeps after their PUBACK and sends again if the broker loses its "
        "session, so this is how far a bridge may be behind when a broker dies; half as many may wait for "
        "their PUBACK",
        default=60.0,
        above=0,
    )
    # Above 20, so that cars with a message each 10 s never ping; below half of buffer_s, which cars can wait.
    keep_alive_s: int = setting(
        "keep alive of the MQTT connections in seconds: reconnect if the broker is silent for this long",
        default=24,
        least=1,
    )
    connects_per_s: float = setting("new connections per second of the whole fleet", default=2500.0, above=0)
    processes: int = setting(
        "worker processes; 0: as many as the limit of open files requires", default=0, least=0
    )
    drain_s: float = setting("seconds to wait for outstanding PUBACKs at the end", default=10.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.brokers  # raises SettingsError for a wrong address
        _ = self.login  # likewise for a password that cannot be read
        known = [schema.version for schema in versions(TELEMETRY)]
        if self.schema_version not in known:
            raise ValueError(f"--schema-version {self.schema_version} must be one of {known}")
        if self.first_car + self.cars > 1_000_000:
            after = f" after --first-car {self.first_car}" if self.first_car else ""
            raise ValueError(f"--cars {self.cars}{after} must be at most 1000000: car ids have six digits")
        if self.buffer_s * self.rate_hz > BUFFER_SAMPLES_MAX:
            raise ValueError(
                f"--buffer-s {self.buffer_s} at --rate-hz {self.rate_hz}: "
                f"more than {BUFFER_SAMPLES_MAX} samples per car; use a smaller --buffer-s"
            )
        self._refuse_wrong_processes()
        self._refuse_too_few_ports()

    def _refuse_wrong_processes(self) -> None:
        fit = cars_per_process_max()
        needed = -(-self.cars // fit)
        if 0 < self.processes < needed:
            raise ValueError(
                f"--processes {self.processes} are too few for {self.cars} cars: the limit of open files "
                f"allows {fit} per process; use at least {needed}, or 0, or raise the hard limit (ulimit -Hn)"
            )
        if self.processes > self.cars:
            raise ValueError(
                f"--processes {self.processes} are more than --cars {self.cars}; use fewer, or 0"
            )
        if self.workers > PROCESSES_MAX:
            raise ValueError(
                f"--cars {self.cars} need {self.workers} processes of at most {fit} cars, more than "
                f"{PROCESSES_MAX}: raise the hard limit of open files (ulimit -Hn), or use fewer --cars"
            )

    def _refuse_too_few_ports(self) -> None:
        """Connections to another host share one source address, so each needs a port of its own."""
        needed, ports = -(-self.cars // len(self.brokers)), source_ports()
        if needed > ports and not all(is_local(host) for host, _ in self.brokers):
            raise ValueError(
                f"--cars {self.cars} over {len(self.brokers)} --mqtt-brokers: {needed} connections to each, "
                f"but this host has {ports} ports to connect from; use more brokers, spread the cars over "
                "several hosts, or widen net.ipv4.ip_local_port_range"
            )

    @property
    def brokers(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each broker. Raises SettingsError for a wrong address."""
        return addresses(self.mqtt_brokers, "--mqtt-brokers")

    @property
    def period_s(self) -> float:
        """Seconds between two samples of a car."""
        return 1 / self.rate_hz

    @property
    def ring(self) -> int:
        """Samples in the ring of a car: acknowledged ones of --buffer-s, and half as many that wait.

        One more than fits into --buffer-s, because a broker may die right after the last of them.
        """
        kept = math.ceil(self.buffer_s * self.rate_hz) + 1
        return max(RING_SAMPLES_MIN, kept + -(-kept // 2))

    @property
    def workers(self) -> int:
        """Number of worker processes."""
        return self.processes or -(-self.cars // cars_per_process_max())


@dataclass(frozen=True)
class WorkerJob:
    """The share of the fleet that a worker process runs."""

    settings: Settings
    worker: int  # number of the worker, from 0
    epoch_ms: int  # second 0 of the run, ms since 1970

    @property
    def cars(self) -> range:
        """Numbers of the worker's cars."""
        s = self.settings
        begin, end = (s.first_car + n * s.cars // s.workers for n in (self.worker, self.worker + 1))
        return range(begin, end)

    @property
    def identity(self) -> Identity:
        """The settings that the worker's journal must have been begun with."""
        s = self.settings
        return Identity(
            seed=s.seed,
            first=self.cars.start,
            cars=len(self.cars),
            ring=s.ring,
            scenario=zlib.crc32(repr([getattr(s, field.name) for field in fields(Scenario)]).encode()),
            epoch_ms=self.epoch_ms,
        )


def cars_per_process_max() -> int:
    """How many cars one process can run: usually given by the limit of open files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = CARS_PER_PROCESS_MAX if hard == resource.RLIM_INFINITY else hard - SPARE_FILES
    return max(1, min(files, CARS_PER_PROCESS_MAX))


def source_ports() -> int:
    """How many connections one source address can have to the same broker (Linux)."""
    low, high = map(int, _PORT_RANGE.read_text().split())
    return high - low + 1


def is_local(host: str) -> bool:
    """Whether a broker is on this machine, to which cars connect from many loopback addresses."""
    return host == "localhost" or host.startswith("127.")
