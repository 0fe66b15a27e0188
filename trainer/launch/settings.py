"""The settings of `trainer launch`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plumbing.settings import setting


@dataclass(frozen=True)
class Settings:
    """Flags, environment (LAUNCH_…) or these defaults."""

    cronjob: str = setting("CronJob whose template the Job is made from", default="trainer")
    container: str = setting("container of the template that trains", default="trainer")
    namespace: str = setting("where the CronJob is; empty: the context's, in a pod the pod's", default="")
    context: str = setting("context of the kubeconfig; empty: the current one", default="")
    kubeconfig: Path | None = setting("file to use instead of kubectl's", default=None)
    start_timeout_s: float = setting("give up when the pod does not run after so long", default=600.0)
    timeout_s: float = setting("give up when the Job has not ended after so long", default=7_200.0)
    blocked_s: float = setting(
        "give up when the pod cannot start for so long for a reason that seldom passes: an image that cannot "
        "be pulled, a ConfigMap that is missing",
        default=30.0,
    )
    away_s: float = setting("give up when the API server has not answered for so long", default=60.0)
    poll_s: float = setting("look so often", default=1.0)
    on_stop: Literal["keep", "delete"] = setting(
        "what happens to the Job at Ctrl-C and when giving up: it goes on, or is deleted", default="keep"
    )

    def __post_init__(self) -> None:
        for name in ("start_timeout_s", "timeout_s", "blocked_s", "away_s", "poll_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be positive")
        if not self.cronjob or not self.container:
            raise ValueError("--cronjob and --container must not be empty")
