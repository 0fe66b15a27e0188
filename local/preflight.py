"""What would go wrong later is said before anything starts."""

import contextlib
import errno
import os
import resource
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from local import java, mosquitto
from plumbing.life import WorldDown

# Logs of three minutes of 1 000 cars take some 200 MiB in both clusters.
DISK_MIB_MIN = 1_024
# Of a broker's or simulator's process, beside the cars' connections.
SPARE_FILES = 300
# More than one process serves; some programs size tables by the limit, which can be 2^30 in containers.
_OPEN_FILES_CAP = 1 << 20


def check(run_dir: Path, ports: Mapping[int, str]) -> None:
    """Raises WorldDown saying what is wrong and what to do."""
    mosquitto.find()
    java.find()
    if shutil.which("setpriv") is None:
        raise WorldDown("setpriv is not installed: `local/setup` installs it (package util-linux)")
    check_ports(ports)
    check_disk(run_dir)
    allow_open_files()


def check_ports(ports: Mapping[int, str]) -> None:
    """Every port is free; `ports` says what wants it."""
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
    """Enough space where the run writes."""
    run_dir.mkdir(parents=True, exist_ok=True)
    space = os.statvfs(run_dir)
    free_mib = space.f_bavail * space.f_frsize // 1024**2
    if free_mib < needed_mib:
        raise WorldDown(
            f"{run_dir} has {free_mib} MiB left, {needed_mib} are needed: free some, "
            "or give another --run-dir"
        )


def check_memory(needed_mib: int) -> None:
    """So much is free, where the kernel says how much that is."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        free_mib = int(line.split()[1]) // 1024
        if free_mib < needed_mib:
            raise WorldDown(
                f"{free_mib} MiB of memory are free, about {needed_mib} are needed: end something, "
                "or give fewer --cars"
            )


def check_fleet(cars: int, shards: int) -> None:
    """Every shard's process may open the connections of its cars."""
    room = cars_per_shard()
    if cars > shards * room:
        raise WorldDown(
            f"{cars} cars do not fit into {shards} MQTT broker shards of at most {room} connections (limit "
            f"of open files): give --shards {-(-cars // room)} (0: by itself), fewer --cars, or raise the "
            "limit (ulimit -Hn)"
        )


def shards_for(cars: int) -> int:
    """MQTT broker shards that the limit of open files asks for."""
    return -(-cars // cars_per_shard())


def cars_per_shard() -> int:
    """Cars that a broker's process can hold."""
    limit = _open_files_max()
    if limit <= SPARE_FILES:
        raise WorldDown(f"the limit of open files is {limit}: raise it (ulimit -n) above {SPARE_FILES}")
    return limit - SPARE_FILES


def allow_open_files() -> None:
    """Raise the soft limit to the hard one for all children: mosquitto takes what it is given, often 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_open_files_max(), hard))


def _open_files_max() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN_FILES_CAP if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES_CAP)
