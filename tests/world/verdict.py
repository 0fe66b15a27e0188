"""What went wrong in a world, by the auditor of `make chaos` and by a scorer that nothing happened to."""

from dataclasses import dataclass, fields

import numpy as np

from contract import records
from contract.joined import Joined
from contract.telemetry import Decoder
from contract.topics import ALERTS, ANOMALIES, AUDIT, CAR_STATE, REJECTED, TELEMETRY, is_challenger
from loadtest.chaos.auditor import AuditedRanges, audit
from local.ledger import SEQ_BITS, Log, Published
from scorer.batch import Batch
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.scoring import score
from scorer.source import Source
from tests.world.processes import EPOCH_S, Killed
from tests.world.world import MODELS_TOPIC, World

_BATCH = 50
_AFTERWARDS_MS = (EPOCH_S + 1_000) * 1_000
_SAME = 1e-3  # of two scores


@dataclass(frozen=True)
class Verdict:
    """Counts of what went wrong; all must be 0."""

    lost: int  # never in Kafka, or never scored
    out_of_order: int  # behind a newer one of their car, in Kafka or in the order of scoring
    scored_twice: int
    refused: int  # dead letters: all cars are honest
    closed_unopened: int  # alerts that closed and never opened
    left_over: int  # states of a challenger in Kafka although its trial is over
    unaudited: int  # offsets that no audit record covers
    misjudged: int  # audit records that do not fit the log
    unfounded: int  # anomalies that a scorer without faults does not find, or with another score
    missing: int  # anomalies that only a scorer without faults finds
    alerts_differ: int  # openings and closings of alerts that only one of both has
    states_differ: int  # cars whose last state in Kafka is not the one that a scorer without faults has
    crashes: int  # processes that ended by an error although nothing killed or suspended them

    @property
    def wrong(self) -> dict[str, int]:
        """What is not 0."""
        counts = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class Course:
    """How much happened."""

    records: int
    duplicates: int  # in Kafka
    kills: int
    take_overs: int
    late: int  # scored after a newer one, because it came so


def judge(world: World) -> tuple[Verdict, Course]:
    """Compare what the cars sent with the logs."""
    decoder = Decoder.of_all_versions()
    edge = _edge_log(world, decoder)
    sent = np.array([len(car.sent) for car in world.fleet])
    published = Published([car.car_id for car in world.fleet], sent, acknowledged=sent)
    audits = [records.decode(each.value())[1] for each in world.log.all(AUDIT)]
    found = audit(published, edge, AuditedRanges.from_records(audits), edge)
    scores = _differences(world, decoder)
    errors = [str(why) for _, why in world.ends if why is not None and not isinstance(why, Killed)]
    stood_still = [error for error in errors if error.startswith("stood still")]
    suspensions = sum(event == "suspension" for _, event in world.events)
    verdict = Verdict(
        lost=len(found.lost),
        out_of_order=len(found.order_violations),
        scored_twice=len(found.scoring.twice),
        refused=len(world.log.all(REJECTED)),
        closed_unopened=_closed_unopened(world),
        left_over=_left_over(world),
        unaudited=len(found.scoring.unaudited),
        misjudged=len(found.scoring.misjudged),
        unfounded=scores[0],
        missing=scores[1],
        alerts_differ=scores[2],
        states_differ=scores[3],
        crashes=len(errors) - min(len(stood_still), suspensions),
    )
    kills = sum(isinstance(why, Killed) for _, why in world.ends)
    late = sum(each["late"] for each in audits)
    return verdict, Course(len(edge.record), len(found.duplicates), kills, world.group.take_overs, late)


def _edge_log(world: World, decoder: Decoder) -> Log:
    messages = world.log.all(TELEMETRY)
    keys = [each.key() for each in messages]
    decoded = decoder.decode_joined(Joined.of([each.value() for each in messages]), Joined.of(keys))
    assert not decoded.rejected
    cars = np.array([int(key.rpartition(b"-")[2]) for key in keys])
    written_at = [
        at for number in range(world.partitions) for at in world.log.appended_at_ms[TELEMETRY, number]
    ]
    return Log(
        np.array([each.partition() for each in messages]),
        np.array([each.offset() for each in messages]),
        cars << SEQ_BITS | decoded.seq,
        decoded.sampled_at_ms,
        np.array(written_at),
    )


def _differences(world: World, decoder: Decoder) -> tuple[int, int, int, int]:
    """(unfounded, missing anomalies, alerts and states that differ) from a scorer that nothing happened to.

    Where the models change it depends on the moment which one scores a record: nothing is compared.
    """
    if len(world.log.of(MODELS_TOPIC, 0)) > 1:
        return 0, 0, 0, 0
    expected, opened, detector = _undisturbed(world, decoder)
    found: dict[tuple[str, int], float] = {}
    unfounded = 0
    for message in world.log.all(ANOMALIES):
        _, anomaly = records.decode(message.value())
        record = anomaly["car_id"], anomaly["seq"]
        found[record] = anomaly["score"]
        unfounded += abs(expected.get(record, np.inf) - anomaly["score"]) > _SAME
    seen = {_change(records.decode(each.value())[1]) for each in world.log.all(ALERTS)}
    missing = len(expected.keys() - found.keys())
    return unfounded, missing, len(seen ^ opened), _states_that_differ(world, detector)


def _closed_unopened(world: World) -> int:
    alerts = [records.decode(message.value())[1] for message in world.log.all(ALERTS)]
    opened, closed = (
        {each["alert_id"] for each in alerts if each["action"] == way} for way in ("opened", "closed")
    )
    return len(closed - opened)


def _left_over(world: World) -> int:
    champion, challenger = 0, None
    for message in world.log.of(MODELS_TOPIC, 0):
        version = None if message.value() is None else records.decode(message.value())[1]["version"]
        if is_challenger(message.key()):
            challenger = version
        else:
            champion = version
    if challenger not in (None, champion):
        return 0
    last = {message.key(): message.value() for message in world.log.all(CAR_STATE)}
    return sum(is_challenger(key) and value is not None for key, value in last.items())


def _states_that_differ(world: World, detector: AnomalyDetector) -> int:
    last = {message.key(): message.value() for message in world.log.all(CAR_STATE)}
    expected, count = detector.generations.newest.column.values, 0
    for number, car in enumerate(detector.cars.ids):
        _, written = records.decode(last.get(car, b""))
        state = np.frombuffer(written["states"][0]["state"], "<f4")
        same = np.allclose(state, expected[number], atol=_SAME)
        count += int(not same or written["seq"] != detector.seq.values[number])
    return count


def _undisturbed(
    world: World, decoder: Decoder
) -> tuple[dict[tuple[str, int], float], set[tuple[object, ...]], AnomalyDetector]:
    """(scores of anomalies, changes of alerts, detector) of one detector that reads the whole log."""
    detector = AnomalyDetector()
    detector.add(Model.open(world.log.of(MODELS_TOPIC, 0)[0].value(), "litert"))
    scores: dict[tuple[str, int], float] = {}
    changes = set()
    for number in range(world.partitions):
        messages = world.log.of(TELEMETRY, number)
        for begin in range(0, len(messages), _BATCH):
            some = messages[begin : begin + _BATCH]
            batch = Batch.of(some, [each.key() for each in some])
            scored = score(
                batch, decoder, detector, now_ms=_AFTERWARDS_MS, scorer="undisturbed", source=Source()
            )
            for _, value in scored.anomalies:
                _, anomaly = records.decode(value)
                scores[anomaly["car_id"], anomaly["seq"]] = anomaly["score"]
            changes |= {_change(alert) for alert in scored.alerts}
    return scores, changes, detector


def _change(alert: dict[str, object]) -> tuple[object, ...]:
    return alert["alert_id"], alert["action"], alert["at"]
