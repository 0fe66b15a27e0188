"""The node: containerd and kubelet in namespaces of their own (node.sh), and their settings."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from cluster import images
from cluster.controlplane import ClusterPorts
from cluster.credentials import Credentials
from cluster.store import STORE, Say, run
from local.ports import port_is_open
from local.supervisor import Child

_SCRIPT = Path(__file__).with_name("node.sh")
_CGROUP = "connected-cars"
# The first process of the PID namespace is killed with its parent, and everything in the namespace with it.
_UNSHARE = ["unshare", "--cgroup", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            "--propagation", "private"]  # fmt: skip

_CONTAINERD = """\
version = 2
root = "{store}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Without the rights of the machine's root no score can be lower than containerd's own.
restrict_oom_score_adj = true
disable_apparmor = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
# Pods on the host's network need no plug-in, but without one the node is never ready.
bin_dir = "{folder}/cni-bin"
conf_dir = "{folder}/cni"
"""
_CNI = '{"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "loopback"}]}\n'


def prepare_containerd(folder: Path) -> None:
    """Write containerd's settings."""
    for name in ("cni", "cni-bin"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "cni/none.conflist").write_text(_CNI, encoding="utf-8")
    text = _CONTAINERD.format(store=STORE, folder=folder, pause=images.PAUSE)
    (folder / "containerd.toml").write_text(text, encoding="utf-8")


def prepare(folder: Path, own: Credentials, ports: ClusterPorts) -> None:
    """Write the settings of containerd and the kubelet."""
    prepare_containerd(folder)
    for name in ("pod-logs", "volume-plugins"):
        (folder / name).mkdir(exist_ok=True)
    shutil.copy(own.kubeconfig("kubelet"), folder / "kubelet.kubeconfig")
    (folder / "kubelet.yaml").write_text(json.dumps(_kubelet(folder, own, ports), indent=1), encoding="utf-8")


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


def _kubelet(folder: Path, own: Credentials, ports: ClusterPorts) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": ports.kubelet,
        "healthzPort": ports.kubelet_health,
        "readOnlyPort": 0,
        # Only clients with a certificate of our authority: the API server.
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(own.authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{_CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        # By default it removes images once the disk is 85 % full, and nothing could fetch them again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "1%", "nodefs.available": "1%", "imagefs.available": "1%"},
        "maxPods": 50,
        # With these iptables chains, which stay behind, the kernel tracks every connection on the loopback:
        # 10 % more CPU for cars and MQTT brokers until the machine is restarted. Pods here do not need them.
        "makeIPTablesUtilChains": False,
        # Changes are reported after 5 s instead of 10.
        "nodeStatusUpdateFrequency": "5s",
    }
