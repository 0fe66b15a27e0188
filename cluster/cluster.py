"""The cluster as a whole: built, started, used through kubectl, and stopped without a trace."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TextIO

from cluster import controlplane, images, node
from cluster.api import Api
from cluster.controlplane import ClusterPorts
from cluster.credentials import Credentials
from cluster.overlay import NAMESPACE
from local.preflight import check_ports
from local.store import STORE, Say
from local.supervisor import Supervisor
from plumbing.life import WorldDown

READY_WITHIN_S, STOP_WITHIN_S = 60.0, 60.0
_NEEDED = ("containerd", "runc", "buildah", "debootstrap", "unshare")


def why_no_node() -> str:
    """Why real pods cannot run on this machine; empty where they can."""
    if os.geteuid() != 0:
        return "not root: containerd, the kubelet and their namespaces need it (`sudo make cluster`)"
    missing = [program for program in _NEEDED if not shutil.which(program)]
    return f"not installed: {', '.join(missing)}; `local/setup --cluster` installs them" if missing else ""


def build(say: Say) -> Path:
    """Build and import what is missing, and return the folder of the programs. Raises WorldDown."""
    programs = controlplane.build(say)
    if why_no_node():
        return programs  # the control plane alone needs no images
    wanted = [(service, images.tag(service)) for service in images.SERVICES]
    wanted.append(("scorer", next_tag()))
    archives = []
    for service, tag in wanted:
        if not node.has_image(images.name(service, tag)):
            archives.append(images.build(service, tag, say))
    if not node.has_image(images.PAUSE):
        archives.append(images.build_pause(programs / "pause", say))
    if archives:
        folder = STORE / "import"
        shutil.rmtree(folder, ignore_errors=True)
        node.prepare_containerd(folder)
        keep = [images.PAUSE, *(images.name(service, tag) for service, tag in wanted)]
        node.import_images(folder, archives, keep, say)
        for archive in archives:
            archive.unlink()  # buildah keeps the layers for the next build
        shutil.rmtree(folder)
    return programs


def next_tag() -> str:
    """A second tag of the scorer's image, for a rolling update."""
    return f"{images.tag('scorer')}-next"


class LocalCluster(Api):
    """A control plane and one node; everything they keep is under `folder`."""

    def __init__(self, programs: Path, folder: Path, port_offset: int = 0) -> None:
        """`programs` is what `build` returns. Raises WorldDown where something prevents the start."""
        self.folder = folder.resolve()
        self._ports = ClusterPorts.at(port_offset)
        check_ports(self._ports.all())
        self._lock = _only_one()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._programs = programs
        self._own = Credentials(self.folder / "credentials")
        super().__init__(programs / "kubectl", self._own.kubeconfig("admin"))
        self.supervisor = Supervisor(self.folder / "logs")

    @property
    def api_port(self) -> int:
        """The API server's port on 127.0.0.1."""
        return self._ports.api_server

    def start_control_plane(self) -> None:
        """Start it and wait until it answers; needs no root. Raises WorldDown with the end of a log."""
        self._own.make(self._ports.api_server)
        kube = self._programs / "kube"
        for child in controlplane.children(kube, self.folder, self._own, self._ports):
            self.supervisor.start(child)
            if child.name in ("etcd", "api-server"):  # the others end where these do not answer yet
                self.supervisor.wait_ready([child.name], READY_WITHIN_S)
        self.supervisor.wait_ready(["controllers", "scheduler"], READY_WITHIN_S)

    def start_node(self) -> None:
        """Start it and wait until it can run pods. Raises WorldDown."""
        if why := why_no_node():
            raise WorldDown(why)
        node.remove_cgroups()  # of a node that was killed
        node.prepare(self.folder, self._own, self._ports)
        self.supervisor.start(node.child(self._programs / "kube", self.folder, self._ports))
        self.supervisor.wait_ready(["node"], READY_WITHIN_S)
        self._until_registered()
        self.kubectl("wait", "--for=condition=Ready", "node/localhost", f"--timeout={READY_WITHIN_S:.0f}s")

    def end_pods(self) -> None:
        """Delete the namespace and wait until its pods have ended in order. Raises WorldDown."""
        self.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")

    def stop(self) -> None:
        """End the pods, the node and the control plane."""
        try:
            if "node" in self.supervisor.children:
                with contextlib.suppress(WorldDown, subprocess.TimeoutExpired):
                    self.end_pods()
                self._end_node()
                _until_gone()
        finally:
            self.supervisor.stop_all()
            self._lock.close()

    def _end_node(self) -> None:
        # unshare blocks SIGTERM; its child, the first process of the namespaces, does not.
        tree = self.supervisor.children["node"].tree()
        if len(tree) > 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(tree[1], signal.SIGTERM)
        self.supervisor.stop("node")

    def _until_registered(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while self.ask("get", "node", "localhost").returncode != 0:
            self.supervisor.tick()
            if time.monotonic() > deadline:
                raise WorldDown(f"the kubelet does not register its node; see {self.folder / 'kubelet.log'}")
            time.sleep(0.1)


def _only_one() -> TextIO:
    STORE.mkdir(parents=True, exist_ok=True)
    lock = (STORE / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise WorldDown(f"another cluster is running: both would use the images in {STORE}") from None
    return lock


def _until_gone() -> None:
    """Remove the cgroups once the kernel has emptied them. Raises OSError where it does not in time."""
    deadline = time.monotonic() + STOP_WITHIN_S
    while True:
        try:
            node.remove_cgroups()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
