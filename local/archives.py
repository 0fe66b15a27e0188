"""Records the class archives of Kafka's programs, once: `python -m local.archives`, run by local/setup.

An archive (AppCDS of the JDK) holds the classes that the JVM otherwise reads, checks and links at each start;
running the program once makes it. Only the standard library is used, so that it can run while pip is at work.
"""

import shutil
import socket
import time
from contextlib import closing
from pathlib import Path

from local import java, mirrormaker
from local.kafka import Broker
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
        java.recording_path(binary, program).rename(java.archive_path(binary, program))
    return 0


def _run_once(folder: Path) -> None:
    edge_port, cloud_port = _free_pair(), _free_pair()
    edge = Broker("edge", edge_port, folder / "edge", record=True)
    cloud = Broker("cloud", cloud_port, folder / "cloud")
    supervisor = Supervisor(folder / "logs")
    try:
        for broker in (edge, cloud):
            supervisor.start(broker.child())
        supervisor.wait_ready(["edge", "cloud"], _READY_WITHIN_S)
        mirror = mirrormaker.child(
            folder / "mirror",
            edge_bootstrap=edge.bootstrap,
            cloud_bootstrap=cloud.bootstrap,
            rest_port=_free_pair(),
            record=True,
        )
        supervisor.start(mirror)
        supervisor.wait_ready([mirror.name], _READY_WITHIN_S)
        time.sleep(_MIRROR_RUNS_S)
    finally:
        supervisor.stop_all()


def _free_pair() -> int:
    """A free port whose successor is free, too. Raises WorldDown."""
    for port in range(25_000, 26_000, 2):
        try:
            with closing(socket.socket()) as one, closing(socket.socket()) as two:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
                return port
        except OSError:
            continue
    raise WorldDown("no port between 25000 and 26000 is free")


if __name__ == "__main__":
    main()
