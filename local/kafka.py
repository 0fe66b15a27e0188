"""Kafka as child processes: a cluster of one broker (KRaft, combined roles), and MirrorMaker 2 between two.

It uses only the standard library: `local/setup` records class archives with it while pip is at work.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.topics import MIRRORED_DOWN, MIRRORED_UP
from local import java
from local.ports import Hop, kafka_answers, port_is_open
from local.supervisor import Child
from plumbing.life import WorldDown

HEAP_MIB = 384
_FORMAT_HEAP_MIB, _MIRROR_HEAP_MIB = 128, 160
# A broker restarted on a full disk cannot write what it recovers. Kafka 4.3.1 then truncated its log of topic
# names: all records were still on the disk, and none could be read.
ROOM_MIB_MIN = 128

_PROPERTIES = Path(__file__).with_name("kafka.properties").read_text(encoding="utf-8")
MIRROR_PROPERTIES = Path(__file__).with_name("mirrormaker.properties").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Broker:
    """A cluster of one broker with its data under `folder`."""

    name: str
    port: int
    folder: Path
    compiler: java.Compiler = "c1"
    heap_mib: int = HEAP_MIB
    libs: Path | None = None  # other jars of Kafka than those of local/setup
    more_settings: str = (
        ""  # lines of the properties file; of a setting that stands twice the last line counts
    )
    record: bool = False  # whether its programs write their class archives (local/archives.py)
    # More listeners, each for the clients behind one relay.
    hops: Sequence[Hop] = ()

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.port}"

    def child(self) -> Child:
        """The process to start. A new data folder is formatted first. Raises WorldDown."""
        properties = self.folder / f"{self.name}.properties"
        if not properties.exists():
            self._format(properties)
        argv = java.command(
            "kafka.Kafka", str(properties.resolve()),
            heap_mib=self.heap_mib, archive="broker", compiler=self.compiler, record=self.record,
            libs=self.libs,
        )  # fmt: skip
        return Child(
            self.name,
            argv,
            lambda: kafka_answers(self.port),
            may_start=lambda: shutil.disk_usage(self.folder).free >= ROOM_MIB_MIN << 20,
            on_return=Child(
                f"{self.name}-transactions",
                [sys.executable, "-m", "local.transactions", self.bootstrap],
                restart=False,
                tells=True,
                env={"PYTHONPATH": str(java.ROOT)},
            ),
            env=java.ENVIRONMENT,
            folder=self.folder,
        )

    def _format(self, properties: Path) -> None:
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        text = _PROPERTIES.format(
            port=self.port,
            controller_port=self.port + 1,
            hop_listeners="".join(f",HOP{n}://127.0.0.1:{hop.target}" for n, hop in enumerate(self.hops)),
            hop_advertised="".join(f",HOP{n}://127.0.0.1:{hop.relay}" for n, hop in enumerate(self.hops)),
            hop_protocols="".join(f",HOP{n}:PLAINTEXT" for n in range(len(self.hops))),
        )
        draft = properties.with_suffix(".new")
        draft.write_text(text + self.more_settings, encoding="utf-8")
        cluster_id = base64.urlsafe_b64encode(hashlib.md5(self.name.encode()).digest()).decode().rstrip("=")
        argv = java.command(
            "kafka.tools.StorageTool", "format", "-t", cluster_id.replace("-", "A"),
            "-c", str(draft.resolve()), "--standalone",
            heap_mib=_FORMAT_HEAP_MIB, archive="format", record=self.record, libs=self.libs,
        )  # fmt: skip
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=os.environ | java.ENVIRONMENT,
        )
        if done.returncode != 0:
            raise WorldDown(f"{data} could not be formatted: {done.stdout[-800:]}{done.stderr[-800:]}")
        draft.rename(properties)


def mirrormaker(
    folder: Path,
    *,
    edge_bootstrap: str,
    cloud_bootstrap: str,
    rest_port: int,
    compiler: java.Compiler = "c1",
    record: bool = False,
) -> Child:
    """MirrorMaker 2, exactly once, as one process for both directions; `record` writes its class archive."""
    folder.mkdir(parents=True, exist_ok=True)
    properties, failures = folder / "mm2.properties", folder / "failed-tasks.log"
    text = MIRROR_PROPERTIES.format(
        edge_bootstrap=edge_bootstrap,
        cloud_bootstrap=cloud_bootstrap,
        up=",".join(MIRRORED_UP),
        down=",".join(MIRRORED_DOWN),
        rest_port=rest_port,
    )
    properties.write_text(text, encoding="utf-8")
    argv = java.command(
        "org.apache.kafka.connect.mirror.MirrorMaker",
        str(properties.resolve()),
        heap_mib=_MIRROR_HEAP_MIB,
        archive="mirrormaker",
        compiler=compiler,
        record=record,
        properties={"failedTasks": failures.name},
    )
    return Child(
        "mirror",
        argv,
        ready=lambda: port_is_open(rest_port),
        stuck=lambda: _has_failed(failures),
        env=java.ENVIRONMENT,
        folder=folder,
    )


def _has_failed(failures: Path) -> bool:
    """Whether a task has failed, for instance because the machine slept for longer than a transaction lasts.

    Connect does not restart a task, and in dedicated mode it has no interface for it: only its log tells.
    """
    if not failures.exists() or failures.stat().st_size == 0:
        return False
    failures.unlink()  # reported once: the next process writes a new file
    return True
