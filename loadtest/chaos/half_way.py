"""python -m loadtest.chaos.half_way MODULE …: run a module, killed in the middle of its first transaction.

All its records are at the broker, and the commit is not: exactly half-way, which a kill from outside meets by
chance only. The module itself runs unchanged.
"""

import os
import runpy
import signal
import sys

import confluent_kafka

from plumbing import kafka

_FLUSH_S = 30.0


class _Dying(confluent_kafka.Producer):
    def commit_transaction(self, *_: object) -> None:
        """Instead of the commit."""
        self.flush(_FLUSH_S)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    setattr(kafka, "Producer", _Dying)  # noqa: B010 -- to mypy a class is no variable
    module = sys.argv[1]
    sys.argv = [module, *sys.argv[2:]]
    runpy.run_module(module, run_name="__main__")
