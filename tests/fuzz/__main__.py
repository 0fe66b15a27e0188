"""python -m tests.fuzz --minutes 60: every parser under a fuzzer that follows the code, two at a time.

Inputs that reach new code stay in var/fuzz/<target>/found for the next run. A finding is a file
var/fuzz/<target>/crash-…; `python -m tests.fuzz --again FILE` shows what it does. In tests/fuzz/kept/<target>
`make test` tries it from then on.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS

RESULTS = Path(__file__).parents[2] / "var" / "fuzz"
_SIDE_BY_SIDE = 2
_MEMORY = Path("/dev/shm")
_INPUT_BYTES_MAX, _MEMORY_MB_MAX, _CASE_S_MAX = 8_192, 4_096, 20


def fuzz(name: str, seconds: int) -> dict[str, object]:
    """Fuzz one target; returns its row of the summary."""
    folder = RESULTS / name
    found = folder / "found"
    found.mkdir(parents=True, exist_ok=True)
    for data in seeds.of_target(name):
        (found / sha256(data).hexdigest()[:16]).write_bytes(data)
    before = set(folder.glob("*-*"))
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(found)]
    command += [
        f"-max_total_time={seconds}",
        f"-max_len={_INPUT_BYTES_MAX}",
        f"-rss_limit_mb={_MEMORY_MB_MAX}",
    ]
    command += [f"-timeout={_CASE_S_MAX}", f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    command += ["-close_fd_mask=3"]  # what the parsers print
    log = folder / "log.txt"
    # Files of the cases in memory; libFuzzer ends a process without its last will.
    with log.open("w") as out, TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as temporary:
        env = os.environ | {"RUST_BACKTRACE": "0", "TMPDIR": temporary}
        subprocess.run(command, stdout=out, stderr=out, check=False, env=env)
    executed = re.search(r"stat::number_of_executed_units: (\d+)", log.read_text(errors="replace"))
    findings = sorted(str(path) for path in set(folder.glob("*-*")) - before)
    return {"target": name, "cases": int(executed[1]) if executed else 0, "findings": findings}


def again(path: Path) -> int:
    """Try one input on the target of its folder."""
    TARGETS[path.resolve().parent.name](path.read_bytes())
    print("nothing is wrong")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz all targets, or some; the exit status is 1 where something was found or a target did not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", nargs="*", choices=list(TARGETS), default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--again", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.again:
        return again(options.again)
    seconds = max(1, int(options.minutes * 60 * _SIDE_BY_SIDE / len(options.only)))
    rows = []
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for row in pool.map(lambda name: fuzz(name, seconds), options.only):
            rows.append(row)
            print(f"{row['target']:24}{row['cases']:>12} cases  {len(row['findings'])} findings", flush=True)
            print(*(f"    {path}" for path in row["findings"]), sep="\n", end="\n" * bool(row["findings"]))
    cases = sum(row["cases"] for row in rows)
    RESULTS.joinpath("summary.json").write_text(
        json.dumps({"cases": cases, "targets": rows}, indent=2) + "\n"
    )
    print(f"{cases} cases in {options.minutes:g} minutes: {RESULTS / 'summary.json'}")
    return 1 if any(row["findings"] or not row["cases"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
