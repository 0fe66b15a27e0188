"""python -m loadtest.chaos.half_way MODULE …: run a module and kill it in the middle of a transaction.

Then all of its records are at the broker and the commit is not, which a kill from outside would meet only by
chance. The module itself runs unchanged.
"""

import os
import runpy
import signal
import sys

import confluent_kafka

from plumbing import kafka

_FLUSH_S = 30.0


class _KilledProducer(confluent_kafka.Producer):
    def commit_transaction(self, *_: object) -> None:
        """Dies instead of committing."""
        self.flush(_FLUSH_S)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    setattr(kafka, "Producer", _KilledProducer)  # noqa: B010 -- mypy allows no assignment to a class
    module = sys.argv[1]
    sys.argv = [module, *sys.argv[2:]]
    runpy.run_module(module, run_name="__main__")
