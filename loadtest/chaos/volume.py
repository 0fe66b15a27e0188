"""A small file system of its own that a fault can fill: an image file on a loop device."""

import os
import shutil
import subprocess
from pathlib import Path

from plumbing.life import WorldDown

_FILLER = "filler"


class Volume:
    """Mounted at `place` until `close`. Raises WorldDown where this machine does not let us."""

    def __init__(self, place: Path, image: Path, size_mib: int) -> None:
        self._place = place
        if os.geteuid() != 0:
            raise WorldDown("to mount a file system takes root")
        if missing := [name for name in ("mkfs.ext4", "mount", "umount") if shutil.which(name) is None]:
            raise WorldDown(f"{', '.join(missing)} not installed (packages e2fsprogs, mount)")
        place.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as file:
            file.truncate(size_mib << 20)
        _do("mkfs.ext4", "-q", "-m", "0", str(image))
        _do("mount", "-o", "loop", str(image), str(place))

    def fill(self) -> None:
        """Take all the room there is."""
        with (self._place / _FILLER).open("wb") as file:
            room = os.fstatvfs(file.fileno())
            step = 1 << 20
            taken = 0
            while step >= room.f_bsize:
                try:
                    os.posix_fallocate(file.fileno(), taken, step)
                    taken += step
                except OSError:
                    step //= 2

    def free(self) -> None:
        """Give the room back."""
        (self._place / _FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount. Everything that used it must have ended."""
        release(self._place)


def release(place: Path) -> None:
    """Unmount what an earlier run that was killed left mounted at `place`."""
    if place.is_mount():
        _do("umount", str(place))


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise WorldDown(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
