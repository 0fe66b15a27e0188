"""The settings of `trainer launch`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plumbing.settings import setting


@dataclass(frozen=True)
class Settings:
    """Flags, environment (LAUNCH_…) or these defaults."""

    cronjob: str = setting("CronJob from whose template the Job is made", default="trainer")
    namespace: str = setting(
        "namespace of the CronJob; empty: the context's, in a pod the pod's own", default=""
    )
    context: str = setting("context of the kubeconfig; empty: the current one", default="")
    kubeconfig: Path | None = setting("kubeconfig to use instead of kubectl's", default=None)
    timeout_s: float = setting("give up if the Job has not ended after this long", default=7_200.0, above=0)
    blocked_s: float = setting(
        "give up if the pod has been unable to start for this long for a reason that seldom passes: an image "
        "that cannot be pulled, a ConfigMap that is missing",
        default=30.0,
        above=0,
    )
    if_running: Literal["start", "follow"] = setting(
        "where a Job of the CronJob runs already: start another beside it, or follow that one",
        default="start",
    )
    on_stop: Literal["keep", "delete"] = setting(
        "keep or delete the Job at Ctrl-C and when giving up", default="keep"
    )

    def __post_init__(self) -> None:
        if not self.cronjob:
            raise ValueError("--cronjob must not be empty")
