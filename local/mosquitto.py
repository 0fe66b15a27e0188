"""One shard of the MQTT broker as a child process."""

import contextlib
import os
import shutil
import time
from pathlib import Path

from local.probe import port_is_open
from local.supervisor import Child
from plumbing.life import WorldDown

_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
max_connections -1
set_tcp_nodelay true
# By default 20 and 1000: above that messages are dropped in silence while the car still gets its PUBACK.
max_inflight_messages 5000
max_queued_messages 1000000
max_queued_bytes 0
# The bridge refuses much less, with a reason; this bounds memory.
message_size_limit 262144
# Sessions and queues outlive an orderly end. Nothing is saved in between: a broker that was killed must not
# come back with sessions of a minute ago, or the cars would not send their last seconds again.
persistence true
persistence_location {data}/
autosave_interval 0
{user}connection_messages false
log_dest stdout
log_type error
log_type warning
log_type notice
sys_interval 5
"""


def shard(number: int, port: int, folder: Path) -> Child:
    """The shard's process; its sessions lie under `folder`. Raises WorldDown without mosquitto."""
    data = (folder / f"mqtt-{number}").resolve()
    data.mkdir(parents=True, exist_ok=True)
    config = data / "mosquitto.conf"
    # Started by root it would become the user mosquitto, who may not write here.
    user = "user root\n" if os.geteuid() == 0 else ""
    config.write_text(_CONFIG.format(port=port, data=data, user=user), encoding="utf-8")
    child = Child(f"mqtt-{number}", [find(), "-c", str(config)])

    def ready() -> bool:
        answers = port_is_open(port)
        if answers:
            forget_earlier_sessions(data, time.time() - (time.monotonic() - child.started_at))
        return answers

    child.ready = ready
    return child


def forget_earlier_sessions(data: Path, started_s: float) -> None:
    """Delete what the predecessor of a broker that began at `started_s` (since 1970) saved, once it answers.

    It has read the file by then. Left there, it would bring back sessions of long ago after a SIGKILL: the
    cars would believe their broker that it still knows them, and not send their last seconds again. What the
    broker itself saves at its own end is newer and stays.
    """
    saved = data / "mosquitto.db"
    with contextlib.suppress(FileNotFoundError):
        if saved.stat().st_mtime < started_s:
            saved.unlink()


def find() -> str:
    """mosquitto's path; Debian keeps it where ordinary users do not look. Raises WorldDown."""
    path = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise WorldDown("mosquitto is not installed: `local/setup` installs it (package mosquitto)")
    return path
