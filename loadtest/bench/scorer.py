"""The scorer: a backlog and a steady load, from Kafka's bytes to committed results, in a real Kafka.

Twice: with a graph without state, and (`state_…`) with the trainer's, which keeps a state for every car; then
the scorer also writes car-state records.

- drain: `records` records of a simulated fleet wait in the 12 partitions, 1 % of them odd. `python -m scorer`
  starts without a model and so reads nothing; then the model is published. The clock runs from the first
  batch's score to the last audit record in Kafka; CPU (user and system, all threads) counts from before the
  model until everything is scored, audited and committed. The audit records must cover every offset once.
  This happens `drains` times, each with a new scorer: the median counts.
- steady: `rate` records a second, each stamped right before it is given to Kafka's client. The latency of an
  odd record ends when a consumer here holds its anomaly: it includes both ways through Kafka, the pauses
  (linger) of two clients and the scoring.

Then what a restart costs: the states of 100 000 cars, written to car-state and read back.

With --peers the same records and the model without state run through a Quix Streams application.
"""

import statistics

from contract.topics import TELEMETRY
from loadtest.bench import detector, parts
from loadtest.bench.fleet import Records, fill
from loadtest.bench.loads import CARS, SEED, drain, start_scorer, steady
from loadtest.bench.run import BenchRun
from loadtest.peers import quix


def measure(run: BenchRun) -> dict[str, float]:
    """Our scorer. Raises WorldDown where a record is not scored, or is scored twice."""
    models = {"": detector.stateless(run), "state_": detector.record(run)}
    count = run.settings.records // CARS * CARS
    run.say(f"scorer: {count} records of {CARS} cars into Kafka")
    fill(run.edge, TELEMETRY, Records(CARS, SEED), count)
    figures: dict[str, float] = {}
    run.say("a drain that does not count: Kafka's JVM compiles while it serves a first backlog")
    child = start_scorer(run, "scorer-0")
    drain(run, child, models[""])
    run.stop(child.name)
    # A seq that runs much faster than time is refused; a steady load has one a second of each car.
    rounds = round(2 * run.settings.steady_s) + 10
    for number, (prefix, model) in enumerate(models.items(), 1):
        first_seq = count // CARS + 1 + (number - 1) * rounds
        model_figures = _measure(run, f"scorer-{number}", model, first_seq)
        model_figures |= {f"part_{name}_us": value for name, value in parts.measure(run.edge, model).items()}
        figures |= {prefix + name: value for name, value in model_figures.items()}
    return figures | parts.measure_states(run.edge, models["state_"])


def _quix(run: BenchRun) -> dict[str, float]:
    """Quix Streams with the same records, which are still in Kafka, and the same model."""
    return quix.measure(run, detector.stateless(run), run.settings.records // CARS * CARS)


PEERS = {"quix-streams": _quix}


def _measure(run: BenchRun, name: str, model: bytes, first_seq: int) -> dict[str, float]:
    """`drains` scorers, each in its own group, drain all records; the last one also gets the steady load."""
    drained = []
    for number in range(run.settings.drains):
        child = start_scorer(run, f"{name}-{number}")
        drained.append(drain(run, child, model))
        last = number == run.settings.drains - 1
        under_load = steady(run, child, first_seq, run.settings.steady_s) if last else {}
        run.stop(child.name)
    median = {key: statistics.median(one[key] for one in drained) for key in drained[0]}
    micros = [one["us_per_record"] for one in drained]
    return median | {"us_per_record_least": min(micros), "us_per_record_most": max(micros)} | under_load
