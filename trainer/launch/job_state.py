"""What a Job and its pods say: how far it is, why it waits, how it ended. Pure; objects are JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Object = Mapping[str, Any]
Phase = Literal["pending", "blocked", "running", "succeeded", "failed"]

# Reasons that a kubelet or an admission gives and that seldom pass by waiting.
BLOCKING = {
    "ErrImagePull": "the image cannot be pulled: is it pushed, and may the nodes pull it?",
    "ImagePullBackOff": "the image cannot be pulled: is it pushed, and may the nodes pull it?",
    "ErrImageNeverPull": "the image is not on the node, and its imagePullPolicy is Never",
    "InvalidImageName": "the image's name is malformed: see the kustomization's images",
    "CreateContainerConfigError": "a ConfigMap or Secret that the pod names is missing",
    "CreateContainerError": "the container runtime refuses the container",
    "FailedCreate": "the pod is refused: a quota, a limit or an admission rule",
}
NO_EXIT_CODE = 1  # the pod went without one: evicted, its node lost, refused


@dataclass(frozen=True)
class State:
    """How far a Job is. `detail`: why it waits or how it ended; `pod`: the newest, "" before there is one."""

    phase: Phase
    detail: str = ""
    pod: str = ""
    node: str = ""
    image: str = ""
    exit_code: int | None = None
    retries: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.phase in ("succeeded", "failed")


def state(job: Object, pods: Sequence[Object], events: Sequence[Object], container: str) -> State:
    """The state of `job`, of its `pods` in any order, with the `events` about any of them."""
    newest = max(pods, key=_created, default=None)
    seen: dict[str, Any] = {"retries": _count(job, "failed")}
    if newest is not None:
        seen |= {
            "pod": newest["metadata"]["name"],
            "node": newest["spec"].get("nodeName", ""),
            "image": _image(newest, container),
        }
    for condition in _list(job, "status", "conditions"):
        if condition["status"] == "True" and condition["type"] == "Complete":
            return State("succeeded", exit_code=0, **seen)
        if condition["status"] == "True" and condition["type"] in ("Failed", "FailureTarget"):
            detail = _sentence(condition.get("reason", ""), condition.get("message", ""))
            return State("failed", detail, exit_code=_exit_code(newest, container), **seen)
    if newest is None:
        return _unborn(events, seen)
    return _living(newest, events, container, seen)


def _unborn(events: Sequence[Object], seen: Mapping[str, Any]) -> State:
    warning = _newest_warning(events)
    if warning and warning.get("reason") in BLOCKING:
        return State("blocked", _blocked(warning["reason"], warning.get("message", "")), **seen)
    return State("pending", _of_event(warning) or "no pod yet", **seen)


def _living(pod: Object, events: Sequence[Object], container: str, seen: Mapping[str, Any]) -> State:
    current = _status_of(pod, container).get("state", {})
    if "running" in current:
        return State("running", **seen)
    if "terminated" in current:  # the Job has not taken note yet
        code = current["terminated"].get("exitCode")
        return State("running", f"the container ended with {code}", **seen)
    waiting = current.get("waiting", {})
    if waiting.get("reason") in BLOCKING:
        return State("blocked", _blocked(waiting["reason"], waiting.get("message", "")), **seen)
    for condition in _list(pod, "status", "conditions"):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return State(
                "pending", _sentence(condition.get("reason", ""), condition.get("message", "")), **seen
            )
    detail = _of_event(_newest_warning(events)) or waiting.get("reason", "") or "scheduled, starting"
    return State("pending", detail, **seen)


def _exit_code(pod: Object | None, container: str) -> int:
    """The container's own; a pod that went without one counts as failed."""
    if pod is None:
        return NO_EXIT_CODE
    ended = _status_of(pod, container).get("state", {}).get("terminated", {})
    return int(ended.get("exitCode", NO_EXIT_CODE)) or NO_EXIT_CODE


def _blocked(reason: str, message: str) -> str:
    return f"{reason}: {BLOCKING[reason]}" + (f" ({_short(message)})" if message else "")


def _sentence(reason: str, message: str) -> str:
    return ": ".join(part for part in (reason, _short(message)) if part)


def _of_event(event: Object | None) -> str:
    return _sentence(event.get("reason", ""), event.get("message", "")) if event else ""


def _newest_warning(events: Sequence[Object]) -> Object | None:
    warnings = [event for event in events if event.get("type") == "Warning"]
    return max(warnings, key=_happened, default=None)


def _happened(event: Object) -> str:
    # Times are RFC 3339 in UTC, so that they sort as text.
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _created(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]


def _status_of(pod: Object, container: str) -> Object:
    statuses = _list(pod, "status", "containerStatuses")
    return next((status for status in statuses if status["name"] == container), {})


def _image(pod: Object, container: str) -> str:
    containers = pod["spec"].get("containers", [])
    return next((str(one.get("image", "")) for one in containers if one["name"] == container), "")


def _count(job: Object, name: str) -> int:
    return int((job.get("status") or {}).get(name) or 0)


def _list(thing: Object, *path: str) -> Sequence[Any]:
    for name in path:
        thing = thing.get(name) or {}
    return thing or ()  # type: ignore[return-value]


def _short(message: str, characters_max: int = 300) -> str:
    line = " ".join(message.split())
    return line if len(line) <= characters_max else line[: characters_max - 1] + "…"
