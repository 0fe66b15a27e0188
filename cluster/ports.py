"""Every port of the cluster's own parts. All listen on 127.0.0.1."""

from dataclasses import dataclass

_FIRST = 13001
# At its own loopback address each (k8s/components/host-network/loopback.sh).
PODS_METRICS = 9100


@dataclass(frozen=True)
class ClusterPorts:
    """Moved by `offset` like those of the deployment beside it (local/ports.py)."""

    offset: int = 0

    def _port(self, number: int) -> int:
        return _FIRST + self.offset + number

    @property
    def etcd(self) -> int:
        """etcd for its clients."""
        return self._port(0)

    @property
    def etcd_peers(self) -> int:
        """etcd for other etcds, of which there are none."""
        return self._port(1)

    @property
    def api(self) -> int:
        """The API server."""
        return self._port(2)

    @property
    def controllers(self) -> int:
        """The controller manager's health."""
        return self._port(3)

    @property
    def scheduler(self) -> int:
        """The scheduler's health."""
        return self._port(4)

    @property
    def kubelet(self) -> int:
        """The kubelet, for logs and exec."""
        return self._port(5)

    @property
    def kubelet_health(self) -> int:
        """The kubelet's health."""
        return self._port(6)

    def all(self) -> dict[int, str]:
        """Every port with who wants it."""
        return {
            self.etcd: "etcd",
            self.etcd_peers: "etcd's peers",
            self.api: "the API server",
            self.controllers: "the controller manager",
            self.scheduler: "the scheduler",
            self.kubelet: "the kubelet",
            self.kubelet_health: "the kubelet's health",
        }
