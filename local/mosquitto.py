"""One shard of the MQTT broker as a child process."""

import contextlib
import os
import shutil
import time
from pathlib import Path

from local.ports import port_is_open
from local.supervisor import Child
from plumbing.life import WorldDown

_CONFIG = Path(__file__).with_name("mosquitto.conf").read_text(encoding="utf-8")


def shard(number: int, port: int, folder: Path, program: Path | None = None) -> Child:
    """The process of a shard; its sessions are kept under `folder`. Raises WorldDown without mosquitto.

    `program`: another mosquitto than the one that is installed.
    """
    data = (folder / f"mqtt-{number}").resolve()
    data.mkdir(parents=True, exist_ok=True)
    config = data / "mosquitto.conf"
    # Started by root, mosquitto would switch to the user mosquitto, which may not write here.
    user = "user root\n" if os.geteuid() == 0 else ""
    config.write_text(_CONFIG.format(port=port, user=user), encoding="utf-8")
    child = Child(f"mqtt-{number}", [str(program or find()), "-c", str(config)], folder=data)

    def ready() -> bool:
        answers = port_is_open(port)
        if answers:
            forget_earlier_sessions(data, time.time() - (time.monotonic() - child.started_at))
        return answers

    child.ready = ready
    return child


def forget_earlier_sessions(data: Path, started_s: float) -> None:
    """Delete the sessions that a broker before the one started at `started_s` (s since 1970) saved.

    It has read them by now. Otherwise a broker killed later would come back with these old sessions, tell the
    cars that it still knows them, and the cars would not send their last seconds again. What the broker saves
    at its own end is newer and stays.
    """
    saved = data / "mosquitto.db"
    with contextlib.suppress(FileNotFoundError):
        if saved.stat().st_mtime < started_s:
            saved.unlink()


def find() -> str:
    """The path of mosquitto, which Debian keeps outside of an ordinary user's PATH. Raises WorldDown."""
    path = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise WorldDown("mosquitto is not installed: `local/setup` installs it (package mosquitto)")
    return path
