"""Every port of the cluster's own processes; all listen on 127.0.0.1."""

from typing import NamedTuple

_FIRST = 13001
# Each pod listens on a loopback address of its own (k8s/components/host-network/loopback.sh).
PODS_METRICS = 9100


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
        return cls(*range(_FIRST + offset, _FIRST + offset + len(cls._fields)))

    def all(self) -> dict[int, str]:
        """Every port with the name of its user."""
        return {port: name.replace("_", " ") for name, port in self._asdict().items()}
