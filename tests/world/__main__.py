"""python -m tests.world --seed 17: play one world again, and show what happens in it."""

import argparse
import logging
import sys
from collections.abc import Sequence

from tests.world.story import play
from tests.world.verdict import judge
from tests.world.world import World


class _VirtualTime(logging.Formatter):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def format(self, record: logging.LogRecord) -> str:
        return f"{self._world.schedule.now:8.3f}  {record.name}: {record.getMessage()}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a world; the exit status is 1 where something went wrong in it."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--log", action="store_true", help="also what the services log")
    options = parser.parse_args(arguments)
    world = World(options.seed)
    if options.log:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(_VirtualTime(world))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
    verdict, course = judge(play(world))
    for at_s, event in world.events:
        print(f"{at_s:8.3f}  {event}")
    print(course)
    print(f"seed {options.seed}: {verdict.wrong or 'nothing went wrong'}")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
