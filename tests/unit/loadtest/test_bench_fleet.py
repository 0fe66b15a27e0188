"""The load of the scorer's benchmark: telemetry that today's decoder reads, gapless per car."""

from contract.framing import schema_ids
from contract.schema import schemas
from contract.telemetry import Decoder
from loadtest.bench.fleet import Records


def test_a_moment_is_one_sample_of_every_car() -> None:
    """Each car once, in another order each time, with the next seq and the stamp asked for."""
    records, decoder = Records(50, seed=1, odd_share=0.5), Decoder(schema_ids(schemas()))
    first, second = (records.moment(slice(0, 50), 1_795_000_000_000 + at) for at in (0, 1))
    for number, moment in enumerate((first, second)):
        decoded = decoder.decode(moment.values, [key.encode() for key in moment.keys])
        assert not decoded.rejected
        assert set(decoded.seq) == {number + 1}
        assert set(decoded.sampled_at_ms) == {1_795_000_000_000 + number}
        assert 10 < moment.odd.sum() < 40
    assert len(set(first.keys)) == 50
    assert first.keys != second.keys


def test_parts_of_a_moment_have_the_same_seq() -> None:
    """Where a tick takes only some of the cars, the seq goes on with the next round."""
    records, decoder = Records(40, seed=1), Decoder(schema_ids(schemas()))
    seqs = []
    for cars in (slice(0, 15), slice(15, 40), slice(0, 15)):
        moment = records.moment(cars, 1_795_000_000_000)
        seqs.append(set(decoder.decode(moment.values, [key.encode() for key in moment.keys]).seq.tolist()))
    assert seqs == [{1}, {1}, {2}]
