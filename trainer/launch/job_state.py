"""How far a Job is, why it waits, how it ended: read from the JSON of the Job, its pods and events."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Object = Mapping[str, Any]
Phase = Literal["pending", "blocked", "running", "succeeded", "failed", "out of sight"]

CONTAINER = "trainer"  # the one of the template that trains
# Reasons of a kubelet or an admission controller that seldom pass by waiting: an image that is not there or
# must not be pulled, a ConfigMap or Secret that is missing, a quota.
BLOCKING = {
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "FailedCreate",
}
NO_EXIT_CODE = 1  # for a pod without one: evicted, its node lost, refused
_MESSAGE_CHARACTERS_MAX = 300


@dataclass(frozen=True)
class JobState:
    """A Job and its newest pod at one moment."""

    phase: Phase  # out of sight: the API server does not answer
    detail: str = ""  # why it waits, or how it ended
    pod: str = ""  # "" before there is one
    node: str = ""
    exit_code: int | None = None  # once it has ended
    retries: int = 0  # failed attempts so far


def job_state(job: Object, pods: Sequence[Object], events: Sequence[Object]) -> JobState:
    """The state of `job`, with its `pods` in any order and the `events` about any of them."""
    newest = max(
        pods,
        key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]),
        default={},
    )
    containers = (newest.get("status") or {}).get("containerStatuses") or ()
    current = {each["name"]: each.get("state", {}) for each in containers}.get(CONTAINER, {})
    facts: dict[str, Any] = {
        "pod": newest.get("metadata", {}).get("name", ""),
        "node": newest.get("spec", {}).get("nodeName", ""),
        "retries": int((job.get("status") or {}).get("failed") or 0),
    }
    for condition in _conditions(job, "True"):
        if condition["type"] == "Complete":
            return JobState("succeeded", exit_code=0, **facts)
        if condition["type"] in ("Failed", "FailureTarget"):  # a Job that failed never gives 0
            exit_code = int(current.get("terminated", {}).get("exitCode", NO_EXIT_CODE)) or NO_EXIT_CODE
            return JobState("failed", _sentence(condition), exit_code=exit_code, **facts)
    phase, detail = _unfinished(newest, current, events)
    return JobState(phase, detail, **facts)


def _unfinished(pod: Object, current: Object, events: Sequence[Object]) -> tuple[Phase, str]:
    """Phase and detail of a Job that has not ended; `current`: the container's state in its newest pod."""
    if "running" in current or "terminated" in current:  # the Job has not taken note of its end yet
        return "running", ""
    warnings = (event for event in events if event.get("type") == "Warning")
    warning, waiting = max(warnings, key=_happened, default={}), current.get("waiting", {})
    cause = waiting if pod else warning
    if cause.get("reason") in BLOCKING:
        return "blocked", _sentence(cause)
    for condition in _conditions(pod, "False"):
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
    """Reason and message of a condition, an event or a waiting container."""
    message = textwrap.shorten(cause.get("message", ""), _MESSAGE_CHARACTERS_MAX, placeholder=" …")
    return ": ".join(filter(None, (cause.get("reason", ""), message)))
