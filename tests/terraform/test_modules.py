"""The rules of terraform/ that need no terraform: every module has the same shape and describes itself."""

import re

import pytest

from . import tables
from .hcl import CLOUDS, FOLDERS, MODULES, ROOT, folder, references

FILES = {"main.tf", "variables.tf", "outputs.tf", "versions.tf"}


@pytest.mark.parametrize("path", FOLDERS)
def test_four_files(path: str):
    """Who knows one module finds everything in the others: main, variables, outputs, versions."""
    assert {file.name for file in (ROOT / path).glob("*.tf")} == FILES


@pytest.mark.parametrize("path", FOLDERS)
def test_every_variable_is_typed_described_and_validated(path: str):
    """A wrong value is refused by name before anything is made; a bool's type says all there is to say."""
    variables = folder(path).variables
    assert variables
    for name, body in variables.items():
        assert len(body["description"]) > 10, name
        assert "type" in body, name
        assert body["type"] == "bool" or body.get("validation"), f"{name} has no validation"
        assert all(len(rule["error_message"]) > 15 for rule in body.get("validation", [])), name


@pytest.mark.parametrize("path", FOLDERS)
def test_every_output_is_described(path: str):
    """And there is at least one."""
    outputs = folder(path).outputs
    assert outputs
    assert all(len(body["description"]) > 10 and body["value"] for body in outputs.values())


@pytest.mark.parametrize("path", FOLDERS)
def test_readme_tables_are_of_today(path: str):
    """`python -m tests.terraform.tables` writes them."""
    text = tables.readme(path).read_text()
    assert tables.renewed(text, folder(path)) == text


@pytest.mark.parametrize("path", FOLDERS)
def test_what_is_referred_to_is_declared_and_the_other_way_round(path: str):
    """No variable without a use, no use without a declaration; the same for locals."""
    read = folder(path)
    assert references(read, "var") == set(read.variables)
    assert references(read, "local") == set(read.local_values)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_roots_give_the_modules_what_they_take(cloud: str):
    """Every input of a module, no other; every output that is read exists."""
    root = folder(cloud)
    assert {module["source"] for module in root.modules.values()} == {
        f"../modules/{cloud}/{n}" for n in root.modules
    }
    for name, module in root.modules.items():
        taken = folder(f"modules/{cloud}/{name}")
        optional = {variable for variable, body in taken.variables.items() if "default" in body}
        given = {argument for argument in module if not argument.startswith("__")} - {"source"}
        assert given <= set(taken.variables)
        assert set(taken.variables) - optional <= given
        read = set(re.findall(rf"\bmodule\.{name}\.(\w+)", root.expressions))
        assert read <= set(taken.outputs)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_outputs_give_the_next_commands(cloud: str):
    """After apply a person types what the outputs say: kubeconfig, registry, deployment."""
    outputs = folder(cloud).outputs
    commands = {name: body["value"] for name, body in outputs.items() if name.endswith("_command")}
    assert set(commands) == {"kubeconfig_command", "registry_login_command", "apply_command"}
    assert "apply -k k8s/clusters/" in commands["apply_command"]


@pytest.mark.parametrize("document", ["k8s/README.md", "terraform/README.md"])
def test_documented_outputs_exist(document: str):
    """`terraform output x` in a document is an output of both roots, but for what is only AWS's."""
    named = set(
        re.findall(r"terraform (?:-chdir=\S+ )?output(?: -raw)? (\w+)", (ROOT.parent / document).read_text())
    )
    assert named
    assert named <= set(folder("aws").outputs)
    assert named - {"autoscaler_role_arn"} <= set(folder("gcp").outputs)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_sites_differ_only_by_variables(cloud: str):
    """edge and cloud are files of variables of the same root; both and the example set only what there is."""
    required = {name for name, body in folder(cloud).variables.items() if "default" not in body}
    example = _set_in(f"{cloud}/terraform.tfvars.example")
    for site in ("edge", "cloud"):
        values = _set_in(f"{site}/{cloud}.tfvars")
        assert (values | example) <= set(folder(cloud).variables)
        assert required <= values | example
        assert f'"{site}"' in (ROOT / site / f"{cloud}.tfvars").read_text()
        assert not values & example


def _set_in(path: str) -> set[str]:
    return set(re.findall(r"^(\w+)\s*=", (ROOT / path).read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", FOLDERS)
def test_no_secret_has_a_place(path: str):
    """Neither a variable nor an argument is called like one: clouds know the caller, pods their account."""
    words = re.compile(r"password|secret|access_key|private_key|credential|token", re.IGNORECASE)
    names = {*folder(path).variables, *(n for item in folder(path).resources.values() for n in item.names)}
    assert not [name for name in names if words.search(name)]


def test_versions_are_the_same_everywhere():
    """One version of Terraform, one constraint a provider, in the roots and in the modules."""
    for cloud in CLOUDS:
        paths = [cloud, *(path for path in MODULES if path.startswith(f"modules/{cloud}/"))]
        texts = [(ROOT / path / "versions.tf").read_text() for path in paths]
        constraints = {tuple(re.findall(r'version\s*=\s*"(.+)"', text)) for text in texts}
        assert len(constraints) == 1
