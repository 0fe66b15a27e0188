"""Which Java runs Kafka, and with which flags."""

import re
from pathlib import Path

import pytest

from local import java
from plumbing.life import WorldDown


def make_java(home: Path, version: str, *, release: bool = True) -> Path:
    """A folder that looks like a Java of that version."""
    (home / "bin").mkdir(parents=True)
    binary = home / "bin" / "java"
    binary.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    binary.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{version}"\n')
    return binary


@pytest.fixture
def libs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jars and archives of its own; the Java is 17."""
    folder = tmp_path / "libs"
    folder.mkdir()
    (folder / "kafka.jar").touch()
    monkeypatch.setattr(java, "LIBS", folder)
    monkeypatch.setattr(java, "ARCHIVES", tmp_path / "archives")
    binary = make_java(tmp_path / "jvm", "17.0.1")
    monkeypatch.setattr(java, "find", lambda: binary)
    return folder


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("21", 21), ("1.8.0_402", 1)])
@pytest.mark.parametrize("release", [True, False])
def test_the_version_is_read(tmp_path: Path, version: str, major: int, release: bool):
    """From the release file, or by asking where there is none."""
    assert java.version_of(make_java(tmp_path / "jvm", version, release=release)) == major


def test_what_does_not_answer_is_no_java(tmp_path: Path):
    """A stub that only fails, as some systems have, is passed over."""
    stub = tmp_path / "bin" / "java"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\nexit 1\n")
    stub.chmod(0o755)
    assert java.version_of(stub) == 0


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The user's choice is stronger than the path."""
    chosen, other = make_java(tmp_path / "chosen", "21"), make_java(tmp_path / "other", "17")
    monkeypatch.setenv("JAVA_HOME", str(chosen.parent.parent))
    monkeypatch.setenv("PATH", str(other.parent))
    assert java.find() == chosen


def test_a_java_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An old JAVA_HOME does not hide a newer one on the path."""
    old, new = make_java(tmp_path / "old", "11.0.2"), make_java(tmp_path / "new", "17.0.2")
    monkeypatch.setenv("JAVA_HOME", str(old.parent.parent))
    monkeypatch.setenv("PATH", str(new.parent))
    assert java.find() == new


def test_no_suitable_java_names_those_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The message says what is there, what is needed and how to get it."""
    old = make_java(tmp_path / "old", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(old.parent.parent))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(java.Path, "glob", lambda self, pattern: iter(()))
    with pytest.raises(WorldDown, match=rf"Java 17 .*{re.escape(str(old))} is 11.*local/setup"):
        java.find()


def test_missing_jars_are_said(libs: Path):
    """Not a Java error about a class, but what to run."""
    (libs / "kafka.jar").unlink()
    libs.rmdir()
    with pytest.raises(WorldDown, match="local/setup"):
        broker()


def broker(*, record: bool = False) -> list[str]:
    return java.command("kafka.Kafka", heap_mib=64, archive="broker", record=record)


def flag(argv: list[str], name: str) -> Path | None:
    """The path that a -XX flag names."""
    return next((Path(part.partition("=")[2]) for part in argv if part.startswith(f"-XX:{name}=")), None)


def test_an_archive_is_used_once_it_is_whole(libs: Path):
    """A recording writes under another name: a start meanwhile maps no half an archive."""
    written = flag(broker(record=True), "ArchiveClassesAtExit")
    assert written is not None
    written.parent.mkdir()
    written.touch()
    assert flag(broker(), "SharedArchiveFile") is None
    whole = java.archive_path(java.find(), "broker")
    written.rename(whole)
    assert flag(broker(), "SharedArchiveFile") == whole


def test_other_jars_want_another_archive(libs: Path):
    """The JVM would refuse an archive of other jars; it is not even offered."""
    before = java.archive_path(java.find(), "broker")
    (libs / "kafka-clients.jar").touch()
    assert java.archive_path(java.find(), "broker") != before
