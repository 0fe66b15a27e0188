"""A newer mosquitto than this Debian has: built once from the source package of Debian's unstable suite.

apt fetches it into folders of its own, from the server that this machine's apt uses, and checks the
signature; nothing is installed, and no list of the machine changes.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from local.store import STORE, run
from plumbing.life import WorldDown

VERSION = "2.1"
_FOLDER = STORE / f"mosquitto-{VERSION}"
# Tried here with what this project uses of the broker; each of these wants more libraries, or minutes.
_LEFT_OUT = (
    *("TESTS", "DOCS", "CLIENTS", "APPS", "LIB_CPP", "WEBSOCKETS", "HTTP_API", "LTO", "PLUGIN_EXAMPLES"),
    *("PLUGIN_PERSIST_SQLITE", "PLUGIN_DYNAMIC_SECURITY", "PLUGIN_SPARKPLUG_AWARE"),
)
_NEEDED = "dpkg-dev cmake g++ libcjson-dev libssl-dev"
_APT = """\
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
"""
_SOURCES = "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {server} sid main\n"


def mosquitto() -> Path:
    """The path of its program; a minute of compiling the first time. Raises WorldDown."""
    program = _FOLDER / "build/src/mosquitto"
    if not program.exists():
        for tool in ("apt-get", "dpkg-source", "cmake"):
            if shutil.which(tool) is None:
                raise WorldDown(f"{tool} is missing: mosquitto {VERSION} is built with Debian's {_NEEDED}")
        _build(_fetched())
    return program


def _fetched() -> Path:
    """The folder of the sources."""
    for name in ("lists/partial", "cache/archives/partial", "source"):
        (_FOLDER / name).mkdir(parents=True, exist_ok=True)
    (_FOLDER / "sources.list").write_text(_SOURCES.format(server=_server()), encoding="utf-8")
    settings = _FOLDER / "apt.conf"
    settings.write_text(_APT.format(folder=_FOLDER), encoding="utf-8")
    environment = {"APT_CONFIG": str(settings)}
    run("asking Debian for newer sources", ["apt-get", "update"], _say, env=environment)
    source = ["apt-get", "source", "mosquitto"]
    run(f"fetching mosquitto {VERSION}", source, _say, env=environment, cwd=_FOLDER / "source")
    found = sorted(path for path in (_FOLDER / "source").glob("mosquitto-*") if path.is_dir())
    for path in found:
        if path.name.startswith(f"mosquitto-{VERSION}."):
            return path
    raise WorldDown(f"Debian's unstable suite has {found[-1].name} now, and no mosquitto {VERSION}")


def _server() -> str:
    """The address that this machine's apt has Debian from."""
    argv = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    for origin, label, server in (line.rsplit(" ", 2) for line in lines if line.count(" ") == 2):
        if origin == label == "Debian":
            return server
    raise WorldDown("this machine's apt knows no packages of Debian (`apt-get update`)")


def _build(source: Path) -> None:
    build = _FOLDER / "build"
    shutil.rmtree(build, ignore_errors=True)
    flags = [f"-DWITH_{name}=OFF" for name in _LEFT_OUT]
    configure: list[str | Path] = ["cmake", "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=Release", *flags]
    try:
        run(f"configuring mosquitto {VERSION}", configure, _say)
        run(f"building mosquitto {VERSION}", ["cmake", "--build", build, "--parallel", "2"], _say)
    except WorldDown as error:
        raise WorldDown(f"{error}\nmosquitto {VERSION} is built with Debian's {_NEEDED}") from error


def _say(line: str) -> None:
    print(line, file=sys.stderr)
