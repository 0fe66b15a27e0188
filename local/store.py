"""Build products outside of the repository, in `$XDG_CACHE_HOME/connected-cars`, named by their content."""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from local.java import ROOT
from plumbing.life import WorldDown

STORE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "connected-cars"
Say = Callable[[str], object]
_LOG_LINES_SHOWN = 20


def digest(files: Iterable[Path], *more: str) -> str:
    """12 hex digits of the content of `files`; a folder counts with its Python, Go and schema files."""
    content = hashlib.sha256("\n".join(more).encode())
    for path in files:
        inside = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix in (".py", ".go", ".avsc"))
        for file in inside if path.is_dir() else [path]:
            content.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return content.hexdigest()[:12]


def quoted(path: Path) -> str:
    """A path as a string of YAML, of TOML and of JSON, with its quotes."""
    return json.dumps(str(path), ensure_ascii=False)


def run(
    what: str, argv: Sequence[str | Path], say: Say, *, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> None:
    """Run a step that may take long, its output in a log. Raises WorldDown with the end of the log."""
    log = STORE / "logs" / f"{what.replace(' ', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    say(f"{what} … (log: {log})")
    started_at = time.monotonic()
    with log.open("wb") as output:
        done = subprocess.run(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            check=False,
        )
    if done.returncode != 0:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
        raise WorldDown(f"{what} failed with status {done.returncode}; the end of {log}:\n{end}")
    say(f"{what} took {time.monotonic() - started_at:.0f} s")
