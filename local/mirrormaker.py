"""MirrorMaker 2 between edge and cloud, exactly once, as one child process for both directions."""

from pathlib import Path

from contract.topics import MIRRORED_DOWN, MIRRORED_UP
from local import java
from local.ports import port_is_open
from local.supervisor import Child

HEAP_MIB = 160

_PROPERTIES = Path(__file__).with_name("mirrormaker.properties").read_text(encoding="utf-8")


def child(
    folder: Path,
    *,
    edge_bootstrap: str,
    cloud_bootstrap: str,
    rest_port: int,
    compiler: java.Compiler = "c1",
    record: bool = False,
) -> Child:
    """The process to start; `record` writes its class archive (local/archives.py)."""
    folder.mkdir(parents=True, exist_ok=True)
    properties, failures = folder / "mm2.properties", folder / "failed-tasks.log"
    text = _PROPERTIES.format(
        edge_bootstrap=edge_bootstrap,
        cloud_bootstrap=cloud_bootstrap,
        up=",".join(MIRRORED_UP),
        down=",".join(MIRRORED_DOWN),
        rest_port=rest_port,
    )
    properties.write_text(text, encoding="utf-8")
    argv = java.command(
        "org.apache.kafka.connect.mirror.MirrorMaker",
        str(properties),
        heap_mib=HEAP_MIB,
        archive="mirrormaker",
        compiler=compiler,
        record=record,
        properties={"failedTasks": str(failures)},
    )
    return Child(
        "mirror",
        argv,
        ready=lambda: port_is_open(rest_port),
        stuck=lambda: _has_failed(failures),
        env={"MALLOC_ARENA_MAX": "2"},
    )


def _has_failed(failures: Path) -> bool:
    """Whether a task has failed, for instance because the machine slept for longer than a transaction lasts.

    Connect does not restart a task, and in dedicated mode it has no interface for it: only its log tells.
    """
    if not failures.exists() or failures.stat().st_size == 0:
        return False
    failures.unlink()  # reported once: the next process writes a new file
    return True
