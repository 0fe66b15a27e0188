"""MirrorMaker 2 between edge and cloud, exactly once, as one child process for both directions."""

import urllib.error
import urllib.request
from pathlib import Path

from contract.topics import MIRRORED_DOWN, MIRRORED_UP
from local import java
from local.supervisor import Child

HEAP_MIB = 160

# MirrorMaker hands on only what its prefixes name: `<target>.` for the worker and its producers, `<source>.`
# for the consumers, `<source>-><target>.` for a connector. Most lines are lost without their prefix.
_PROPERTIES = """\
clusters={edge},{cloud}
{edge}.bootstrap.servers={edge_bootstrap}
{cloud}.bootstrap.servers={cloud_bootstrap}
{edge}->{cloud}.enabled=true
{edge}->{cloud}.topics={up}
{cloud}->{edge}.enabled=true
{cloud}->{edge}.topics={down}
# One task copies 30 000 records/s here; each more is another producer and consumer.
tasks.max=1
replication.factor=1
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
# Only the records travel: no heartbeats, no translated offsets, no ACLs, and topics are created by us.
# (The checkpoint connector then says in the log, once for each direction, that it cannot be configured.)
emit.heartbeats.enabled=false
emit.checkpoints.enabled=false
emit.offset-syncs.enabled=false
refresh.groups.enabled=false
sync.topic.acls.enabled=false
sync.topic.configs.enabled=false
refresh.topics.interval.seconds=30

# Exactly once: every copy and its source offset in one transaction; readers use read_committed.
{edge}.exactly.once.source.support=enabled
{cloud}.exactly.once.source.support=enabled
{edge}.consumer.isolation.level=read_committed
{cloud}.consumer.isolation.level=read_committed
dedicated.mode.enable.internal.rest=true
listeners=http://127.0.0.1:{rest_port}
# With the default of 5 minutes replication stands still for that long after a cluster was away.
{edge}.scheduled.rebalance.max.delay.ms=1000
{cloud}.scheduled.rebalance.max.delay.ms=1000
# After a kill the successor waits until the group has given up the dead one, and until the transaction it
# left open has timed out: 10 s and 60 s by default.
{edge}.session.timeout.ms=6000
{cloud}.session.timeout.ms=6000
{edge}.heartbeat.interval.ms=2000
{cloud}.heartbeat.interval.ms=2000
{edge}.producer.transaction.timeout.ms=10000
{cloud}.producer.transaction.timeout.ms=10000

# Up: each poll is a transaction, so polls of 100 ms instead of 10 halve the CPU of MirrorMaker and brokers.
# What a cluster that was away left behind is made up in large ones: 2 000 records gave 7 000/s, machine busy.
{edge}.consumer.fetch.min.bytes=65536
{edge}.consumer.fetch.max.wait.ms=100
{edge}.consumer.max.poll.records=10000
{cloud}.producer.batch.size=262144
{cloud}.producer.compression.type=lz4
{cloud}.producer.buffer.memory=16777216
# Down: a model a day, at once.
{edge}.producer.compression.type=lz4
{edge}.producer.buffer.memory=8388608

# The plug-ins say themselves where they are. The default is to look through all jars, three times: 10 s of
# CPU and 300 MiB.
plugin.discovery=service_load
{edge}.plugin.discovery=service_load
{cloud}.plugin.discovery=service_load
"""


def child(
    folder: Path,
    *,
    edge_bootstrap: str,
    cloud_bootstrap: str,
    rest_port: int,
    edge: str = "edge",
    cloud: str = "cloud",
    compiler: java.Compiler = "c1",
    record: bool = False,
) -> Child:
    """The process to start; `record` writes its class archive (local/archives.py)."""
    folder.mkdir(parents=True, exist_ok=True)
    properties, failures = folder / "mm2.properties", folder / "failed-tasks.log"
    text = _PROPERTIES.format(
        edge=edge,
        cloud=cloud,
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
        ready=lambda: _answers(rest_port),
        stuck=lambda: _has_failed(failures),
        env={"MALLOC_ARENA_MAX": "2"},
    )


def _has_failed(failures: Path) -> bool:
    """Whether a task has given up, for instance because the machine slept longer than its transaction lives.

    Connect does not start it again, and in this mode nobody can ask it to: only its log says so.
    """
    if not failures.exists() or failures.stat().st_size == 0:
        return False
    failures.unlink()  # said once: the next process writes a new one
    return True


def _answers(rest_port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{rest_port}/", timeout=0.5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
