"""terraform/aws, really applied to an emulator and destroyed again, as edge and as cloud (make terraform)."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import SUMMARY
from .downloads import OLD_AWS
from .emulator import Copy, Moto, Terraform, copy, moto
from .hcl import ROOT

pytestmark = pytest.mark.terraform

# What the old provider does not know; only the schema of the current one has seen it (test_schemas.py).
UNCHECKED = {
    "aws_ecr_repository.force_delete",
    "aws_eip.domain",
    "aws_eks_addon.configuration_values",
    "aws_eks_addon.resolve_conflicts_on_create",
    "aws_eks_cluster.access_config",
    "aws_eks_cluster.upgrade_policy",
    "aws_eks_node_group.taint",
}
# What a site adds, besides its node groups and gateways.
MADE = {"clusters": 1, "networks": 1, "subnets": 6, "roles": 5, "repositories": 4}
OF_SITE = {"edge": {"node groups": 1, "gateways": 1}, "cloud": {"node groups": 2, "gateways": 3}}


@pytest.fixture(scope="session", autouse=True)
def program() -> None:
    """Without terraform nothing here means anything."""
    if shutil.which("terraform") is None:
        pytest.fail("there is no terraform on the PATH: install 1.11 or newer", pytrace=False)


@pytest.fixture(scope="module")
def adapted() -> Copy:
    """The copy, made to fit the old provider by comparing the two; initialised."""
    made = copy()
    # Nothing can be read from a provider before init, and init needs only the constraints.
    terraform = Terraform(made.path / "aws")
    terraform("init", "-input=false", "-no-color")
    made.adapt(terraform.old_schemas())
    SUMMARY.append(f"init: {terraform.times_s['init']:.1f} s with hashicorp/aws {OLD_AWS}")
    return made


@pytest.fixture(scope="module")
def emulator() -> Iterator[Moto]:
    with moto() as running:
        yield running


def test_files_are_formatted():
    """`terraform fmt -check` has nothing to say."""
    for folder in (ROOT, ROOT.parent / "tests" / "terraform"):
        done = subprocess.run(
            ["terraform", "fmt", "-check", "-recursive", "-diff", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_old_provider_cannot_check_is_known(adapted: Copy):
    """Exactly these arguments are left out, and terraform/README.md says so."""
    assert adapted.left_out == UNCHECKED
    text = (ROOT / "README.md").read_text()
    assert not [name for name in UNCHECKED if f"`{name}`" not in text]
    SUMMARY.append(f"not known to {OLD_AWS}, compared with the schema alone: {', '.join(sorted(UNCHECKED))}")


@pytest.mark.parametrize("site", ["edge", "cloud"])
def test_a_site_is_made_stays_as_it_is_and_goes(adapted: Copy, emulator: Moto, site: str):
    """validate, plan, apply, a second plan that has nothing to do, outputs, destroy; then nothing is left."""
    terraform = Terraform(adapted.path / "aws")
    given = [
        f"-var-file=../{site}/aws.tfvars",
        "-var-file=terraform.tfvars.example",
        f"-var=emulator={emulator.url}",
    ]
    quiet = ["-input=false", "-no-color"]
    before = emulator.counts()
    terraform("workspace", "select", "-or-create", site)
    terraform("validate", "-no-color")
    terraform("plan", *quiet, *given, "-out=plan")
    planned = _planned(terraform)
    terraform("apply", *quiet, "plan")

    after = emulator.counts()
    assert {kind: after[kind] - before[kind] for kind in after} == MADE | OF_SITE[site]
    again = terraform("plan", *quiet, *given, "-detailed-exitcode", step="second plan", codes=(0, 2))
    assert again.returncode == 0, again.stdout[-4000:]
    _outputs_are_commands(json.loads(terraform("output", "-json").stdout), site)

    terraform("destroy", *quiet, *given, "-auto-approve")
    assert terraform("state", "list").stdout == ""
    assert emulator.counts() == before
    steps = ("validate", "plan", "apply", "second plan", "destroy")
    times = ", ".join(f"{step} {terraform.times_s[step]:.1f} s" for step in steps)
    SUMMARY.append(f"aws {site}: {planned} resources; {times}; second plan: no changes")


def test_another_sites_variables_are_refused(adapted: Copy, emulator: Moto):
    """The cloud's variables in the edge's workspace would rebuild the edge as a cloud: no plan is made."""
    terraform = Terraform(adapted.path / "aws")
    terraform("workspace", "select", "-or-create", "edge")
    given = [
        "-var-file=../cloud/aws.tfvars",
        "-var-file=terraform.tfvars.example",
        f"-var=emulator={emulator.url}",
    ]
    refused = terraform("plan", "-input=false", "-no-color", *given, codes=(1,))
    assert "workspace select -or-create cloud" in " ".join(refused.stderr.replace("│", " ").split())


def test_wrong_values_are_refused_before_anything_is_made(adapted: Copy, emulator: Moto):
    """Each by the message of the rule that it breaks."""
    group = '{machine="m7i.large",disk_gb=50,nodes_min=3,nodes_max=2}'
    broken = {
        'api_cidrs=["0.0.0.0/0"]': "not the whole world",
        'zones=["a"]': "two to four",
        "cidr=10.20.0.0/30": "from /16 to /20",
        f"node_groups={{general={group}}}": "at least nodes_min",
    }
    terraform = Terraform(adapted.path / "aws")
    terraform("workspace", "select", "-or-create", "edge")
    given = [
        "-var-file=../edge/aws.tfvars",
        "-var-file=terraform.tfvars.example",
        f"-var=emulator={emulator.url}",
    ]
    wrong = [f"-var={value}" for value in broken]
    refused = terraform("plan", "-input=false", "-no-color", *given, *wrong, codes=(1,))
    output = " ".join(refused.stderr.replace("│", " ").split())
    assert not [message for message in broken.values() if message not in output]


def _planned(terraform: Terraform) -> int:
    changes = json.loads(terraform("show", "-json", "plan").stdout)["resource_changes"]
    assert {tuple(change["change"]["actions"]) for change in changes} == {("create",)}
    return len(changes)


def _outputs_are_commands(outputs: dict[str, Any], site: str) -> None:
    values = {name: output["value"] for name, output in outputs.items()}
    assert values["cluster_name"] == f"connected-cars-{site}"
    assert values["registry"].endswith(f".dkr.ecr.eu-central-1.amazonaws.com/connected-cars-{site}")
    assert values["apply_command"].endswith(f"k8s/clusters/{site}")
    assert re.fullmatch(r"arn:aws:iam::\d+:role/connected-cars-\w+-autoscaler", values["autoscaler_role_arn"])
