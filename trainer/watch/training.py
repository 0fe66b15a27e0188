"""A training that the watcher starts: a child that ends with it, or a Job that it follows."""

import subprocess
import sys
from collections.abc import Sequence

from trainer.watch.looks import PastLook
from trainer.watch.models import Models
from trainer.watch.settings import Settings

_STOP_S_MAX = 10.0
_BROKEN_SHARE_MAX = 0.01  # of the records: more, and a training would learn from broken sensors
_FRESH_LOOKS = 5  # older evidence says nothing of now


def reason_against(
    models: Models, newest: PastLook, settings: Settings, *, now_s: float, since_s: float, retry_at_s: float
) -> str:
    """Why no training is started now although a drift lasts; empty: nothing speaks against it.

    since_s: when a signal began to drift, so that older telemetry is another; 0: none did.
    retry_at_s: when a training that ended without a decision may be tried again. Times are s since 1970.
    """
    trial = models.challenger
    reasons = {
        f"version {trial.version if trial else '-'} is on trial": trial is not None,
        "too many records are broken": newest.look.broken > _BROKEN_SHARE_MAX,
        "a decision was taken lately": now_s < models.decided_ms / 1000 + settings.cool_down_s,
        "a training ended without a decision lately": now_s < retry_at_s,
        "there is too little telemetry of after the change": now_s < since_s + settings.slice_s,
        "the evidence is old": now_s > newest.ended_ms / 1000 + _FRESH_LOOKS * settings.look_every_s,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def command(settings: Settings, arguments: Sequence[str], since: str) -> list[str]:
    """The command line; `arguments` are the trainer's own and win over what is passed on.

    since: a time from which on the fleet is as it is now, or empty; older telemetry is of another fleet. The
    training fails until there is enough of it, and is tried again. A Job that trains already is followed.
    """
    python = [sys.executable, "-m", "trainer"]
    arguments = [*(["--from", since] if since else []), *arguments]
    if settings.train_with == "launch":
        return [*python, "launch", "--if-running", "follow", "--", "--share", "0", *arguments]
    known = {
        "--share": "0",
        "--kafka-bootstrap": settings.kafka_bootstrap,
        "--kafka-properties": str(settings.kafka_properties or ""),
        "--schema-registry-url": settings.schema_registry_url or "",
        "--model-name": settings.model_name,
        "--edge-names": ",".join(settings.edge_names),
    }
    return [*python, "train", *(word for pair in known.items() if pair[1] for word in pair), *arguments]


class Training:
    """At most one child."""

    def __init__(self, settings: Settings, arguments: Sequence[str]) -> None:
        """`arguments` are those that a person adds to the trainer's."""
        self._settings, self._arguments = settings, arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether its end was not yet noticed."""
        return self._process is not None

    def start(self, since: str) -> None:
        """Start it as `command` says; the kernel kills it when this process dies, so that none is left."""
        # Niced, so that where both share a machine with the message path, that does not wait.
        guard = ["setpriv", "--pdeathsig", "KILL", "--", "nice", "-n", "10"]
        self._process = subprocess.Popen(
            [*guard, *command(self._settings, self._arguments, since)], stdin=subprocess.DEVNULL
        )

    def ended(self) -> int | None:
        """The exit status, once, after it has ended."""
        status = self._process.poll() if self._process else None
        if status is not None:
            self._process = None
        return status

    def stop(self, within_s: float) -> None:
        """End it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(min(within_s, _STOP_S_MAX))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
