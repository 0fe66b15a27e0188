"""Every resource of both clouds against the schema of a current provider (make terraform)."""

from typing import Any

import pytest

from .conftest import SUMMARY
from .downloads import AWS_SCHEMA, GOOGLE_SCHEMA, wheel
from .hcl import CLOUDS, FOLDERS, META, Item, attributes, folder
from .schemas import Provider, Schema

pytestmark = pytest.mark.terraform

REQUIREMENTS = {"aws": AWS_SCHEMA, "google": GOOGLE_SCHEMA}


@pytest.fixture(scope="session")
def providers() -> dict[str, Provider]:
    """Folder: its provider's schemas."""
    read = {cloud: Provider(wheel(REQUIREMENTS[name]), name) for cloud, name in CLOUDS.items()}
    for cloud, provider in read.items():
        kinds = {kind for path in _folders(cloud) for kind, _ in folder(path).resources}
        SUMMARY.append(f"{CLOUDS[cloud]} {provider.version}: schema of {len(kinds)} resource types compared")
    return read


def _folders(cloud: str) -> list[str]:
    return [path for path in FOLDERS if cloud in path.split("/")]


def faults(item: Item, schema: Schema, where: str) -> list[str]:
    """What a resource or block sets that there is not, sets in the wrong form, or lacks."""
    found = [f"{where}: no argument {name}" for name in item.arguments if name not in schema.plain | META]
    found += [f"{where}: {name} is missing" for name in schema.required - item.names]
    seen: set[str] = set()
    for name, block in item.blocks:
        if name == "lifecycle":
            continue
        if name not in schema.blocks:
            found.append(f"{where}: no block {name}")
            continue
        if name in seen and name not in schema.repeated:
            found.append(f"{where}: {name} stands twice")
        seen.add(name)
        found += faults(block, schema.blocks[name], f"{where}.{name}")
    return found


@pytest.mark.parametrize("path", FOLDERS)
def test_arguments_are_the_current_providers(providers: dict[str, Provider], path: str):
    """Every resource type exists, sets only what there is, and all that is required, in nested blocks too."""
    provider = next(provider for cloud, provider in providers.items() if path in _folders(cloud))
    wrong = [
        fault
        for (kind, name), item in folder(path).resources.items()
        for fault in faults(item, provider.resource(kind), f"{kind}.{name}")
    ]
    assert not wrong


@pytest.mark.parametrize("cloud", CLOUDS)
def test_providers_are_configured_with_what_there_is(providers: dict[str, Provider], cloud: str):
    """The provider's own block is checked in this way, too."""
    (configured,) = folder(cloud).providers.items()
    assert configured[0] == CLOUDS[cloud]
    assert not faults(configured[1], providers[cloud].configuration, configured[0])


@pytest.mark.parametrize("path", FOLDERS)
def test_references_are_to_what_there_is(providers: dict[str, Provider], path: str):
    """A reference names a resource of the folder and an attribute that its type has."""
    cloud = next(cloud for cloud in CLOUDS if path in _folders(cloud))
    read = folder(path)
    found = attributes(read, CLOUDS[cloud])
    wrong = [
        f"{kind}.{name}.{attribute}"
        for kind, name, attribute in found
        if (kind, name) not in read.resources or attribute not in providers[cloud].resource(kind).attributes
    ]
    assert not wrong


def test_references_are_found():
    """In brackets, in templates and in lists, too; or the test above would have nothing to look at."""
    found = attributes(folder("modules/aws/network"), "aws")
    assert ("aws_nat_gateway", "this", "id") in found
    assert ("aws_eks_cluster", "this", "identity") in attributes(folder("modules/aws/cluster"), "aws")
    assert len(found) >= 7


def test_the_comparison_sees_faults(providers: dict[str, Provider]):
    """An unknown type or argument, a missing one, a block that is none, a block twice: each is named."""
    schema = providers["aws"].resource("aws_eks_node_group")
    scaling = Item({"min_size": 0, "max_size": 1, "desired_size": 0})
    sound: dict[str, Any] = {"cluster_name": "x", "node_role_arn": "x", "subnet_ids": []}
    assert not faults(Item(sound, [("scaling_config", scaling)]), schema, "x")
    assert faults(Item(sound), schema, "x") == ["x: scaling_config is missing"]
    broken = Item(sound | {"gpu": True}, [("scaling_config", Item({"min": 0}))] * 2 + [("ami_type", Item())])
    assert sorted(set(faults(broken, schema, "x"))) == [
        "x.scaling_config: desired_size is missing",
        "x.scaling_config: max_size is missing",
        "x.scaling_config: min_size is missing",
        "x.scaling_config: no argument min",
        "x: no argument gpu",
        "x: no block ami_type",
        "x: scaling_config stands twice",
    ]
    with pytest.raises(KeyError):
        providers["aws"].resource("aws_eks_nodegroup")
