"""The plot of a run: rate, lag and latency over time."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.scale.results import ScaleResults
from loadtest.scale.timeline import STAGES, Timeline

# Rates and percentiles are shown for windows of this length, because those of single seconds fluctuate.
_WINDOW_S = 5.0
_TITLES = {
    "cars": "acknowledged to cars",
    "edge": "in edge Kafka",
    "scored": "scored",
    "cloud": "in the cloud",
}


def draw(results: ScaleResults, path: Path) -> None:
    """Write the PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (rate, lag, latency) = plt.subplots(3, 1, figsize=(13, 10), sharex=True)
    title = f"{results.settings.cars} cars, {results.settings.rate:.0f} messages/s"
    figure.suptitle(f"{title}, {results.summary['date']}")
    zero, points = results.started_at, results.timeline.points
    at = [point.at_s - zero for point in points]
    # The deployment is observed once a second.
    starts = [point.at_s for point in points[:: int(_WINDOW_S)]]
    windows = [w for s in starts if (w := results.timeline.between(s, s + _WINDOW_S)).seconds]
    middle = [(w.points[0].at_s + w.points[-1].at_s) / 2 - zero for w in windows]
    for stage in STAGES:
        rate.plot(middle, [w.rates()[stage] for w in windows], label=_TITLES[stage])
        lag.plot(at, [point.waiting[stage] for point in points], label=f"not yet {_TITLES[stage]}")
    _latencies(latency, results, windows, middle)
    connected = rate.twinx()
    connected.plot(
        at, [point.picture.cars_connected for point in points], color="grey", linestyle=":", label="cars"
    )
    connected.set_ylabel("cars connected (dotted)")
    rate.set_ylabel("messages/s")
    lag.set(ylabel="messages waiting", yscale="symlog")
    latency.set(ylabel="ms", yscale="log", xlabel="seconds after the start of the fleet")
    for axes in (rate, lag, latency):
        axes.axvspan(results.hold.from_s - zero, results.hold.to_s - zero, alpha=0.08, label="measured")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="upper left", bbox_to_anchor=(1.08, 1), fontsize=8)
    lag.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _latencies(axes: Any, results: ScaleResults, windows: list[Timeline], middle: list[float]) -> None:
    for share in ("p50", "p99"):
        values = [getattr(w.latency("puback"), f"{share}_ms") for w in windows]
        axes.plot(middle, [np.nan if v is None else max(v, 0.1) for v in values], label=f"PUBACK {share}")
    anomalies: NDArray[np.float64] = np.array(results.watch.seen.latencies, np.float64).reshape(-1, 2)
    if not len(anomalies):
        return
    window = np.floor((anomalies[:, 0] - results.started_at) / _WINDOW_S)
    numbers = np.unique(window)
    for percent in (50, 99):
        values = [float(np.percentile(anomalies[window == number, 1], percent)) for number in numbers]
        axes.plot((numbers + 0.5) * _WINDOW_S, values, label=f"car to anomaly p{percent}")
