"""python -m quality.graph FILE: write the scorecard's usual autoencoder as a TFLite graph, for `make bench`.

It learns from healthy simulated cars within seconds. The scorecard says how good it is as a detector.
"""

import sys
from pathlib import Path

import numpy as np

from quality.detectors.autoencoder import Autoencoder
from simulator.fleet import Fleet
from simulator.scenario import Scenario
from trainer.model.state import Window

_CARS, _SAMPLES, _INTERVAL_S, _SEED = 200, 500, 20.0, 1


def main(path: Path) -> None:
    """Train, convert and write the file, completely or not at all."""
    fleet = Fleet(seed=_SEED, first=0, cars=_CARS, scenario=Scenario(faulty_share=0.0))
    moments = [
        fleet.step(slice(0, _CARS), _INTERVAL_S * (number + 1), _INTERVAL_S) for number in range(_SAMPLES)
    ]
    autoencoder = Autoencoder(_SEED, Window(learning_samples=1, memory_samples=1))
    autoencoder.fit(np.stack(moments, axis=1))
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(autoencoder.convert())
    unfinished.rename(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
