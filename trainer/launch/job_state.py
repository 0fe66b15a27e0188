"""How far a Job is, why it waits, how it ended: read from the JSON of the Job, its pods and events."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
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
    newest = max(
        pods,
        key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]),
        default=None,
    )
    facts: dict[str, Any] = {"retries": int((job.get("status") or {}).get("failed") or 0)}
    current: Object = {}
    if newest is not None:
        spec, status = newest["spec"], newest.get("status") or {}
        images = {each["name"]: each.get("image", "") for each in spec.get("containers", [])}
        states = {each["name"]: each.get("state", {}) for each in status.get("containerStatuses") or ()}
        current = states.get(container, {})
        facts |= {"pod": newest["metadata"]["name"], "node": spec.get("nodeName", "")}
        facts["image"] = str(images.get(container, ""))
    for condition in _conditions(job, "True"):
        if condition["type"] == "Complete":
            return JobState("succeeded", exit_code=0, **facts)
        if condition["type"] in ("Failed", "FailureTarget"):  # a Job that failed never gives 0
            exit_code = int(current.get("terminated", {}).get("exitCode", NO_EXIT_CODE)) or NO_EXIT_CODE
            return JobState("failed", _sentence(condition), exit_code=exit_code, **facts)
    phase, detail = _unfinished(newest, current, events)
    return JobState(phase, detail, **facts)


def _unfinished(pod: Object | None, current: Object, events: Sequence[Object]) -> tuple[Phase, str]:
    """Phase and detail of a Job that has not ended; `current`: the container's state in its newest pod."""
    if "running" in current:
        return "running", ""
    if "terminated" in current:  # the Job has not taken note of it yet
        return "running", f"the container ended with {current['terminated'].get('exitCode')}"
    warnings = (event for event in events if event.get("type") == "Warning")
    warning, waiting = max(warnings, key=_happened, default={}), current.get("waiting", {})
    cause = waiting if pod else warning
    if meaning := BLOCKING.get(cause.get("reason", "")):
        message = _short(cause)
        return "blocked", f"{cause['reason']}: {meaning}" + (f" ({message})" if message else "")
    for condition in _conditions(pod or {}, "False"):
        if condition["type"] == "PodScheduled":
            return "pending", _sentence(condition)
    nothing_known = "scheduled, starting" if pod else "no pod yet"
    return "pending", _sentence(warning) or waiting.get("reason") or nothing_known


def _conditions(thing: Object, status: str) -> Iterator[Object]:
    conditions = (thing.get("status") or {}).get("conditions") or ()
    return (condition for condition in conditions if condition["status"] == status)


def _happened(event: Object) -> str:
    """When an event was last seen: RFC 3339 in UTC, which sorts as text."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _sentence(cause: Object) -> str:
    """Reason and message of a condition or an event."""
    return ": ".join(filter(None, (cause.get("reason", ""), _short(cause))))


def _short(cause: Object) -> str:
    return textwrap.shorten(cause.get("message", ""), _MESSAGE_CHARACTERS_MAX, placeholder=" …")
