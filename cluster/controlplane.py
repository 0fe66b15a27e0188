"""etcd, API server, controller manager and scheduler as child processes."""

import ssl
import urllib.request
from pathlib import Path

from cluster.credentials import Credentials
from cluster.ports import ClusterPorts
from local.probe import port_is_open
from local.supervisor import Child

# An address reserved for documentation (RFC 5737): API server and node must name one that is not loopback.
NOWHERE = "192.0.2.1"


def children(kube: Path, folder: Path, credentials: Credentials, ports: ClusterPorts) -> list[Child]:
    """The processes in the order of their start; the last two are ready once they reach the API server."""
    return [
        _etcd(folder, credentials, ports),
        _api_server(kube, folder, credentials, ports),
        _controllers(kube, folder, credentials, ports),
        _scheduler(kube, credentials, ports),
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
        str(kube),
        "kube-controller-manager",
        f"--kubeconfig={own.kubeconfig('controllers')}",
        f"--authentication-kubeconfig={own.kubeconfig('controllers')}",
        f"--authorization-kubeconfig={own.kubeconfig('controllers')}",
        f"--service-account-private-key-file={own.account_key}",
        # Each controller has the rights of its own account; the user itself has hardly any.
        "--use-service-account-credentials",
        f"--root-ca-file={own.authority}",
        f"--cert-dir={folder / 'controllers'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.controllers}",
        "--leader-elect=false",
        # The default of 15 s would make tests wait for the autoscaler.
        "--horizontal-pod-autoscaler-sync-period=2s",
    ]
    return Child("controllers", argv, lambda: port_is_open(ports.controllers))


def _scheduler(kube: Path, own: Credentials, ports: ClusterPorts) -> Child:
    argv = [
        str(kube),
        "kube-scheduler",
        f"--kubeconfig={own.kubeconfig('scheduler')}",
        f"--authentication-kubeconfig={own.kubeconfig('scheduler')}",
        f"--authorization-kubeconfig={own.kubeconfig('scheduler')}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.scheduler}",
        "--leader-elect=false",
    ]
    return Child("scheduler", argv, lambda: port_is_open(ports.scheduler))


def _says_ok(url: str, own: Credentials) -> bool:
    context = ssl.create_default_context(cafile=str(own.authority))
    token = own.tokens.read_text(encoding="utf-8").partition(",")[0]
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=1, context=context) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
