"""Kafka's JVMs: which Java, its flags, and class archives that halve the CPU time of a start.

It uses only the standard library: `local/setup` makes the archives while pip is at work.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from plumbing.life import WorldDown

ROOT = Path(__file__).resolve().parent.parent
LIBS = ROOT / "var/kafka/libs"
ARCHIVES = ROOT / "var/kafka/archives"
JAVA_VERSION_MIN = 17  # Kafka 4 does not start on less
_ANSWER_WITHIN_S = 20.0

# Of each JVM. Without a locale, as in a container or under cron, Java finds no path that has an umlaut.
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}

# C1 halves the CPU time of a start, C2 carries more messages per CPU second.
Compiler = Literal["c1", "c2"]


def command(
    main_class: str,
    *arguments: str,
    heap_mib: int,
    archive: str,
    compiler: Compiler = "c1",
    properties: Mapping[str, str] = MappingProxyType({}),
    record: bool = False,
    libs: Path | None = None,
) -> list[str]:
    """The command line of one of Kafka's programs; `properties` are system properties for log4j2.properties.

    With `record` the program writes its class archive, named `archive`, at exit. `libs`: other jars of Kafka
    than those of local/setup, without archives. Raises WorldDown without a Java or without Kafka's jars.
    """
    libs = libs or LIBS
    if not libs.is_dir():
        raise WorldDown(f"Kafka's jars are not in {libs}: `local/setup` fetches them")
    java = find()
    log_config = (ROOT / "local/log4j2.properties").as_uri()
    # The launcher expands `*` itself. An archive is valid only for the class path that it was made with.
    flags = ["-cp", f"{libs}/*", f"-Xmx{heap_mib}m", "-XX:+UseSerialGC", "-Xss512k"]
    flags.append(f"-Dlog4j2.configurationFile={log_config}")
    flags += [f"-D{name}={value}" for name, value in properties.items()]
    if compiler == "c1":
        flags.append("-XX:TieredStopAtLevel=1")
    path = archive_path(java, archive)
    if record:
        flags.append(f"-XX:ArchiveClassesAtExit={path.with_suffix('.new')}")
    elif path.exists() and libs == LIBS:
        # The JVM ignores an archive that does not match and reads the jars.
        flags.append(f"-XX:SharedArchiveFile={path}")
    return [str(java), *flags, main_class, *arguments]


def archive_path(java: Path, name: str) -> Path:
    """The path of a program's class archive for this Java and these jars."""
    jars = "".join(f"{jar.name} {jar.stat().st_mtime_ns}\n" for jar in sorted(LIBS.glob("*.jar")))
    key = hashlib.sha256(f"{java.resolve()}\n{_release(java)}\n{LIBS}\n{jars}".encode()).hexdigest()
    return ARCHIVES / f"{name}-{key[:12]}.jsa"


def find() -> Path:
    """The first Java of at least version 17: JAVA_HOME, PATH, then /usr/lib/jvm (as in local/setup).

    Raises WorldDown, naming those that are too old.
    """
    home, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    named = [Path(home, "bin/java") if home else None, Path(on_path) if on_path else None]
    too_old = []
    for binary in [*filter(None, named), *sorted(Path("/usr/lib/jvm").glob("*/bin/java"))]:
        version = version_of(binary)
        if version >= JAVA_VERSION_MIN:
            return binary
        too_old.append(f"{binary} is {version or 'not answering'}")
    older = f" (found: {', '.join(too_old)})" if too_old else ""
    raise WorldDown(
        f"Java {JAVA_VERSION_MIN} or newer is not installed{older}: `local/setup` installs it "
        "(package openjdk-17-jre-headless or newer), or set JAVA_HOME"
    )


def version_of(java: Path) -> int:
    """The major version of a Java, from its `release` file or its own answer; 0 where it does not answer."""
    text = _release(java)
    if not text:
        try:
            answer = subprocess.run(
                [java, "-version"], capture_output=True, text=True, timeout=_ANSWER_WITHIN_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return 0
        text = answer.stderr
    match = re.search(r'(?:JAVA_VERSION=|version )"(\d+)', text)
    return int(match[1]) if match else 0


def _release(java: Path) -> str:
    release = java.resolve().parent.parent / "release"
    return release.read_text(encoding="utf-8") if release.exists() else ""
