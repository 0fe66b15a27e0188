"""The control plane: Kubernetes built as one program, its processes, and their ports on 127.0.0.1."""

import shutil
import ssl
import urllib.request
from pathlib import Path
from typing import NamedTuple

from cluster.credentials import Credentials
from local.java import ROOT
from local.ports import port_is_open
from local.store import STORE, Say, digest, run
from local.supervisor import Child
from plumbing import web
from plumbing.life import WorldDown

VERSION = "v1.36.3"  # of k8s.io/kubernetes in controlplane/go.mod
_SOURCES = ROOT / "cluster/controlplane"
_STAMP = "k8s.io/component-base/version"
# An address reserved for documentation (RFC 5737): API server and node must name one that is not loopback.
NOWHERE = "192.0.2.1"
_FIRST_PORT = 13001


class ClusterPorts(NamedTuple):
    """Ports by the process that listens there."""

    etcd: int
    etcd_peers: int
    api_server: int
    controllers: int
    scheduler: int
    kubelet: int  # for logs and exec
    kubelet_health: int

    @classmethod
    def at(cls, offset: int) -> "ClusterPorts":
        """The ports moved by `offset`, like those of the deployment beside the cluster (local/ports.py)."""
        return cls(*range(_FIRST_PORT + offset, _FIRST_PORT + offset + len(cls._fields)))

    def all(self) -> dict[int, str]:
        """Every port with the name of its user."""
        return {port: name.replace("_", " ") for name, port in self._asdict().items()}


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
    stamps = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(["-s -w", *(f"-X {_STAMP}.{name}={value}" for name, value in stamps.items())])
    for what, package, name in (
        ("building Kubernetes (the first time some 10 minutes)", ".", "kube"),
        ("building pause", "./pause", "pause"),
    ):
        run(
            what, ["go", "build", "-ldflags", flags, "-o", folder / name, package], say, env=env, cwd=_SOURCES
        )
    (folder / "kubectl").symlink_to("kube")
    return folder


def children(kube: Path, folder: Path, credentials: Credentials, ports: ClusterPorts) -> list[Child]:
    """The processes in the order of their start; the last two are ready once they reach the API server."""
    scheduler = _client(kube, "kube-scheduler", credentials.kubeconfig("scheduler"), ports.scheduler)
    return [
        _etcd(folder, credentials, ports),
        _api_server(kube, folder, credentials, ports),
        _controllers(kube, folder, credentials, ports),
        Child("scheduler", scheduler, lambda: port_is_open(ports.scheduler)),
    ]


def _etcd(folder: Path, own: Credentials, ports: ClusterPorts) -> Child:
    clients, peers = f"https://127.0.0.1:{ports.etcd}", f"http://127.0.0.1:{ports.etcd_peers}"
    argv = [
        "etcd",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        f"--cert-file={own.certificate}",
        f"--key-file={own.key}",
        f"--trusted-ca-file={own.authority}",
        "--client-cert-auth",
        # Its data are of this run alone, so a power cut may lose them.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    return Child("etcd", argv, lambda: port_is_open(ports.etcd))


def _api_server(kube: Path, folder: Path, own: Credentials, ports: ClusterPorts) -> Child:
    argv = [
        str(kube),
        "kube-apiserver",
        f"--etcd-servers=https://127.0.0.1:{ports.etcd}",
        f"--etcd-cafile={own.authority}",
        f"--etcd-certfile={own.certificate}",
        f"--etcd-keyfile={own.key}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.api_server}",
        f"--advertise-address={NOWHERE}",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={own.certificate}",
        f"--tls-private-key-file={own.key}",
        f"--cert-dir={folder / 'api-server'}",
        f"--kubelet-client-certificate={own.certificate}",
        f"--kubelet-client-key={own.key}",
        "--kubelet-preferred-address-types=Hostname",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={own.account_key}",
        f"--service-account-signing-key-file={own.account_key}",
        f"--token-auth-file={own.tokens}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]
    return Child("api-server", argv, lambda: _says_ok(f"https://127.0.0.1:{ports.api_server}/readyz", own))


def _controllers(kube: Path, folder: Path, own: Credentials, ports: ClusterPorts) -> Child:
    argv = [
        *_client(kube, "kube-controller-manager", own.kubeconfig("controllers"), ports.controllers),
        f"--service-account-private-key-file={own.account_key}",
        # Each controller has the rights of its own account; the user itself has hardly any.
        "--use-service-account-credentials",
        f"--root-ca-file={own.authority}",
        f"--cert-dir={folder / 'controllers'}",
        # The default of 15 s would make tests wait for the autoscaler.
        "--horizontal-pod-autoscaler-sync-period=2s",
    ]
    return Child("controllers", argv, lambda: port_is_open(ports.controllers))


def _client(kube: Path, program: str, kubeconfig: Path, port: int) -> list[str]:
    """The command line that controller manager and scheduler have in common."""
    return [
        str(kube),
        program,
        *(f"--{prefix}kubeconfig={kubeconfig}" for prefix in ("", "authentication-", "authorization-")),
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--leader-elect=false",
    ]


def _says_ok(url: str, own: Credentials) -> bool:
    context = ssl.create_default_context(cafile=str(own.authority))
    token = own.tokens.read_text(encoding="utf-8").partition(",")[0]
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with web.opened(request, timeout_s=1, context=context) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
