"""Records the class archives of Kafka's programs, once: `python -m local.archives`, run by local/setup.

An archive (AppCDS of the JDK) holds the classes that the JVM otherwise reads, checks and links at each start;
running the program once makes it. Only the standard library is used, so that it can run while pip is at work.
"""

import shutil
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from local import java
from local.kafka import Broker, mirrormaker
from local.ports import port_is_open
from local.supervisor import Supervisor
from plumbing import life
from plumbing.life import WorldDown

PROGRAMS = ("format", "broker", "mirrormaker")
_READY_WITHIN_S = 90.0
_MIRROR_RUNS_S = 4.0  # until its connectors run and their classes are loaded


def main() -> None:
    """Entry point."""
    life.main(_record_missing)


def _record_missing() -> int:
    binary = java.find()
    if all(java.archive_path(binary, program).exists() for program in PROGRAMS):
        return 0
    shutil.rmtree(java.ARCHIVES, ignore_errors=True)  # those of another Java or other jars
    java.ARCHIVES.mkdir(parents=True)
    folder = java.ARCHIVES / "recording"
    try:
        _run_once(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for program in PROGRAMS:
        # Renamed only when it is complete: a program that starts meanwhile must not map half an archive.
        path = java.archive_path(binary, program)
        path.with_suffix(".new").rename(path)
    return 0


def _run_once(folder: Path) -> None:
    edge_port, cloud_port, rest_port = islice(_free_ports(), 3)
    edge = Broker("edge", edge_port, folder / "edge", record=True)
    cloud = Broker("cloud", cloud_port, folder / "cloud")
    supervisor = Supervisor(folder / "logs")
    try:
        for broker in (edge, cloud):
            supervisor.start(broker.child())
        supervisor.wait_ready(["edge", "cloud"], _READY_WITHIN_S)
        mirror = mirrormaker(
            folder / "mirror",
            edge_bootstrap=edge.bootstrap,
            cloud_bootstrap=cloud.bootstrap,
            rest_port=rest_port,
            record=True,
        )
        supervisor.start(mirror)
        supervisor.wait_ready([mirror.name], _READY_WITHIN_S)
        time.sleep(_MIRROR_RUNS_S)
    finally:
        supervisor.stop_all()


def _free_ports() -> Iterator[int]:
    """Ports that are free and whose successors are, too. Raises WorldDown once there are no more."""
    for port in range(25_000, 26_000, 2):
        if not port_is_open(port) and not port_is_open(port + 1):
            yield port
    raise WorldDown("too few ports between 25000 and 26000 are free")


if __name__ == "__main__":
    main()
