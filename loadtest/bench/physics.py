"""The fleet's physics alone, in one process: samples a second of CPU, and memory a car."""

import time
import tracemalloc

from loadtest.bench.run import BenchRun
from simulator.faults import Wear
from simulator.fleet import Fleet

# The fleet of a demo, and as many cars as one process holds; one sample a second, and one every ten seconds.
SIZES, STEPS_S = (1_000, 20_000), (1.0, 10.0)
_SAMPLES, _TIMES = 100_000, 6


def measure(run: BenchRun) -> dict[str, float]:
    """`per_s_of_1000_cars` and so on at one sample a second, `…_at_10_s` at one every ten seconds."""
    figures: dict[str, float] = {}
    for cars in SIZES:
        tracemalloc.start()
        fleet = Fleet(seed=1, first=0, cars=cars, wear=Wear(share=0.05))
        bytes_per_car = tracemalloc.get_traced_memory()[0] / cars
        tracemalloc.stop()
        for dt_s in STEPS_S:
            suffix = "" if dt_s == 1 else f"_at_{dt_s:.0f}_s"
            figures[f"per_s_of_{cars}_cars{suffix}"] = round(_samples_per_s(fleet, dt_s))
    return figures | {"bytes_per_car": round(bytes_per_car)}


def _samples_per_s(fleet: Fleet, dt_s: float) -> float:
    """Samples a second of CPU; the most of several measurements, because load by others only slows down."""
    most, now_s, everyone = 0.0, 0.0, slice(0, fleet.cars)
    steps = max(1, _SAMPLES // fleet.cars)
    for _ in range(_TIMES):
        began = time.thread_time()
        for _ in range(steps):
            now_s += dt_s
            fleet.step(everyone, now_s, dt_s)
        most = max(most, steps * fleet.cars / (time.thread_time() - began))
    return most
