"""Kubernetes as one program, and the pause program, both built from Go modules."""

import shutil
from pathlib import Path

from cluster.store import STORE, Say, digest, run
from local.java import ROOT
from plumbing.life import WorldDown

VERSION = "v1.36.3"  # of k8s.io/kubernetes in controlplane/go.mod
_SOURCES = ROOT / "cluster/controlplane"
_STAMP = "k8s.io/component-base/version"


def build(say: Say) -> Path:
    """The folder with `kube`, its link `kubectl`, and `pause`; built where it is missing. Raises WorldDown.

    The first build compiles Kubernetes: about 10 minutes of CPU and 2.5 GB of memory.
    """
    sources = sorted(path for path in _SOURCES.rglob("*") if path.is_file())
    folder = STORE / f"kubernetes-{VERSION}-{digest(sources)}"
    if (folder / "kubectl").is_symlink():
        return folder
    if shutil.which("go") is None:
        raise WorldDown("go is not installed: Kubernetes is built from source here (Go 1.21 or newer)")
    folder.mkdir(parents=True, exist_ok=True)
    # Static, so that `pause` runs in an otherwise empty image.
    env = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false", "GOWORK": "off"}
    major, minor, _ = VERSION.removeprefix("v").split(".")
    flags = (
        f"-s -w -X {_STAMP}.gitVersion={VERSION} -X {_STAMP}.gitMajor={major} -X {_STAMP}.gitMinor={minor}"
    )
    build_kube: list[str | Path] = ["go", "build", "-ldflags", flags, "-o", folder / "kube", "."]
    run("building Kubernetes (the first time some 10 minutes)", build_kube, say, env=env, cwd=_SOURCES)
    build_pause: list[str | Path] = ["go", "build", "-ldflags", "-s -w", "-o", folder / "pause", "./pause"]
    run("building pause", build_pause, say, env=env, cwd=_SOURCES)
    (folder / "kubectl").symlink_to("kube")
    return folder
