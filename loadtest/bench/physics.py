"""The fleet's physics alone, in one process: samples a second of CPU, and memory a car."""

import itertools
import tracemalloc

from loadtest.bench.run import BenchRun, cpu_s
from simulator.fleet import Fleet
from simulator.scenario import Scenario

# The fleet of a demo, and as many cars as one process holds; one sample a second, and one every ten seconds.
SIZES, STEPS_S = (1_000, 20_000), (1.0, 10.0)


def measure(run: BenchRun) -> dict[str, float]:
    """`per_s_of_1000_cars` and so on at one sample a second, `…_at_10_s` at one every ten seconds."""
    figures: dict[str, float] = {}
    for cars in SIZES:
        tracemalloc.start()
        fleet = Fleet(seed=1, first=0, cars=cars, scenario=Scenario(faulty_share=0.05))
        bytes_per_car = tracemalloc.get_traced_memory()[0] / cars
        tracemalloc.stop()
        for dt_s in STEPS_S:
            suffix = "" if dt_s == 1 else f"_at_{dt_s:.0f}_s"
            figures[f"per_s_of_{cars}_cars{suffix}"] = round(cars / _step_s(fleet, dt_s))
    return figures | {"bytes_per_car": round(bytes_per_car)}


def _step_s(fleet: Fleet, dt_s: float) -> float:
    moments = itertools.count(dt_s, dt_s)
    return cpu_s(lambda: fleet.step(slice(0, fleet.cars), next(moments), dt_s))
