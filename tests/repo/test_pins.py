"""What is installed has a version: `latest` is another program on another day."""

import re
from pathlib import Path
from typing import Any

import pytest

# An image's tag, the path of a download, a module's version. Prose may speak of it.
LATEST = re.compile(r"[\w.-]+[:/@=]latest\b", re.IGNORECASE)
INSTALLS = (
    "k8s",
    "cluster",
    "terraform",
    "local",
    "Dockerfile",
    "Makefile",
    "README.md",
    "CONTRIBUTING.md",
    "docs",
)
CHART = re.compile(r"helm (?:install|upgrade)(?:[^\n]*\\\n)*[^\n]*")


def _texts(tree: Any) -> dict[Path, str]:
    suffixes = {".png", ".jpg", ".svg", ".bin", ".tflite"}
    return {
        path: tree.text(path)
        for path in tree.files
        if path.parts[0] in INSTALLS and path.suffix not in suffixes
    }


@pytest.mark.parametrize(
    "text",
    ["image: eclipse-mosquitto:latest", "https://strimzi.io/install/latest?namespace=x", "go get a@latest"],
)
def test_what_counts_as_latest(text: str):
    """Each of these installs whatever is newest."""
    assert LATEST.search(text)


def test_nothing_is_installed_as_latest(tree: Any):
    """In no manifest, script, image or command of a document."""
    wrong = [
        f"{path}:{number} {line.strip()}"
        for path, text in _texts(tree).items()
        for number, line in enumerate(text.splitlines(), 1)
        if LATEST.search(line)
    ]
    assert not wrong


def test_every_chart_has_a_version(tree: Any):
    """Without --version helm installs the newest."""
    charts = [(path, chart) for path, text in _texts(tree).items() for chart in CHART.findall(text)]
    assert len(charts) >= 6
    assert not [(str(path), chart) for path, chart in charts if "--version" not in chart]


def test_the_manifests_have_the_kafka_of_the_tests(tree: Any):
    """Brokers and MirrorMakers, and the page that says which Strimzi knows it."""
    tested = re.search(r"<kafka.version>(.+)</kafka.version>", tree.text("local/pom.xml"))
    assert tested
    wanted = tested[1]
    kinds = re.compile(r"^kind: (Kafka|KafkaMirrorMaker2)$", re.MULTILINE)
    manifests = [tree.text(path) for path in tree.files if path.parts[0] == "k8s" and path.suffix == ".yaml"]
    versions = [
        re.findall(r"^ +version: (\S+)$", text, re.MULTILINE) for text in manifests if kinds.search(text)
    ]
    assert len(versions) >= 4
    assert {version for found in versions for version in found} == {wanted}
    assert f"Kafka {wanted}" in tree.text("k8s/README.md")
