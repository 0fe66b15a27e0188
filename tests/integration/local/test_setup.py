"""local/setup with stand-ins for apt and sudo: what it says and calls, and its silence when all is there."""

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from local import java
from plumbing.life import WorldDown

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
# What the script calls besides bash; maven is left out, and so is missing.
TOOLS = ["bash", "cat", "cut", "dirname", "env", "find", "flock", "grep", "head", "mkdir", "python3"]
TOOLS += ["readlink", "rm", "sed", "setpriv", "sha256sum", "sleep", "tail"]


class Machine:
    """A checkout in a folder with a space in its name, and a path on which only chosen commands are."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my cars"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.bin.mkdir()
        (self.root / "local").mkdir(parents=True)
        for name in ("local/setup", "local/pom.xml", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root / name)
        for tool in TOOLS:
            path = shutil.which(tool)
            if path is not None:
                (self.bin / tool).symlink_to(path)
        self.has("id", "echo 1000")

    def has(self, name: str, script: str = "exit 0") -> None:
        """A command that writes its call down and then does `script`."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.calls}"\n{script}\n')
        path.chmod(0o755)

    def stamp(self, folder: str, *made_from: Path) -> None:
        """Say that a folder was made from the contents of these files."""
        content = f"{self.root}\n".encode() + b"".join(path.read_bytes() for path in made_from)
        target = self.root / folder
        target.mkdir(parents=True, exist_ok=True)
        (target / ".stamp").write_text(hashlib.sha256(content).hexdigest() + "\n")

    def setup(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run it."""
        env = {"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/")}
        command = [self.root / "local" / "setup", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)

    def called(self) -> list[str]:
        """The calls of the stand-ins but `id`."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if not line.startswith("id ")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_apt_it_lists_what_to_install(machine: Machine):
    """And starts nothing."""
    done = machine.setup()
    assert done.returncode == 1
    assert "this system has no apt" in done.stderr
    assert "maven" in done.stderr
    assert "fetches Kafka's jars" in done.stderr


def test_prometheus_is_for_the_tests_alone(machine: Machine):
    """`make demo` and `make up` need none."""
    assert "prometheus" not in machine.setup().stderr
    assert "prometheus-alertmanager" in machine.setup("--dev").stderr


def test_it_says_what_and_why_before_it_asks_apt(machine: Machine):
    """Through sudo where the user is not root; a failure shows apt's own words."""
    machine.has("apt-cache", "echo '  Candidate: 1'")
    machine.has("apt-get", "echo no space left for maven; exit 100")
    machine.has("sudo", 'exec "$@"')
    done = machine.setup()
    assert done.returncode == 1
    assert "will be installed with apt, through sudo" in done.stdout
    assert "no space left for maven" in done.stderr
    update, install = (call for call in machine.called() if call.startswith("sudo"))
    assert update == "sudo apt-get update"
    assert "install -y --no-install-recommends" in install
    assert "maven" in install


def test_without_sudo_it_says_what_root_is_to_run(machine: Machine):
    """With the whole command."""
    machine.has("apt-cache", "echo '  Candidate: 1'")
    machine.has("apt-get")
    done = machine.setup()
    assert done.returncode == 1
    assert "run `apt-get install" in done.stderr
    assert not [call for call in machine.called() if call.startswith("apt-get")]


def test_with_everything_there_it_is_silent_and_quick(machine: Machine):
    """It downloads nothing, calls nothing and says nothing."""
    try:
        home = java.find().resolve().parent.parent
    except WorldDown:
        pytest.skip("no Java on this machine")
    python = machine.root / "var/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/true")
    (machine.bin / "java").symlink_to(home / "bin/java")
    (machine.bin / "mosquitto").symlink_to("/bin/true")
    files = [machine.root / name for name in ("pyproject.toml", "constraints.txt", "local/pom.xml")]
    machine.stamp("var/venv", *files[:2])
    (machine.root / "var/venv/.extras").write_text("local\n")
    machine.stamp("var/kafka/libs", files[2])
    machine.stamp("var/kafka/archives", files[2], *(p for p in [home / "release"] if p.exists()))
    for forbidden in ("apt-get", "mvn", "pip", "curl"):
        machine.has(forbidden, "exit 1")
    began = time.monotonic()
    done = machine.setup()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 5  # 0.15 s on an idle machine
    assert not machine.called()


def test_an_unknown_argument_is_refused(machine: Machine):
    """With the usage."""
    done = subprocess.run(
        [machine.root / "local" / "setup", "--all"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "unknown argument --all" in done.stderr
    assert "usage: local/setup" in done.stderr
