"""A small file system that a fault can fill: an image file on a loop device."""

import os
import shutil
import subprocess
from pathlib import Path

from plumbing.life import WorldDown

_FILLER = "filler"


class Volume:
    """Mounted at `folder` until `close`."""

    def __init__(self, folder: Path, image: Path, size_mib: int) -> None:
        """Raises WorldDown where this machine does not allow a mount."""
        self._folder = folder
        if os.geteuid() != 0:
            raise WorldDown("mounting a file system requires root")
        if missing := [name for name in ("mkfs.ext4", "mount", "umount") if shutil.which(name) is None]:
            raise WorldDown(f"{', '.join(missing)} are not installed (packages e2fsprogs, mount)")
        folder.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as file:
            file.truncate(size_mib << 20)
        _do("mkfs.ext4", "-q", "-m", "0", str(image))
        _do("mount", "-o", "loop", str(image), str(folder))

    def fill(self) -> None:
        """Use up all free space."""
        with (self._folder / _FILLER).open("wb") as file:
            block, step, taken = os.fstatvfs(file.fileno()).f_bsize, 1 << 20, 0
            while step >= block:
                try:
                    os.posix_fallocate(file.fileno(), taken, step)
                    taken += step
                except OSError:
                    step //= 2

    def free(self) -> None:
        """Free the space again."""
        (self._folder / _FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount; every process that uses it must have ended."""
        release(self._folder)


def release(folder: Path) -> None:
    """Unmount the volume that an earlier run left mounted at `folder` because it was killed."""
    if folder.is_mount():
        _do("umount", str(folder))


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise WorldDown(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
