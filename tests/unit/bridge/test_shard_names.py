"""A shard whose broker has a name."""

from plumbing.mqtt import ConnectionLost

from .one_shard import Dialled, connect, new_shard


class _Names:
    """The name of a broker whose address is not known at first, and then has two."""

    def __init__(self) -> None:
        self.known: str | None = None
        self.losses: list[str | None] = []

    def address(self, _host: str) -> str | None:
        return self.known

    def lost(self, _host: str, unanswered: str | None = None) -> None:
        self.losses.append(unanswered)


def test_a_broker_is_dialled_when_its_address_is_known(dialled: list[Dialled]):
    """While the name is looked up nothing is lost and nothing is waited for."""
    names = _Names()
    shard = new_shard(0, names=names)
    shard.tick(0.0)
    assert (dialled, names.losses) == ([], [])
    names.known = "::1"
    shard.tick(0.1)
    assert len(dialled) == 1


def test_an_address_that_did_not_answer_is_reported_one_that_did_is_not(dialled: list[Dialled]):
    """So that the broker's next address is dialled only where this one does not answer."""
    names = _Names()
    names.known = "::1"
    shard = new_shard(0, names=names)
    shard.tick(0.0)
    shard.lose(0.0, ConnectionLost("ECONNREFUSED"))
    connect(shard, dialled, now=10.0)
    shard.lose(20.0, ConnectionLost("gone"))
    assert names.losses == ["::1", None]


def test_nothing_is_dialled_once_the_end_has_come(dialled: list[Dialled]):
    """A broker that is away has nothing that a bridge which ends could deliver."""
    shard = new_shard(0)
    shard.tick(0.0, dialling=False)
    assert dialled == []
