"""Checks before anything starts: programs, ports, disk, memory, open files."""

import contextlib
import errno
import re
import resource
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from local import java, mosquitto
from plumbing.life import WorldDown

# Three minutes of 1 000 cars take about 200 MiB in both clusters.
DISK_MIB_MIN = 1_024
# Open files of a broker or simulator process beside the cars' connections.
SPARE_FILES = 300
# Some programs size tables by the limit of open files, which can be 2^30 in containers.
_OPEN_FILES_CAP = 1 << 20


def check(run_dir: Path, ports: Mapping[int, str]) -> None:
    """Check everything that a deployment needs. Raises WorldDown with what is wrong and what to do."""
    mosquitto.find()
    java.find()
    if shutil.which("setpriv") is None:
        raise WorldDown("setpriv is not installed: `local/setup` installs it (package util-linux)")
    check_ports(ports)
    check_disk(run_dir)
    allow_open_files()


def check_ports(ports: Mapping[int, str]) -> None:
    """Raises WorldDown for a port that is not free; `ports` names who needs each."""
    for port, who in sorted(ports.items()):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise WorldDown(
                    f"port {port} is taken, and {who} needs it: end what listens there "
                    f"(`ss -ltnp 'sport = :{port}'` shows it), or add --port-offset 100"
                ) from error


def check_disk(run_dir: Path, needed_mib: int = DISK_MIB_MIN) -> None:
    """Raises WorldDown where the run would have too little disk space."""
    run_dir.mkdir(parents=True, exist_ok=True)
    free_mib = shutil.disk_usage(run_dir).free // 1024**2
    if free_mib < needed_mib:
        raise WorldDown(
            f"{run_dir} has {free_mib} MiB left, {needed_mib} are needed: free some, "
            "or give another --run-dir"
        )


def check_memory(needed_mib: int) -> None:
    """Raises WorldDown where less memory is available, as far as the kernel tells."""
    with contextlib.suppress(OSError):
        free = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"))
        if free and int(free[1]) < 1024 * needed_mib:
            raise WorldDown(
                f"{int(free[1]) // 1024} MiB of memory are free, about {needed_mib} are needed: "
                "end something, or give fewer --cars"
            )


def check_fleet(cars: int, shards: int) -> None:
    """Raises WorldDown where a shard may not open the connections of its cars."""
    room = cars_per_shard()
    if cars > shards * room:
        raise WorldDown(
            f"{cars} cars do not fit into {shards} MQTT broker shards of at most {room} connections (limit "
            f"of open files): give --shards {-(-cars // room)} (0: as many as needed), fewer --cars, or "
            "raise the limit (ulimit -Hn)"
        )


def shards_for(cars: int) -> int:
    """How many MQTT broker shards the limit of open files requires."""
    return -(-cars // cars_per_shard())


def cars_per_shard() -> int:
    """How many cars a broker process can hold. Raises WorldDown where it is none."""
    limit = _open_files_max()
    if limit <= SPARE_FILES:
        raise WorldDown(f"the limit of open files is {limit}: raise it (ulimit -n) above {SPARE_FILES}")
    return limit - SPARE_FILES


def allow_open_files() -> None:
    """Raise the soft limit to the hard one for all children: mosquitto does not do so itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_open_files_max(), hard))


def _open_files_max() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN_FILES_CAP if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES_CAP)
