"""The plot of a soak run."""

from collections.abc import Sequence
from pathlib import Path

from loadtest.soak.samples import Sample

_PANELS = {"mib": "MiB, of no file", "descriptors": "descriptors", "threads": "threads"}


def draw(samples: Sequence[Sample], processes: Sequence[str], title: str, path: Path) -> None:
    """Write the PNG: memory, descriptors, threads, disk and lag over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(_PANELS) + 2, 1, figsize=(13, 15), sharex=True)
    figure.suptitle(title)
    for (column, unit), panel in zip(_PANELS.items(), axes, strict=False):
        for name in processes:
            kept = [sample for sample in samples if name in sample.uses]
            values = [getattr(sample.uses[name], column) for sample in kept]
            panel.plot([sample.at_s / 3_600 for sample in kept], values, label=name)
        panel.set_ylabel(unit)
    hours = [sample.at_s / 3_600 for sample in samples]
    axes[-2].plot(hours, [sample.disk_mib for sample in samples], label="run folder")
    axes[-2].set_ylabel("MiB on the disk")
    for stage in samples[0].behind if samples else ():
        axes[-1].plot(hours, [sample.behind[stage] for sample in samples], label=stage)
    axes[-1].set(ylabel="messages waiting", xlabel="hours")
    for panel in axes:
        panel.grid(visible=True, alpha=0.3)
        panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
