"""Our images, built by buildah on a base made by debootstrap; no image registry is needed."""

import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from local.java import ROOT
from local.store import STORE, Say, digest, run
from plumbing.life import WorldDown

SERVICES = ("simulator", "bridge", "scorer", "trainer")
PAUSE = "localhost/connected-cars/pause:1"
_PREFIX = "localhost/connected-cars"
_PACKAGES = "python3,python3-venv,ca-certificates"
# 60 MB that no program reads.
_TRIMMED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
_ARCHIVES = STORE / "images"


def tag(service: str) -> str:
    """The version with a hash of everything that the service's image is built from."""
    names = ["Dockerfile", "pyproject.toml", "constraints.txt", "contract", "plumbing", service]
    names += ["mirror"] if service == "bridge" else []
    return f"{metadata.version('connected-cars')}-{digest([*map(ROOT.joinpath, names), Path(__file__)])}"


def tags() -> dict[str, str]:
    """The tag of every service."""
    return {service: tag(service) for service in SERVICES}


def name(service: str, tag: str) -> str:
    """The image of a service under a tag."""
    return f"{_PREFIX}/{service}:{tag}"


def build(service: str, tag: str, say: Say) -> Path:
    """Build a service's image and return its archive for containerd. Raises WorldDown."""
    flags = ["--build-arg", f"BASE={_base(say)}"]
    # pip in the build trusts the same certificates as outside of it.
    if certificates := os.environ.get("PIP_CERT"):
        flags += ["--build-arg", f"PIP_CERT={certificates}", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    unstamped, image = f"{_PREFIX}/unstamped-{service}", name(service, tag)
    build_it = ["bud", "--isolation", "chroot", "--layers", "--target", service, *flags, "--tag", unstamped]
    run(f"building the image of {service} {tag}", [*_buildah(), *build_it, ROOT], say)
    # Not by build arguments: buildah 1.28 reuses a cached layer although an argument has changed.
    stamp = [f"--label=org.opencontainers.image.version={tag}"]
    stamp.append(f"--label=org.opencontainers.image.revision={_revision()}")
    if service == "trainer":
        stamp.append(f"--env=TRAINER_GIT_REVISION={_revision()}")
    steps = [f'config {shlex.join(stamp)} "$container"']
    _commit(f"stamping the image of {service} {tag}", unstamped, steps, image, say)
    return _export(image, _ARCHIVES / f"{service}-{tag}.tar", say)


def build_pause(program: Path, say: Say) -> Path:
    """Build the image that holds a pod's namespaces, one static program, and return its archive."""
    copy = f'copy "$container" {shlex.quote(str(program))} /pause'
    config = """config --entrypoint '["/pause"]' "$container\""""
    _commit("building the image of pause", "scratch", [copy, config], PAUSE, say)
    return _export(PAUSE, _ARCHIVES / "pause.tar", say)


def _commit(what: str, base: str, steps: Sequence[str], image: str, say: Say) -> None:
    """Commit `base`, changed by commands of buildah, as `image`; $container is the working container."""
    buildah = shlex.join(_buildah())
    lines = [f"container=$({buildah} from {base})", *(f"{buildah} {step}" for step in steps)]
    script = "\n".join([*lines, f'{buildah} commit --rm "$container" {image}'])
    run(what, ["sh", "-ec", script], say)


def _export(image: str, archive: Path, say: Say) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.unlink(missing_ok=True)
    push = [*_buildah(), "push", image, f"docker-archive:{archive}:{image}"]
    run(f"exporting {image.rpartition('/')[2]}", push, say)
    return archive


def _base(say: Say) -> str:
    """The base image: this machine's release of Debian or Ubuntu, with its Python."""
    release = platform.freedesktop_os_release()
    suite = release.get("VERSION_CODENAME")
    if suite is None:
        raise WorldDown("/etc/os-release names no release: the base image is made on Debian or Ubuntu")
    image = f"{_PREFIX}/base:{suite}-{digest([], _PACKAGES, *_TRIMMED)}"
    if subprocess.run([*_buildah(), "inspect", image], capture_output=True, check=False).returncode == 0:
        return image
    folder = STORE / "base"
    shutil.rmtree(folder, ignore_errors=True)
    argv = [
        "debootstrap",
        "--variant=minbase",
        "--components=main,universe" if release["ID"] == "ubuntu" else "--components=main",
        f"--include={_PACKAGES}",
        suite,
        folder,
        _mirror(suite),
    ]
    run("making the base image (debootstrap)", argv, say)
    for trimmed in _TRIMMED:
        shutil.rmtree(folder / trimmed, ignore_errors=True)
    add = f'add "$container" {shlex.quote(str(folder))} /'
    _commit("packing the base image", "scratch", [add], image, say)
    shutil.rmtree(folder)
    return image


def _buildah() -> list[str]:
    # In a mount namespace, because the storage driver would leave a mount behind.
    storage = ["--root", str(STORE / "buildah"), "--runroot", str(STORE / "buildah-run")]
    return ["unshare", "--mount", "buildah", *storage]


def _revision() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _mirror(suite: str) -> str:
    """The mirror from which this machine's apt gets the suite. Raises WorldDown."""
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]
    for line in subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines():
        uri, _, codename = line.partition(" ")
        if codename == suite:
            return uri
    raise WorldDown(f"apt has no lists of {suite}: run `apt-get update`")
