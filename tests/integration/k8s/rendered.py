"""What kustomize makes of k8s/, and whether its objects have the shape that their kinds allow."""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes.client
import pytest
import yaml

from local.java import ROOT

K8S = ROOT / "k8s"
CLUSTERS = ("local", "edge", "cloud")
# What the operators' releases publish; not part of this repository.
CRD_DIR = Path(os.environ.get("CRD_DIR", ROOT / "../shared/crds"))
# KEDA's come with its Go module; `make cluster` checks them on a real API server.
CHECKED_ELSEWHERE = {"ScaledObject"}
Object = dict[str, Any]


def kubectl() -> str:
    """The one that `local/setup --dev` fetched, else the machine's."""
    own = ROOT / "var/kubectl/kubectl"
    found = str(own) if own.exists() else shutil.which("kubectl")
    if found is None:
        pytest.fail("no kubectl: `local/setup --dev` fetches one")
    return found


@functools.cache
def build(folder: Path) -> tuple[Object, ...]:
    """All objects that `kubectl kustomize` prints for a folder."""
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def cluster(name: str) -> tuple[Object, ...]:
    """All objects of clusters/<name>."""
    return build(K8S / "clusters" / name)


def with_component(name: str, component: str, folder: Path) -> tuple[Object, ...]:
    """clusters/<name> with one more component, built in an empty folder."""
    path = {part: os.path.relpath(K8S / part, folder) for part in ("clusters", "components")}
    text = (
        f"namespace: connected-cars\nresources: [{path['clusters']}/{name}]\n"
        f"components: [{path['components']}/{component}]\n"
    )
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    return build(folder)


def named(objects: tuple[Object, ...], kind: str, name: str) -> Object:
    """The one object of a kind and name; a ConfigMap's hash does not count."""
    found = [
        o
        for o in objects
        if o["kind"] == kind and re.fullmatch(re.escape(name) + r"(-[a-z0-9]{10})?", o["metadata"]["name"])
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pod_templates(objects: tuple[Object, ...]) -> dict[str, Object]:
    """Pod templates by kind and name."""
    found = {}
    for o in objects:
        spec = o.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template", {})
        if "containers" in template.get("spec", {}):
            found[f"{o['kind']} {o['metadata']['name']}"] = template
    return found


@functools.cache
def custom_schemas() -> dict[tuple[str, str], Object]:
    """The OpenAPI schema of every custom kind in CRD_DIR, by apiVersion and kind."""
    found = {}
    for path in sorted(CRD_DIR.glob("*.yaml")):
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        for version in definition["versions"]:
            key = f"{definition['group']}/{version['name']}", definition["names"]["kind"]
            found[key] = version["schema"]["openAPIV3Schema"]
    return found


def faults(o: Object) -> list[str] | None:
    """What is wrong with the shape of an object; None where nothing here knows its kind."""
    where = f"{o['kind']} {o['metadata']['name']}"
    if schema := custom_schemas().get((o["apiVersion"], o["kind"])):
        # `metadata` is Kubernetes' own.
        return [*_against(schema, {k: v for k, v in o.items() if k != "metadata"}, where)]
    version = o["apiVersion"].rpartition("/")[2]
    model = getattr(kubernetes.client, f"V{version.removeprefix('v')}{o['kind']}", None)
    return None if model is None else [*_as_model(model, o, where)]


def _against(schema: Object, value: Any, where: str) -> list[str]:
    """Against an OpenAPI schema: unknown and missing fields, types, enumerations."""
    kind = schema.get("type")
    if kind == "object" and isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties")
        wrong = [f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, inner in value.items():
            if name in properties:
                wrong += _against(properties[name], inner, f"{where}.{name}")
            elif isinstance(more, dict):
                wrong += _against(more, inner, f"{where}.{name}")
            elif not schema.get("x-kubernetes-preserve-unknown-fields") and name not in (
                "apiVersion",
                "kind",
            ):
                wrong.append(f"{where}: there is no {name}")
        return wrong
    if kind == "array" and isinstance(value, list):
        return [w for i, v in enumerate(value) for w in _against(schema["items"], v, f"{where}[{i}]")]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is none of {schema['enum']}"]
    python = {
        "string": str,
        "integer": int,
        "boolean": bool,
        "number": (int, float),
        "object": dict,
        "array": list,
    }
    if kind in python and not isinstance(value, python[kind]):
        return [f"{where}: {value!r} is no {kind}"]
    return []


def _as_model(model: Any, value: Any, where: str) -> list[str]:
    """Against a model of the Python client: unknown fields, and lists, objects and scalars in their place."""
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no {model.__name__}"]
    types = {json: model.openapi_types[python] for python, json in model.attribute_map.items()}
    wrong = [f"{where}: there is no {name}" for name in value if name not in types]
    for name, inner in value.items():
        if name in types:
            wrong += _as_type(types[name], inner, f"{where}.{name}")
    return wrong


def _as_type(name: str, value: Any, where: str) -> list[str]:
    if inner := re.fullmatch(r"List\[(.+)\]", name):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [w for i, v in enumerate(value) for w in _as_type(inner[1], v, f"{where}[{i}]")]
    if inner := re.fullmatch(r"Dict\[str, (.+)\]", name):
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no object"]
        return [w for k, v in value.items() for w in _as_type(inner[1], v, f"{where}.{k}")]
    python = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}.get(name)
    if python is not None:
        exact = type(value) in python
        return [] if exact else [f"{where}: {value!r} is no {name}"]
    model = getattr(kubernetes.client, name, None)
    return [] if model is None else _as_model(model, value, where)
