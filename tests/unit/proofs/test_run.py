"""The loop of `make proofs` with small commands: skipped, run again, ended in time, nothing left behind."""

import io
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from plumbing.life import Stop
from tests.proofs import __main__ as proofs
from tests.proofs import command, promises
from tests.proofs.proof import Ended, Finding, Proof


def counted(ended: Ended) -> list[Finding]:
    """How many lines the command printed, at most two."""
    lines = len(ended.log.splitlines())
    return [Finding("lines", str(lines), "≤ 2", lines <= 2)]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit, so that there is something to prove of."""
    root = tmp_path / "repository"
    author = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "init", "-q", root], check=True)
    (root / "file").write_text("1")
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    subprocess.run(["git", *author, "commit", "-qm", "first"], cwd=root, check=True)
    return root


@pytest.fixture
def prove(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs proofs: (exit status, rows of the record)."""
    monkeypatch.setattr(proofs, "machine", lambda: {"cores": 2})
    monkeypatch.setattr(command, "_LOOK_S", 0.01)

    def run(*chosen: Proof, **options: Any) -> tuple[int, list[dict[str, Any]]]:
        path = tmp_path / "var/proofs.json"
        console = Console(file=io.StringIO(), width=160)
        status = proofs.prove(list(chosen), path, console, Stop(), root=repository, **options)
        return status, json.loads(path.read_text()) if path.exists() else []

    return run


def runs(command_line: str) -> bool:
    """Whether a process has this command line."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return command_line in listed.stdout.splitlines()


def shell(text: str, name: str = "one", minutes_max: float = 1.0) -> Proof:
    return Proof(name, text, ["sh", "-c", text], minutes_max, counted)


def test_a_proof_that_was_met_on_this_commit_is_skipped(prove: Any, repository: Path):
    """Not so when forced, when it was not met, or once files differ from the commit."""
    again = shell("echo x >>ran; echo done")
    assert prove(again)[0] == 0
    assert prove(again)[0] == 0
    assert (repository / "ran").read_text() == "x\n"
    prove(again, force=True)
    (repository / "file").write_text("2")
    status, rows = prove(again)
    assert (repository / "ran").read_text() == "x\n" * 3
    assert status == 0
    assert [row["commit"][-1] for row in rows] == ["+"]


def test_a_proof_that_is_not_met_is_run_again_and_fails_the_command(prove: Any, repository: Path):
    """The rows of other proofs stay."""
    assert prove(shell("true", "bench"))[0] == 0
    status, rows = prove(shell("echo x >>ran; seq 3"))
    assert status == 1
    assert {row["name"]: row["met"] for row in rows} == {"one": False, "bench": True}
    assert {"name", "command", "met", "figure", "bar", "seconds", "commit"} <= rows[0].keys()
    assert prove(shell("echo x >>ran; seq 3"))[0] == 1
    assert (repository / "ran").read_text() == "x\nx\n"


def test_a_failing_command_is_not_met_whatever_its_figures(prove: Any):
    """Its status and its last line are the figure."""
    status, rows = prove(shell("echo broken; exit 3"))
    assert status == 1
    assert [(row["promise"], row["figure"]) for row in rows if not row["met"]] == [
        ("exit status", "3: broken")
    ]


def test_figures_that_cannot_be_read_are_not_met(prove: Any):
    """A command that ends well without its results has proved nothing."""
    proof = Proof("one", "true", ["true"], 1, lambda ended: [json.loads("{")])
    status, rows = prove(proof)
    assert status == 1
    assert rows[0]["promise"] == "its figures"


def test_results_of_an_earlier_run_are_removed_first(prove: Any, repository: Path):
    """Or a command that dies early would be judged by them."""
    (repository / "result").write_text("old")
    seen: list[bool] = []

    def look(ended: Ended) -> list[Finding]:
        seen.append((ended.root / "result").exists())
        return []

    proof = Proof("one", "true", ["true"], 1, look, ["result"])
    prove(proof)
    assert seen == [False]


def test_a_command_that_takes_too_long_is_ended(prove: Any, monkeypatch: pytest.MonkeyPatch):
    """First in order, then for sure, with all that it started."""
    monkeypatch.setattr(command, "_GRACE_S", ((signal.SIGINT, 0.1), (signal.SIGKILL, 5.0)))
    status, rows = prove(shell("trap '' INT; setsid sleep 987 & sleep 987", minutes_max=0.005))
    assert status == 1
    assert rows[0]["promise"] == "ends in time"
    assert not runs("sleep 987")


def test_what_is_left_of_a_command_is_ended(prove: Any):
    """A command that has ended well but left a process behind, in a session of its own."""
    assert prove(shell("setsid sleep 986 & echo done"))[0] == 0
    assert not runs("sleep 986")


def test_a_command_sees_its_orphans_end(prove: Any):
    """`make proofs` adopts orphans, and must not keep one that has ended as a zombie: tests wait for that."""
    gone = "for i in $(seq 100); do [ -d /proc/$pid ] || exit 0; sleep 0.05; done; exit 1"
    status, _ = prove(shell(f"pid=$(sleep 0.1 >/dev/null & echo $!); {gone}"))
    assert status == 0


def test_ctrl_c_ends_the_command_and_records_nothing(prove: Any, monkeypatch: pytest.MonkeyPatch):
    """The command, given again, goes on with the proof that was interrupted."""
    monkeypatch.setattr(Stop, "requested", property(lambda self: time.monotonic() > began + 0.3))
    began = time.monotonic()
    assert prove(shell("sleep 985")) == (130, [])
    assert time.monotonic() - began < 5


def test_every_proof_runs_a_command_that_there_is():
    """Make targets, modules and scripts; every name once."""
    makefile = (proofs.ROOT / "Makefile").read_text()
    names = [proof.name for proof in promises.PROOFS]
    assert len(set(names)) == len(names)
    for proof in promises.PROOFS:
        if proof.argv[0] == "make":
            assert f"\n{proof.argv[1]}:" in makefile, proof.name
        else:
            assert (proofs.ROOT / proof.argv[0]).exists()
