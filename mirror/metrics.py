"""The metrics of the watch over MirrorMaker."""

from prometheus_client import Counter, Gauge

missing = Counter(
    "mirror_missing_records",
    "Records of the edge that the cloud will never have: deleted before they were copied, or passed over",
    ["topic", "reason"],
)
REASONS = ("deleted", "made_again")
behind = Gauge("mirror_behind_records", "Records of the edge that are not copied yet", ["topic"])
looked_at = Gauge("mirror_looked_timestamp_seconds", "When both clusters were last compared, s since 1970")
