"""docs/architecture.svg is what contract/topics.py and the services say."""

import ast
from typing import Any

import pytest

from contract import topics
from docs import picture


def test_the_committed_picture_is_what_the_command_draws(tree: Any):
    """A changed topic changes the picture: `python -m docs.picture` draws it again."""
    assert picture.FILE.read_text(encoding="utf-8") == picture.draw(), "run python -m docs.picture"


def test_every_topic_stands_in_the_picture():
    """Each topic of the edge and of the cloud has a row with its name, partitions and retention."""
    text = picture.draw()
    for topic in (*topics.edge_topics(), *topics.cloud_topics()):
        assert f">{topic.name}</text>" in text


@pytest.mark.parametrize("folder", ["bridge", "scorer", "trainer"])
def test_the_arrows_of_a_service_are_the_topics_that_it_imports(tree: Any, folder: str):
    """A service that begins or ceases to use a topic changes its arrows."""
    names = {name for name, value in vars(topics).items() if name.isupper() and value in picture.COLOURS}
    used = {name for path in tree.python(folder) for name in _topics_imported(tree.text(path)) & names}
    drawn = {arrow.topic for arrow in picture.ARROWS if arrow.folder == folder}
    assert drawn == {getattr(topics, name) for name in used}


def test_the_boxes_are_folders(tree: Any):
    """Each service in the picture is a folder of this repository."""
    services = (picture.SIMULATOR, picture.BRIDGE, picture.SCORER, picture.TRAINER)
    assert all((tree.root / service.folder / "__main__.py").exists() for service in services)
    assert {arrow.folder for arrow in picture.ARROWS} <= {service.folder for service in services}


def test_a_topic_without_a_row_is_refused():
    """A new topic must be placed by hand; until then the command fails and names it."""
    with pytest.raises(ValueError, match="extra"):
        picture.in_order([topics.Topic("extra", 1)], [])


def _topics_imported(source: str) -> set[str]:
    """Names taken from contract.topics: `from contract.topics import X` or `topics.X`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "contract.topics":
            names |= {alias.name for alias in node.names}
        elif (
            isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "topics"
        ):
            names.add(node.attr)
    return names
