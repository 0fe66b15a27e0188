"""A control plane made by kind, where there is Docker; its pods do not share this machine's 127.0.0.1."""

import shutil
from pathlib import Path

from cluster.api import Api
from cluster.overlay import NAMESPACE
from local.java import ROOT
from local.store import Say, run
from plumbing.life import WorldDown

NAME = "connected-cars"
NO_PODS = (
    "in kind's container 127.0.0.1 is not this machine's: the pods of clusters/local would find no broker; "
    "run `make cluster` without CLUSTER=kind for steps 2 to 6"
)


class Kind(Api):
    """A cluster of one container, deleted at the end."""

    def __init__(self, folder: Path, say: Say) -> None:
        """Raises WorldDown without kind and Docker."""
        for program in ("kind", "docker"):
            if shutil.which(program) is None:
                raise WorldDown(f"CLUSTER=kind needs {program}, which is not installed")
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._say = say
        own = ROOT / "var/kubectl/kubectl"
        super().__init__(own if own.exists() else "kubectl", self.folder / "kind.kubeconfig")

    def start_control_plane(self) -> None:
        """Start it and wait until it answers. Raises WorldDown."""
        self._kind("create", "--wait", "120s")
        self.kubectl("config", "set-context", "--current", f"--namespace={NAMESPACE}")

    def stop(self) -> None:
        """Delete the cluster. Raises WorldDown."""
        self._kind("delete")

    def _kind(self, verb: str, *flags: str) -> None:
        argv: list[str | Path] = ["kind", verb, "cluster", "--name", NAME, "--kubeconfig", self.kubeconfig]
        run(f"kind {verb} cluster", [*argv, *flags], self._say)
