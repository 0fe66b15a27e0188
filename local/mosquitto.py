"""One shard of the MQTT broker as a child process."""

import os
import shutil
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
    return Child(f"mqtt-{number}", [find(), "-c", str(config)], lambda: port_is_open(port))


def find() -> str:
    """mosquitto's path; Debian keeps it where ordinary users do not look. Raises WorldDown."""
    path = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise WorldDown("mosquitto is not installed: `local/setup` installs it (package mosquitto)")
    return path
