"""Run all tests in groups of folders: two groups with brokers at a time, and beside them what only computes.

Half of the time of tests with brokers is waiting, so three pytest processes keep two cores busy. Those with
brokers have ports of their own (TEST_PORT_OFFSET); what a group prints goes to var/tests/<group>.log, and to
the terminal where it fails. `python -m tests.groups --all` includes the tests that measure.
"""

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "var" / "tests"
SIDE_BY_SIDE = 2
# A deployment's ports span 928 below Kafka's in the cloud, and tests add at most 700: side by side none meet.
PORTS_OF_A_GROUP = 1_650
ALL = "not registry and not terraform and not cluster"

# The longest first, so that the last to end are short. Folders that share a fixture of the session
# (clusters, TensorFlow) are one group.
WITH_BROKERS = {
    "trainer": ("integration/trainer",),
    "e2e": ("e2e",),
    "clusters": ("integration/local", "integration/k8s"),
    "scorer": ("integration/scorer",),
    "simulator": ("integration/simulator",),
    "bridge": ("integration/bridge",),
    "files": ("integration/files",),
    "contract": ("integration/contract",),
    "tools": ("integration/loadtest", "integration/load", "integration/quality"),
}
# They use no fixed port, and no test of theirs is timed.
COMPUTING = {"unit": ("unit", "repo"), "world": ("world", "fuzz")}


@dataclass(frozen=True)
class Result:
    """How a group ended."""

    name: str
    status: int  # of pytest: 0 passed, 1 failed, 5 no test was found
    counts: Counter[str]  # "passed", "failed", "skipped", "error" …
    seconds: float
    output: str


def run(name: str, folders: tuple[str, ...], flags: list[str], port_offset: int) -> Result:
    """Run a group in a process of its own, and wait for it."""
    began = time.monotonic()
    log = LOGS / f"{name}.log"
    # Where this process is killed, pytest ends as by Ctrl-C, and with it the brokers of its tests.
    command = ["setpriv", "--pdeathsig", "INT", sys.executable, "-m", "pytest"]
    command += ["-p", "no:cacheprovider", "--durations=20", *flags]
    with log.open("w") as out:
        ended = subprocess.run(
            [*command, *(f"tests/{folder}" for folder in folders)],
            env=os.environ | {"TEST_PORT_OFFSET": str(port_offset)},
            cwd=ROOT, stdout=out, stderr=out, check=False,
        )  # fmt: skip
    output = log.read_text(errors="replace")
    return Result(name, ended.returncode, counts(output), time.monotonic() - began, output)


def counts(output: str) -> Counter[str]:
    """What the last line of pytest says: {"passed": 12, "skipped": 1}; empty where it says nothing."""
    last = output.rstrip().rpartition("\n")[2]
    if not re.search(r" in [\d.]+s", last):
        return Counter()
    outcomes = re.findall(r"(\d+) (passed|failed|skipped|deselected|errors?|xfailed|xpassed|warnings?)", last)
    return Counter({outcome: int(number) for number, outcome in outcomes})


def run_all(flags: list[str]) -> Iterator[Result]:
    """The result of every group as it ends."""
    offset = int(os.environ.get("TEST_PORT_OFFSET", "1000"))
    brokers, computing = list(WITH_BROKERS.items()), list(COMPUTING.items())
    groups, ended, lock = len(brokers) + len(computing), [], threading.Condition()

    def work(waiting: list[tuple[str, tuple[str, ...]]], port_offset: int) -> None:
        while True:
            with lock:
                if not waiting:
                    return
                name, folders = waiting.pop(0)
            result = run(name, folders, flags, port_offset)
            with lock:
                ended.append(result)
                lock.notify()

    for number in range(SIDE_BY_SIDE):
        threading.Thread(target=work, args=(brokers, offset + number * PORTS_OF_A_GROUP)).start()
    threading.Thread(target=work, args=(computing, offset)).start()
    try:
        for _ in range(groups):
            with lock:
                lock.wait_for(lambda: ended)
                result = ended.pop(0)
            yield result
    finally:
        brokers.clear()  # after Ctrl-C no other group begins
        computing.clear()


def summary(found: Counter[str], seconds: float) -> str:
    """As pytest ends: "12 passed, 1 skipped in 8.15s"."""
    shown = [f"{count} {outcome}" for outcome, count in found.items() if outcome != "deselected"]
    return f"{', '.join(shown) or 'no tests ran'} in {seconds:.2f}s ({seconds / 60:.1f} min)"


def main(arguments: list[str]) -> int:
    """Run everything; the exit status is 0 only where every group found tests and all passed."""
    everything = arguments == ["--all"]
    LOGS.mkdir(parents=True, exist_ok=True)
    began, total, failed = time.monotonic(), Counter[str](), []
    for result in run_all(["-m", ALL] if everything else []):
        total += result.counts
        if result.status != 0:
            failed.append(result)
            print(result.output)
        print(f"{result.name:<10} {summary(result.counts, result.seconds)}", flush=True)
    for result in failed:
        print(f"FAILED {result.name}: pytest ended with {result.status}, see var/tests/{result.name}.log")
        print(*re.findall(r"^(?:FAILED|ERROR) .*", result.output, re.M), sep="\n")
    print(summary(total, time.monotonic() - began))
    return 1 if failed or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
