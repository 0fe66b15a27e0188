"""The load of the scorer's benchmark: telemetry that the decoder reads, without gaps in a car's seq."""

import numpy as np

from contract.telemetry import Decoded, Decoder
from loadtest.bench.fleet import Records


def _decode(samples: tuple[list[str], list[bytes]]) -> Decoded:
    keys, values = samples
    return Decoder.of_all_versions().decode(values, [key.encode() for key in keys])


def test_the_next_samples_are_one_of_every_car() -> None:
    """Each car once, in another order each time, with the next seq and the given time stamp."""
    records = Records(50, seed=1)
    first, second = (records.next_samples(slice(0, 50), 1_795_000_000_000 + at) for at in (0, 1))
    for number, samples in enumerate((first, second)):
        decoded = _decode(samples)
        assert not decoded.rejected
        assert set(decoded.seq) == {number + 1}
        assert set(decoded.sampled_at_ms) == {1_795_000_000_000 + number}
    assert len(set(first[0])) == 50
    assert first[0] != second[0]


def test_the_given_share_of_the_samples_is_odd() -> None:
    """One signal of theirs differs from what the car would have sent otherwise."""
    odd, usual = (
        _decode(Records(50, seed=1, odd_share=share).next_samples(slice(0, 50), 1_795_000_000_000)).signals
        for share in (0.5, 0.0)
    )
    assert 10 < np.count_nonzero((odd != usual).any(axis=1)) < 40


def test_seq_counts_up_when_the_slices_begin_again() -> None:
    """A tick may take only some of the cars; all of them get the same seq before the first gets the next."""
    records = Records(40, seed=1)
    slices = (slice(0, 15), slice(15, 40), slice(0, 15))
    seqs = [set(_decode(records.next_samples(cars, 1_795_000_000_000)).seq.tolist()) for cars in slices]
    assert seqs == [{1}, {1}, {2}]
