"""How far a Job is, why it waits, how it ended: read from the JSON of the Job, its pods and events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Object = Mapping[str, Any]
Phase = Literal["pending", "blocked", "running", "succeeded", "failed"]

_NO_IMAGE = "the image cannot be pulled: is it pushed, and may the nodes pull it?"
# Reasons of a kubelet or an admission controller that seldom pass by waiting.
BLOCKING = {
    "ErrImagePull": _NO_IMAGE,
    "ImagePullBackOff": _NO_IMAGE,
    "ErrImageNeverPull": "the image is not on the node, and its imagePullPolicy is Never",
    "InvalidImageName": "the image's name is malformed: see the kustomization's images",
    "CreateContainerConfigError": "a ConfigMap or Secret that the pod names is missing",
    "CreateContainerError": "the container runtime refuses the container",
    "FailedCreate": "the pod is refused: a quota, a limit or an admission rule",
}
NO_EXIT_CODE = 1  # for a pod without one: evicted, its node lost, refused
_MESSAGE_CHARACTERS_MAX = 300


@dataclass(frozen=True)
class JobState:
    """A Job and its newest pod at one moment."""

    phase: Phase
    detail: str = ""  # why it waits, or how it ended
    pod: str = ""  # "" before there is one
    node: str = ""
    image: str = ""
    exit_code: int | None = None  # once it has ended
    retries: int = 0  # failed attempts so far

    @property
    def ended(self) -> bool:
        """Whether the phase is final."""
        return self.phase in ("succeeded", "failed")


def job_state(job: Object, pods: Sequence[Object], events: Sequence[Object], container: str) -> JobState:
    """The state of `job`, with its `pods` in any order and the `events` about any of them."""
    newest = max(pods, key=_created, default=None)
    facts: dict[str, Any] = {"retries": int((job.get("status") or {}).get("failed") or 0)}
    if newest is not None:
        images = {each["name"]: each.get("image", "") for each in newest["spec"].get("containers", [])}
        facts |= {
            "pod": newest["metadata"]["name"],
            "node": newest["spec"].get("nodeName", ""),
            "image": str(images.get(container, "")),
        }
    for condition in _list(job, "status", "conditions"):
        if condition["status"] == "True" and condition["type"] == "Complete":
            return JobState("succeeded", exit_code=0, **facts)
        if condition["status"] == "True" and condition["type"] in ("Failed", "FailureTarget"):
            return JobState("failed", _sentence(condition), exit_code=_exit_code(newest, container), **facts)
    phase, detail = _without_pod(events) if newest is None else _waiting_pod(newest, events, container)
    return JobState(phase, detail, **facts)


def _without_pod(events: Sequence[Object]) -> tuple[Phase, str]:
    warning = _newest_warning(events)
    if warning.get("reason") in BLOCKING:
        return "blocked", _blocked(warning)
    return "pending", _sentence(warning) or "no pod yet"


def _waiting_pod(pod: Object, events: Sequence[Object], container: str) -> tuple[Phase, str]:
    current = _container_state(pod, container)
    if "running" in current:
        return "running", ""
    if "terminated" in current:  # the Job has not taken note of it yet
        return "running", f"the container ended with {current['terminated'].get('exitCode')}"
    waiting = current.get("waiting", {})
    if waiting.get("reason") in BLOCKING:
        return "blocked", _blocked(waiting)
    for condition in _list(pod, "status", "conditions"):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return "pending", _sentence(condition)
    return "pending", _sentence(_newest_warning(events)) or waiting.get("reason") or "scheduled, starting"


def _exit_code(pod: Object | None, container: str) -> int:
    """The container's own; a Job that failed never gives 0."""
    ended = _container_state(pod, container).get("terminated", {}) if pod else {}
    return int(ended.get("exitCode", NO_EXIT_CODE)) or NO_EXIT_CODE


def _container_state(pod: Object, container: str) -> Object:
    statuses = {status["name"]: status for status in _list(pod, "status", "containerStatuses")}
    state: Object = statuses.get(container, {}).get("state", {})
    return state


def _newest_warning(events: Sequence[Object]) -> Object:
    """The newest warning, empty without one. Times are RFC 3339 in UTC, so they sort as text."""
    warnings = [event for event in events if event.get("type") == "Warning"]
    return max(warnings, key=_happened, default={})


def _happened(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _created(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]


def _blocked(cause: Object) -> str:
    message = _short(cause.get("message", ""))
    return f"{cause['reason']}: {BLOCKING[cause['reason']]}" + (f" ({message})" if message else "")


def _sentence(cause: Object) -> str:
    """Reason and message of a condition or an event."""
    return ": ".join(part for part in (cause.get("reason", ""), _short(cause.get("message", ""))) if part)


def _short(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _MESSAGE_CHARACTERS_MAX else line[: _MESSAGE_CHARACTERS_MAX - 1] + "…"


def _list(value: Object, *path: str) -> Sequence[Any]:
    for name in path:
        value = value.get(name) or {}
    return value or ()  # type: ignore[return-value]
