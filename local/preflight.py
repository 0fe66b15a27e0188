"""What would go wrong later is said before anything starts."""

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


def check(run_dir: Path, ports: Mapping[int, str]) -> None:
    """Raises WorldDown saying what is wrong and what to do."""
    mosquitto.find()
    java.find()
    if shutil.which("setpriv") is None:
        raise WorldDown("setpriv is not installed: `local/setup` installs it (package util-linux)")
    check_ports(ports)
    check_disk(run_dir)


def check_ports(ports: Mapping[int, str]) -> None:
    """Every port is free; `ports` says what wants it."""
    for port, who in sorted(ports.items()):
        if port >= 32768:
            raise WorldDown(
                f"port {port} for {who} is in the ephemeral range; choose a smaller --port-offset"
            )
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


def check_disk(run_dir: Path) -> None:
    """Enough space where the run writes."""
    run_dir.mkdir(parents=True, exist_ok=True)
    space = os.statvfs(run_dir)
    free_mib = space.f_bavail * space.f_frsize // 1024**2
    if free_mib < DISK_MIB_MIN:
        raise WorldDown(
            f"{run_dir} has {free_mib} MiB left, {DISK_MIB_MIN} are needed: free some, "
            "or give another --run-dir"
        )


def shards_for(cars: int) -> int:
    """MQTT broker shards that the limit of open files asks for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    if limit <= SPARE_FILES:
        raise WorldDown(f"the limit of open files is {limit}: raise it (ulimit -n) above {SPARE_FILES}")
    return -(-cars // (limit - SPARE_FILES))
