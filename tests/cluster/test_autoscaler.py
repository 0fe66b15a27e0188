"""Step 7: the autoscaler is accepted, and its controller acts on it as far as it can without metrics."""

import json
import time
from typing import Any

import pytest

from cluster.api import Api
from contract.topics import TELEMETRY_PARTITIONS
from tests.cluster.test_accepted import apply
from tests.integration.k8s import rendered

pytestmark = pytest.mark.cluster
ANSWER_WITHIN_S = 60.0
SPACE = "autoscaling"


@pytest.fixture(scope="module")
def space(cluster: Api) -> None:
    """A namespace of its own, with a scorer that no node will run: only what the controllers say counts."""
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    apply(cluster, [made])
    scorer = rendered.named(rendered.cluster("edge"), "Deployment", "scorer")
    # No pod of it is to start beside the other tests' node.
    spec = scorer["spec"]
    template = {**spec["template"], "spec": {**spec["template"]["spec"], "nodeSelector": {"no": "node"}}}
    metadata = {**scorer["metadata"], "namespace": SPACE}
    apply(cluster, [{**scorer, "metadata": metadata, "spec": {**spec, "template": template}}])


def test_without_metrics_it_keeps_its_lower_bound_and_says_why(
    cluster: Api, space: None, figures: dict[str, str]
) -> None:
    """From 1 to minReplicas at once; no further, because no metrics server runs, and the object says so."""
    hpa = rendered.named(rendered.cluster("edge"), "HorizontalPodAutoscaler", "scorer")
    apply(cluster, [{**hpa, "metadata": {**hpa["metadata"], "namespace": SPACE}}])
    until(cluster, "deployment", lambda found: found["spec"]["replicas"] == hpa["spec"]["minReplicas"])
    found = until(cluster, "hpa", lambda found: condition(found, "ScalingActive"))
    assert condition(found, "ScalingActive")["status"] == "False"
    assert "metrics" in condition(found, "ScalingActive")["message"]
    figures["HPA: raised to minReplicas; by CPU"] = "not executed: no metrics server here"


def test_it_is_what_kubectl_autoscale_makes(cluster: Api, space: None) -> None:
    """`kubectl autoscale` with the same bounds and target gives the same target, bounds and metric."""
    hpa = rendered.named(rendered.cluster("edge"), "HorizontalPodAutoscaler", "scorer")["spec"]
    made = cluster.kubectl(
        "autoscale", "deployment", "scorer", f"--namespace={SPACE}", f"--min={hpa['minReplicas']}",
        f"--max={TELEMETRY_PARTITIONS}", "--cpu=70%", "--name=by-hand", "--dry-run=server", "-o", "json",
    )  # fmt: skip
    by_hand = json.loads(made)["spec"]
    assert {key: hpa[key] for key in by_hand} == by_hand


def condition(found: dict[str, Any], kind: str) -> dict[str, Any]:
    """A condition of a status; empty without it."""
    conditions = found.get("status", {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == kind), {})


def until(cluster: Api, kind: str, holds: Any) -> dict[str, Any]:
    """The scorer's object of a kind, once something holds for it."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while True:
        answer = cluster.kubectl("get", kind, "scorer", f"--namespace={SPACE}", "-o", "json")
        found: dict[str, Any] = json.loads(answer)
        if holds(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
