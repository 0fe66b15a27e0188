"""Whether a process still runs."""

from pathlib import Path


def alive(pid: int) -> bool:
    """A process that has ended and waits for its parent to take its exit status does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
