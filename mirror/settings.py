"""The settings of the watch over MirrorMaker."""

from dataclasses import dataclass
from pathlib import Path

from plumbing.service import ServiceSettings
from plumbing.settings import addresses, setting


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Flags, environment (MIRROR_…) or these defaults. Raises ValueError for an address that is none."""

    edge_bootstrap: str = setting("Kafka of the edge: host:port,host:port,…")
    edge_properties: Path | None = setting(
        "file with more Kafka client settings for the edge (security, …)", default=None
    )
    edge_name: str = setting("name of the edge in replication", default="edge")
    cloud_bootstrap: str = setting(
        "Kafka of the cloud, which has MirrorMaker's offsets: host:port,host:port,…"
    )
    cloud_properties: Path | None = setting("likewise for the cloud", default=None)
    offsets_topic: str = setting(
        "topic of MirrorMaker's offsets: mm2-offsets.<edge>.internal, on Kubernetes its offsetStorageTopic",
        default="mm2-offsets.edge.internal",
    )
    look_every_s: float = setting("interval of the comparisons", default=10.0, above=0)

    def __post_init__(self) -> None:
        addresses(self.edge_bootstrap.split(","), "--edge-bootstrap")
        addresses(self.cloud_bootstrap.split(","), "--cloud-bootstrap")
