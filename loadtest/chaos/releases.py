"""The release before this code, from the history of the repository."""

import re
import shutil
import subprocess
from pathlib import Path

from loadtest.chaos.scene import Skipped
from local.java import ROOT

_HEADING = re.compile(r"^## (?:\[?(\d+\.\d+\.\d+)|Unreleased)", re.MULTILINE)


def unpacked(folder: Path) -> Path:
    """The folder with the code of the release before, unpacked where it is not yet.

    That is the commit whose CHANGELOG first had the second heading of today's. Raises Skipped.
    """
    if folder.exists():
        return folder
    version = former((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    commits = _git("log", "--reverse", "--format=%H", f"-S## {version} ", "--", "CHANGELOG.md").split()
    if not commits:
        raise Skipped(f"the history of this clone does not have release {version}")
    archive = folder.with_suffix(".zip")
    _git("archive", "--output", str(archive.resolve()), commits[0].decode())
    shutil.unpack_archive(archive, folder)
    archive.unlink()
    return folder


def former(changelog: str) -> str:
    """The version of the second heading: the first one is of the code as it is. Raises Skipped."""
    versions = _HEADING.findall(changelog)[1:]
    if not versions:
        raise Skipped("the changelog has no release before this one")
    return str(versions[0])


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", b"").decode(errors="replace").strip()
        raise Skipped(f"git {arguments[0]} does not work here: {why or error}") from error
