"""The node: containerd and kubelet in namespaces of their own (node.sh), and their settings."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from cluster import images
from cluster.controlplane import ClusterPorts
from cluster.credentials import Credentials
from local.ports import port_is_open
from local.store import STORE, Say, quoted, run
from local.supervisor import Child

_SCRIPT = Path(__file__).with_name("node.sh")
_CGROUP = "connected-cars"
# The first process of the PID namespace is killed with its parent, and everything in the namespace with it.
_UNSHARE = ["unshare", "--cgroup", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            "--propagation", "private"]  # fmt: skip

_CONTAINERD = Path(__file__).with_name("containerd.toml").read_text(encoding="utf-8")
_KUBELET = Path(__file__).with_name("kubelet.yaml").read_text(encoding="utf-8")
_CNI = '{"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "loopback"}]}\n'


def prepare_containerd(folder: Path) -> None:
    """Write containerd's settings."""
    for name in ("cni", "cni-bin"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "cni/none.conflist").write_text(_CNI, encoding="utf-8")
    text = _CONTAINERD.format(
        root=quoted(STORE / "containerd"),
        cni=quoted(folder / "cni"),
        cni_bin=quoted(folder / "cni-bin"),
        pause=images.PAUSE,
    )
    (folder / "containerd.toml").write_text(text, encoding="utf-8")


def prepare(folder: Path, own: Credentials, ports: ClusterPorts) -> None:
    """Write the settings of containerd and the kubelet."""
    prepare_containerd(folder)
    for name in ("pod-logs", "volume-plugins"):
        (folder / name).mkdir(exist_ok=True)
    shutil.copy(own.kubeconfig("kubelet"), folder / "kubelet.kubeconfig")
    text = _KUBELET.format(
        port=ports.kubelet,
        health_port=ports.kubelet_health,
        authority=quoted(own.authority),
        cgroup=_CGROUP,
        pod_logs=quoted(folder / "pod-logs"),
        volume_plugins=quoted(folder / "volume-plugins"),
    )
    (folder / "kubelet.yaml").write_text(text, encoding="utf-8")


def child(kube: Path, folder: Path, ports: ClusterPorts) -> Child:
    """The node's process; `prepare` must have written to `folder`."""
    argv = [*_UNSHARE, str(_SCRIPT), "run", str(folder), str(STORE), str(kube)]
    return Child("node", argv, lambda: port_is_open(ports.kubelet_health), restart=False)


def import_images(folder: Path, archives: Sequence[Path], keep: Sequence[str], say: Say) -> None:
    """Import images into containerd, which then keeps only those in `keep`."""
    argv: list[str | Path] = [*_UNSHARE, _SCRIPT, "import", folder, STORE, *archives]
    run("importing images", argv, say, env={"KEEP": " ".join(keep)})
    for mark in _mark("").glob("*"):
        mark.unlink()
    for image in keep:
        _mark(image).parent.mkdir(parents=True, exist_ok=True)
        _mark(image).touch()


def has_image(image: str) -> bool:
    """Whether an image was imported; each import leaves a mark beside containerd's store."""
    return _mark(image).exists()


def _mark(image: str) -> Path:
    return STORE / "containerd/imported" / image.replace("/", "_")


def remove_cgroups() -> None:
    """Remove the cgroups that the kubelet made, after the node has ended. Raises OSError."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        name = controllers.removeprefix("name=")
        root = Path("/sys/fs/cgroup", name, path.strip("/"), _CGROUP)
        for folder in sorted(root.rglob("*/"), key=lambda path: -len(path.parts)):
            folder.rmdir()
        if root.is_dir():
            root.rmdir()
