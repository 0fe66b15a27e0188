"""The load of the scorer's benchmark: telemetry that the decoder reads, without gaps in a car's seq."""

from contract.telemetry import Decoder
from loadtest.bench.fleet import Records


def test_the_next_samples_are_one_of_every_car() -> None:
    """Each car once, in another order each time, with the next seq and the given time stamp."""
    records, decoder = Records(50, seed=1, odd_share=0.5), Decoder.of_all_versions()
    first, second = (records.next_samples(slice(0, 50), 1_795_000_000_000 + at) for at in (0, 1))
    for number, samples in enumerate((first, second)):
        decoded = decoder.decode(samples.values, [key.encode() for key in samples.keys])
        assert not decoded.rejected
        assert set(decoded.seq) == {number + 1}
        assert set(decoded.sampled_at_ms) == {1_795_000_000_000 + number}
        assert 10 < samples.odd.sum() < 40
    assert len(set(first.keys)) == 50
    assert first.keys != second.keys


def test_seq_counts_up_when_the_slices_begin_again() -> None:
    """A tick may take only some of the cars; all of them get the same seq before the first gets the next."""
    records, decoder = Records(40, seed=1), Decoder.of_all_versions()
    seqs = []
    for cars in (slice(0, 15), slice(15, 40), slice(0, 15)):
        samples = records.next_samples(cars, 1_795_000_000_000)
        seqs.append(set(decoder.decode(samples.values, [key.encode() for key in samples.keys]).seq.tolist()))
    assert seqs == [{1}, {1}, {2}]
