"""Connections of a shard that the test controls."""

import pytest

from bridge import shard as module
from bridge.shard import Shard

from .one_shard import Dialled, connect, new_shard


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[Dialled]:
    """The connections that the shard dialled, in order."""
    made: list[Dialled] = []

    def dial(_host: str, _port: int) -> Dialled:
        made.append(Dialled())
        return made[-1]

    monkeypatch.setattr(module, "dial", dial)
    return made


@pytest.fixture
def shard(dialled: list[Dialled]) -> Shard:
    """A shard that connected and subscribed at time 0."""
    shard = new_shard(3)
    connect(shard, dialled, now=0.0)
    return shard
