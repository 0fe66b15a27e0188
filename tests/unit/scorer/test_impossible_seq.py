"""Sequence numbers that cannot be true silence no car, and what was scored stays scored once."""

import random
from typing import Any

import numpy as np
import pytest

from contract.alert_rule import AlertRule
from contract.bounds import SEQ_MAX
from contract.telemetry import Decoder
from scorer.batch import Batch
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.scoring import score
from scorer.seen import BELIEVED_RUN, JUMP_MAX
from scorer.source import Source

from .fleet import SAMPLED_AT_MS, Fleet
from .test_seen import Seen, sift
from .test_snapshots import hand_over

FAR = SEQ_MAX
BATCHES = [1, 7, 400]


def feed(seen: Seen, *samples: tuple[int, int], batch: int = 400) -> str:
    """The verdicts on (seq, second) of car `a`, in batches."""
    verdicts = ""
    for begin in range(0, len(samples), batch):
        part = samples[begin : begin + batch]
        verdicts += sift(seen, *[("a", seq) for seq, _ in part], at_s=[at_s for _, at_s in part])
    return verdicts


def life(first_seq: int, begin_s: int, count: int) -> list[tuple[int, int]]:
    """(seq, second) of samples a second apart."""
    return [(first_seq + n, begin_s + n) for n in range(count)]


@pytest.mark.parametrize("batch", BATCHES)
def test_one_far_seq_is_refused_and_changes_nothing(batch: int):
    """The true samples after it are new, whether it comes alone or 40 times."""
    seen = Seen()
    assert feed(seen, *life(1, 0, 10), (FAR, 10), *life(11, 11, 5), batch=batch) == "n" * 10 + "i" + "n" * 5
    far = [(FAR - n * 1_000, 16 + n) for n in range(40)]
    assert feed(seen, *far, *life(16, 60, 5), batch=batch) == "i" * 40 + "n" * 5


@pytest.mark.parametrize("bit", range(34))
def test_any_flipped_bit_costs_at_most_64_samples(bit: int):
    """A bit of one seq flips; after 64 more samples all are new, and none is lost but those refused."""
    seen, seqs = Seen(), [*range(5_000, 5_400)]
    seqs[100] ^= 1 << bit
    verdicts = feed(seen, *((seq, n) for n, seq in enumerate(seqs)))
    assert set(verdicts[:100] + verdicts[100 + 1 + JUMP_MAX :]) == {"n"}
    assert "d" not in verdicts[101:]


def test_a_gap_that_time_explains_is_no_wonder():
    """After ten minutes without a sample seq may be 600 higher, or four times that; not 3 000."""
    for ahead, verdict in ((600, "n"), (4 * 600 + 64, "n"), (3_000, "i")):
        seen = Seen()
        assert feed(seen, *life(1, 0, 5), (5 + ahead, 4 + 600)) == "n" * 5 + verdict


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("first", [0, 1, 3])
@pytest.mark.parametrize("before", [100, 1_000, 100_000])
def test_a_car_that_lost_its_memory_is_believed_after_64_samples(before: int, first: int, batch: int):
    """Its seq begins anew while time goes on; duplicates of either life stay duplicates."""
    seen, old, new = Seen(), life(before, 0, 500), life(first, 600, 200)
    feed(seen, *old, batch=batch)
    assert feed(seen, *new, batch=batch) == "i" * (BELIEVED_RUN - 1) + "n" * (200 - BELIEVED_RUN + 1)
    assert set(feed(seen, *old, *new)) == {"d"}
    assert feed(seen, *life(first + 200, 800, 5), batch=batch) == "nnnnn"


def test_a_car_that_ran_ahead_is_believed_and_its_gap_stays_open():
    """What was lost in between may still come, late."""
    seen = Seen()
    feed(seen, *life(1, 0, 10))
    assert feed(seen, *life(50_000, 10, 65)) == "i" * 63 + "nn"
    assert feed(seen, (40_000, 9), (40_000, 9)) == "ld"


def test_samples_sent_again_are_no_new_life():
    """A car that sends its last 300 samples again after a reconnect, several times: all are duplicates."""
    seen = Seen()
    feed(seen, *life(1_000, 0, 500))
    for _ in range(3):
        assert set(feed(seen, *life(1_200, 200, 300), batch=50)) == {"d"}
    assert feed(seen, *life(1_500, 500, 5)) == "nnnnn"


def test_the_run_may_be_sent_again_in_between():
    """A redelivery of impossible samples counts once, and does not begin their run anew."""
    seen, new = Seen(), life(1, 600, 80)
    feed(seen, *life(5_000, 0, 100))
    assert feed(seen, *new[:40]) == "i" * 40
    assert set(feed(seen, *new[20:40])) == {"d"}
    assert feed(seen, *new[40:]) == "i" * 23 + "n" * 17


@pytest.mark.parametrize("batch", BATCHES)
def test_a_twin_does_not_take_the_place_of_a_car(batch: int):
    """Two cars with one id: the one that was first stays, the other's samples are no run."""
    seen = Seen()
    feed(seen, *life(5_000, 0, 100))
    both = [sample for pair in zip(life(5_100, 100, 300), life(1, 100, 300), strict=True) for sample in pair]
    verdicts = feed(seen, *both, batch=batch)
    assert set(verdicts[::2]) == {"n"}
    assert set(verdicts[1::2]) <= {"i", "d"}


def test_a_clock_set_back_is_no_new_life():
    """An hour back: the samples go on being new; those sent again are duplicates."""
    seen, before, after = Seen(), life(1, 10_000, 200), life(201, 6_400, 200)
    feed(seen, *before)
    assert feed(seen, *after, batch=30) == "n" * 200
    assert set(feed(seen, *before, *after, batch=30)) == {"d"}


@pytest.mark.parametrize("batch", BATCHES)
def test_a_gap_while_the_clock_is_an_hour_behind_silences_for_64_samples(batch: int):
    """Retention was faster than the scorers: 100 samples are missing, and no time explains them."""
    seen, before, after = Seen(), life(1, 10_000, 200), life(301, 6_400, 200)
    feed(seen, *before)
    assert feed(seen, *after, batch=batch) == "i" * 63 + "n" * 137
    assert set(feed(seen, *before, *after[63:], batch=batch)) == {"d"}
    assert feed(seen, (250, 9_000), *life(501, 10_400, 5)) == "lnnnnn"  # the clock is right again


@pytest.mark.parametrize("seed", range(20))
def test_no_sample_is_new_twice_in_any_disorder(seed: int):
    """Lives, far numbers, parts sent again, late ones, in batches of any size: fresh at most once each."""
    chance, seen = random.Random(seed), Seen()
    sent: list[tuple[int, int]] = []
    at_s, seq, stream = 0, chance.choice([0, 1, 70, 5_000]), list[tuple[int, int]]()
    for _ in range(40):
        what = chance.random()
        if what < 0.1:
            seq = chance.choice([0, 1])
            at_s += 5
        elif what < 0.3:
            stream.append((chance.randrange(2**34), at_s))
        elif what < 0.6 and sent:
            begin = chance.randrange(len(sent))
            stream += sent[begin : begin + chance.randrange(1, 200)]
        for _ in range(chance.randrange(100)):
            sent.append((seq, at_s))
            stream.append((seq, at_s))
            seq, at_s = seq + 1, at_s + 1
    fresh: list[tuple[int, int]] = []
    while stream:
        size = chance.choice([1, 3, 50, 400])
        part, stream = stream[:size], stream[size:]
        fresh += [sample for sample, v in zip(part, feed(seen, *part), strict=True) if v in "nl"]
    assert len(fresh) == len(set(fresh))


@pytest.fixture
def make(detector: Any) -> Model:
    return Model.open(detector.record(1, 80.0, alert=AlertRule(smoothing=0.5)), "litert")


def drive(fleet: Fleet, signals: Any, first_seq: int, begin_s: int, count: int = 100) -> None:
    """Samples of car `a`, a second apart, in batches of one."""
    for seq, at_s in life(first_seq, begin_s, count):
        fleet.records([("a", seq)], signals[None, :], at_ms=[1_000 * at_s])


@pytest.mark.parametrize("then", ["goes on", "begins anew"])
def test_alerts_open_again_within_64_samples(make: Model, detector: Any, then: str):
    """After one far seq, or after the car has lost its memory, a fault is seen; also by a successor."""
    odd = detector.mean + 40 * detector.spread
    fleet, successor = Fleet(make), Fleet(make)
    drive(fleet, detector.mean, 1_000, 0, 10)
    fleet.records([("a", FAR)], detector.mean[None, :], at_ms=[10_000])
    first = 1_010 if then == "goes on" else 1
    drive(fleet, odd, first, 20)
    assert fleet.changes[0][0::2] == ("a", True)
    assert (first, FAR) not in fleet.scores
    hand_over(fleet, successor)
    drive(successor, detector.mean, first + 100, 120)
    assert [opened for *_, opened in successor.changes] == [False]


def test_a_state_that_says_a_far_seq_is_left_behind(make: Model, detector: Any):
    """A state written by an earlier release, after one sample with a far seq, silences no car."""
    old, new = Fleet(make), Fleet(make)
    drive(old, detector.mean, FAR, 0, 1)
    hand_over(old, new)
    drive(new, detector.mean + 40 * detector.spread, 1, 20)
    assert [opened for *_, opened in new.changes] == [True]


def test_the_audit_and_the_dead_letter_of_an_impossible_seq(
    make: Model, detector: Any, decoder: Decoder, telemetry_log: Any, telemetry_values: Any
):
    """It counts as rejected, not as a duplicate, and its detail says what it was measured by."""
    cars = AnomalyDetector()
    cars.add(make)
    values = telemetry_values(["a"] * 4, [7, 8, FAR, 8], np.tile(detector.mean, (4, 1)), SAMPLED_AT_MS)
    messages = [telemetry_log.append(value, b"a") for value in values]
    batch = Batch.of(messages, [m.key() for m in messages])
    scored = score(batch, decoder, cars, now_ms=SAMPLED_AT_MS, scorer="s", source=Source())
    (audit,) = scored.audits
    assert [audit[name] for name in ("scored", "duplicates", "late", "rejected")] == [2, 1, 0, 1]
    ((error, record),) = scored.rejected
    assert (record.offset, record.value) == (messages[2].offset(), values[2])
    assert str(error) == (
        f"impossible_seq: seq {FAR} sampled at {SAMPLED_AT_MS}: the car was at seq 8 at {SAMPLED_AT_MS} "
        "(ms since 1970)"
    )
