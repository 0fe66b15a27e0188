"""The state of a Job from JSON as the API server writes it."""

from typing import Any

import pytest

from trainer.launch.job_state import BLOCKING, job_state

CREATED = "2026-01-01T00:00:00Z"


def pod(name: str = "trainer-x-1", created: str = CREATED, **status: Any) -> dict[str, Any]:
    """A pod on a node, with the status given."""
    return {
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": {"nodeName": "node-1"},
        "status": status,
    }


def container(name: str = "trainer", **current: Any) -> list[dict[str, Any]]:
    """The status of a container: one of running, waiting, terminated."""
    return [{"name": name, "state": current}]


def warning(reason: str, message: str, at: str = CREATED) -> dict[str, Any]:
    return {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": at}


def job(*conditions: tuple[str, str, str], failed: int = 0) -> dict[str, Any]:
    """A Job with conditions (type, reason, message)."""
    listed = [
        {"type": kind, "status": "True", "reason": why, "message": text} for kind, why, text in conditions
    ]
    return {"metadata": {"name": "trainer-x"}, "status": {"conditions": listed, "failed": failed}}


def test_a_new_job_waits_for_its_pod():
    """A Job without a pod is pending, and that is all there is to show."""
    now = job_state({"metadata": {"name": "trainer-x"}}, [], [])
    assert (now.phase, now.detail, now.pod, now.exit_code) == ("pending", "no pod yet", "", None)


def test_a_pod_that_fits_nowhere_says_why():
    """The scheduler's own words are the pending reason, whatever the events say."""
    says = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    says["message"] = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    now = job_state(job(), [pod(conditions=[says])], [warning("Other", "x")])
    assert (now.phase, now.detail) == (
        "pending",
        "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    )


@pytest.mark.parametrize("reason", sorted(BLOCKING - {"FailedCreate"}))
def test_reasons_that_seldom_pass_are_blocking(reason: str):
    """For a missing image or ConfigMap: the reason and the kubelet's message."""
    stuck = pod(containerStatuses=container(waiting={"reason": reason, "message": "no\n such thing"}))
    now = job_state(job(), [stuck], [])
    assert now.phase == "blocked"
    assert now.detail == f"{reason}: no such thing"


def test_a_pod_that_is_refused_shows_in_the_jobs_events():
    """A quota refuses the pod: the newest warning of the Job's events counts."""
    events = [warning("FailedCreate", "exceeded quota", "2026-01-01T00:00:09Z"), warning("Old", "x")]
    now = job_state(job(), [], events)
    assert now.phase == "blocked"
    assert "exceeded quota" in now.detail


def test_a_starting_pod_shows_what_holds_it_up():
    """A warning about a missing volume is shown, otherwise the kubelet's reason."""
    starting = pod(containerStatuses=container(waiting={"reason": "ContainerCreating"}))
    assert job_state(job(), [starting], []).detail == "ContainerCreating"
    held = job_state(job(), [starting], [warning("FailedMount", "no such secret")])
    assert (held.phase, held.detail) == ("pending", "FailedMount: no such secret")


def test_the_newest_pod_counts():
    """A Job that tries again has several; the sidecar's status is not the trainer's."""
    old = pod(containerStatuses=container(terminated={"exitCode": 1}))
    statuses = container("sidecar", terminated={"exitCode": 0}) + container(running={})
    new = pod("trainer-x-2", "2026-01-01T00:01:00Z", containerStatuses=statuses)
    now = job_state(job(failed=1), [new, old], [])
    assert (now.phase, now.pod, now.retries, now.node) == ("running", "trainer-x-2", 1, "node-1")


def test_success_is_the_jobs_word():
    """A container that has ended is still running for us until the Job says Complete."""
    ended = pod(containerStatuses=container(terminated={"exitCode": 0}))
    assert job_state(job(), [ended], []).exit_code is None
    now = job_state(job(("Complete", "", "")), [ended], [])
    assert (now.phase, now.exit_code) == ("succeeded", 0)


@pytest.mark.parametrize("code", [1, 2, 3, 137, 143])
def test_a_failure_ends_with_the_containers_code(code: int):
    """3 is the gate's refusal: the caller sees the same number as from `python -m trainer train`."""
    ended = pod(containerStatuses=container(terminated={"exitCode": code}))
    now = job_state(job(("Failed", "PodFailurePolicy", "exit code 3"), failed=1), [ended], [])
    assert (now.phase, now.exit_code, now.detail) == ("failed", code, "PodFailurePolicy: exit code 3")


def test_a_pod_that_went_without_a_code_is_a_failure():
    """A pod that was evicted or lost its node, or ended with 0 after the Job's deadline: never 0."""
    failed = job(("Failed", "DeadlineExceeded", "too long"))
    assert job_state(failed, [], []).exit_code == 1
    assert job_state(failed, [pod()], []).exit_code == 1
    late = pod(containerStatuses=container(terminated={"exitCode": 0}))
    assert job_state(failed, [late], []).exit_code == 1
