"""Step 1: an API server accepts every manifest, with strict field checking and the operators' definitions."""

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from cluster.api import Api
from local.java import ROOT
from plumbing.life import WorldDown
from tests.integration.k8s.rendered import CLUSTERS, CRD_DIR, K8S, Object, build, with_component

pytestmark = pytest.mark.cluster
KEDA = "github.com/kedacore/keda/v2@v2.20.2"  # what k8s/README.md installs
VARIANTS = [(name, "") for name in CLUSTERS]
VARIANTS += [("edge", "keda"), ("edge", "network-policies"), ("edge", "tls"), ("cloud", "gpu")]


@pytest.fixture(scope="session")
def definitions(cluster: Api, figures: dict[str, str]) -> set[str]:
    """The custom kinds that the API server knows now; those that could not be had are named at the end."""
    files = [
        path
        for path in sorted(CRD_DIR.glob("*.yaml"))
        if "kind: CustomResourceDefinition" in path.read_text()
    ]
    if not files:
        figures["NOT CHECKED: kinds of Strimzi and the Prometheus operator"] = (
            f"nothing in {CRD_DIR} (CRD_DIR)"
        )
    if keda := keda_definitions():
        files.append(keda)
    else:
        figures["NOT CHECKED: kinds of KEDA"] = f"the module {KEDA} could not be had"
    for path in files:
        # Server side: they are larger than the annotation that the other way would need.
        cluster.kubectl("apply", "--server-side", "-f", path)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    return {o["spec"]["names"]["kind"] for path in files for o in yaml.safe_load_all(path.read_text()) if o}


def keda_definitions() -> Path | None:
    """ScaledObject's, from KEDA's Go module."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", KEDA], capture_output=True, text=True, check=False, cwd=ROOT.anchor
    )
    try:
        folder = Path(json.loads(done.stdout)["Dir"])
    except (ValueError, KeyError):
        return None
    return folder / "config/crd/bases/keda.sh_scaledobjects.yaml"


@pytest.mark.parametrize(("name", "component"), VARIANTS)
def test_the_api_server_accepts_it(
    *,
    cluster: Api,
    definitions: set[str],
    figures: dict[str, str],
    tmp_path: Path,
    name: str,
    component: str,
) -> None:
    """Server-side dry run, strict: no unknown field, no warning; kinds without a definition are named."""
    objects = with_component(name, component, tmp_path) if component else build(K8S / "clusters" / name)
    for o in objects:
        if o["kind"] == "Namespace":  # what is in it is refused without it
            apply(cluster, [o], "--server-side", "--force-conflicts")
    checked, unchecked = [], set()
    for o in objects:
        own = "." not in o["apiVersion"].partition("/")[0] or ".k8s.io/" in o["apiVersion"]
        if own or o["kind"] in definitions:
            checked.append(o)
        else:
            unchecked.add(o["kind"])
    began_at = time.monotonic()
    done = apply(
        cluster, checked, "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"
    )
    what = f"clusters/{name}" + (f" with components/{component}" if component else "")
    figures[f"accepted: {what}"] = f"{len(checked)} objects, {time.monotonic() - began_at:.1f} s"
    if unchecked:
        figures[f"NOT CHECKED in {what}"] = ", ".join(sorted(unchecked))
    assert done.stdout.count("serverside-applied (server dry run)") == len(checked)
    # On the host's network a pod cannot keep to `restricted`; everywhere else it does.
    warnings = [line for line in done.stderr.splitlines() if name != "local" or "hostNetwork" not in line]
    assert warnings == []


def test_an_unknown_field_is_refused(cluster: Api) -> None:
    """The check above is one: the API server refuses what it does not know."""
    wrong = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "namespace": "default"},
        "dada": {},
    }
    with pytest.raises(WorldDown, match="dada"):
        apply(cluster, [wrong], "--server-side", "--dry-run=server", "--validate=strict")


def apply(cluster: Api, objects: list[Object], *flags: str) -> "subprocess.CompletedProcess[str]":
    """Give objects to the API server. Raises WorldDown where it refuses one."""
    done = cluster.ask(
        "apply", *flags, "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    if done.returncode != 0:
        raise WorldDown(done.stderr)
    return done
