"""Python imports this first where PYTHONPATH has this folder: all code of the process sees a wrong clock.

The file that WRONG_CLOCK names says by how many seconds. Processes that it starts see the same clock.
"""

import os
import time
from pathlib import Path

_file, _true_ns = Path(os.environ["WRONG_CLOCK"]), time.time_ns


def _time_ns() -> int:
    return _true_ns() + 1_000_000_000 * int(_file.read_text())


def _time() -> float:
    return _time_ns() / 1e9


setattr(time, "time_ns", _time_ns)  # noqa: B010 -- mypy allows no assignment to a function
setattr(time, "time", _time)  # noqa: B010
