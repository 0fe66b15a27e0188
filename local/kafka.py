"""A Kafka cluster of one broker (KRaft, combined roles) as a child process.

Only the standard library: `local/setup` records class archives with it while pip works.
"""

import base64
import hashlib
import os
import subprocess
from pathlib import Path

from local import java
from local.probe import kafka_answers
from local.supervisor import Child
from plumbing.life import WorldDown

HEAP_MIB = 384
_FORMAT_HEAP_MIB = 128
# A broker that is started again on a full disk cannot write what it recovers, and cut its log of the topics'
# names off at the beginning (seen with 4.3.1): every record is then still on the disk, and none can be read.
ROOM_MIB_MIN = 128

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{far_listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{far_advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,FAR:PLAINTEXT
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
log.dirs={data}
# Nothing relies on topics that come into being by themselves.
auto.create.topics.enable=false
# One broker cannot keep two copies.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
min.insync.replicas=1
# Internal topics have 50 partitions by default: start-up time and memory for nothing here.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=1
log.cleaner.dedupe.buffer.size=16777216
# A killed broker is let in again only when its own session is over: 9 s by default.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
# A transaction that a killed MirrorMaker left open ends when its time is over, not up to 10 s later.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
num.network.threads=2
num.io.threads=4
# KIP-848 groups: a leave is noticed within half a second instead of five.
group.initial.rebalance.delay.ms=0
group.consumer.heartbeat.interval.ms=500
group.consumer.min.heartbeat.interval.ms=500
group.consumer.session.timeout.ms=10000
group.consumer.min.session.timeout.ms=5000
"""


class Broker:
    """A cluster with its data under `folder`."""

    def __init__(
        self,
        name: str,
        port: int,
        folder: Path,
        *,
        compiler: java.Compiler = "c1",
        heap_mib: int = HEAP_MIB,
        record: bool = False,
        far: tuple[int, int] | None = None,
    ) -> None:
        """`record` writes the class archives of its programs (local/archives.py).

        `far`: the port of a second listener, and the one that it tells its clients to use: a relay between
        the two is the way from another site.
        """
        self.name = name
        self.port = port
        self.bootstrap = f"127.0.0.1:{port}"
        self._compiler, self._heap_mib, self._record = compiler, heap_mib, record
        self._far = far
        self._folder = folder
        self._properties = folder / f"{name}.properties"

    def child(self) -> Child:
        """The process to start; formats the data folder first where that is new. Raises WorldDown."""
        if not self._properties.exists():
            self._format()
        argv = java.command(
            "kafka.Kafka", str(self._properties),
            heap_mib=self._heap_mib, archive="broker", compiler=self._compiler, record=self._record,
        )  # fmt: skip
        return Child(
            self.name,
            argv,
            lambda: kafka_answers(self.port),
            may_start=self._has_room,
            env={"MALLOC_ARENA_MAX": "2"},
        )

    def _has_room(self) -> bool:
        space = os.statvfs(self._folder)
        return space.f_bavail * space.f_frsize >= ROOM_MIB_MIN << 20

    def _format(self) -> None:
        data = self._folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        text = _PROPERTIES.format(
            port=self.port,
            controller_port=self.port + 1,
            data=data.resolve(),
            far_listener=f",FAR://127.0.0.1:{self._far[0]}" if self._far else "",
            far_advertised=f",FAR://127.0.0.1:{self._far[1]}" if self._far else "",
        )
        draft = self._folder / f"{self.name}.properties.new"
        draft.write_text(text, encoding="utf-8")
        cluster_id = base64.urlsafe_b64encode(hashlib.md5(self.name.encode()).digest()).decode().rstrip("=")
        argv = java.command(
            "kafka.tools.StorageTool", "format", "-t", cluster_id.replace("-", "A"), "-c", str(draft),
            "--standalone", heap_mib=_FORMAT_HEAP_MIB, archive="format", record=self._record,
        )  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise WorldDown(f"{data} could not be formatted: {done.stdout[-800:]}{done.stderr[-800:]}")
        draft.rename(self._properties)
