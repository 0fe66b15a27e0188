"""Faults in pairs: the second one begins while the first one is at work, or while all recover from it.

The pairs and the moments are drawn from a seed, so a run can be repeated. The parts of two faults would be
away for longer than the cars' buffers hold, so all times are shorter than those of a fault alone (PACE).
"""

import random
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.chaos import releases, retention
from loadtest.chaos.faults import FAULTS
from loadtest.chaos.scene import Scene
from local.ports import HOPS

PACE = 0.4
_SECOND_AFTER_S = 15.0  # at most
_FLAPS, _FLAP_EVERY_S, _SLOW_FOR_S = 5, 1.0, 25.0
_STARVES_WITHIN_S = 10.0
_AN_HOUR_S, _CLOCK_WRONG_FOR_S, _OLDER_FOR_S = 3_600, 25.0, 25.0
# What these promise by themselves does not hold while another part is away.
ALONE = ("poison-flood", "trainer-kill")


@dataclass(frozen=True)
class Injection:
    """One fault, or two of which the second begins `after_s` later."""

    faults: tuple[str, ...]
    after_s: float = 0.0

    def __str__(self) -> str:
        """`edge-kill`, or `edge-kill + 3.2 s bridge-kill`."""
        return f" + {self.after_s:.1f} s ".join(self.faults)

    def inject(self, scene: Scene) -> None:
        """Inject the faults. Raises what they raise, when both have ended."""
        first, *second = (PAIRED[name] for name in self.faults)
        beside = [scene.beside(fault, self.after_s) for fault in second]
        try:
            first(scene)
        finally:
            while not all(each.done() for each in beside):
                scene.wait(0.05)
        for each in beside:
            each.result()
            scene.returned_at = None  # recovery counts from when both have ended


def alone(faults: Sequence[str]) -> list[Injection]:
    """Each of these faults by itself."""
    return [Injection((name,)) for name in faults]


def draw(pairs: int, seed: int, among: Sequence[str] = ()) -> list[Injection]:
    """So many pairs of the faults `among` (none: all); each comes again only after all others have come."""
    chance = random.Random(seed)
    names: list[str] = []
    drawn = []
    for _ in range(pairs):
        if len(names) < 2:
            # What is left of a round is not drawn again at once: no fault is a pair with itself.
            fresh = [name for name in among or PAIRED if name not in (*names, *ALONE)]
            names += chance.sample(fresh, len(fresh))
        drawn.append(Injection((names.pop(0), names.pop(0)), chance.uniform(0, _SECOND_AFTER_S)))
    return drawn


def listing() -> str:
    """A line for each fault: its name and what it does."""
    lines = [f"  {name:24}{(inject.__doc__ or '').strip()}" for name, inject in PAIRED.items()]
    lines.insert(len(FAULTS), "in pairs (--pairs) also:")
    return "\n".join(lines)


def model_swap(scene: Scene) -> None:
    """a new model: the scorer swaps it in, and hands every car over"""
    version = scene.publish_model()
    scene.until(lambda: scene.scorer_metric(0, "scorer_model_version") == version, "the scorer has the model")


def bridge_starved(scene: Scene) -> None:
    """the bridge gets no more memory, and is killed where it does not end by itself"""
    _starve(scene, "bridge")


def scorer_starved(scene: Scene) -> None:
    """the scorer gets no more memory, and is killed where it does not end by itself"""
    _starve(scene, "scorer-0")


def clocks_behind(scene: Scene) -> None:
    """the clock of 1 % of the cars an hour behind, and right again: all they send is scored"""
    scene.clock_wrong(-_AN_HOUR_S, _CLOCK_WRONG_FOR_S)


def clocks_ahead(scene: Scene) -> None:
    """the clock of 1 % of the cars an hour ahead, and right again: until then, all they send is refused"""
    scene.clock_wrong(_AN_HOUR_S, _CLOCK_WRONG_FOR_S)


def bridge_older(scene: Scene) -> None:
    """a bridge of the release before in the bridge's place, and the newer one again"""
    older = releases.unpacked(scene.deployment.plan.run_dir / "release-before")
    try:
        scene.run_from("bridge", older)
        scene.wait(_OLDER_FOR_S * PACE)
    finally:
        scene.run_from("bridge", None)


def _starve(scene: Scene, name: str) -> None:
    """As where a container has reached its limit."""
    child, before = scene.supervisor.children[name], scene.supervisor.children[name].pid
    if before is not None:  # else the other fault has ended it
        resource.prlimit(before, resource.RLIMIT_AS, (1, resource.RLIM_INFINITY))
        until = time.monotonic() + _STARVES_WITHIN_S
        while child.pid == before and time.monotonic() < until:
            scene.wait(0.1)
        if child.pid == before:
            scene.supervisor.kill(name)
    scene.until_successor(name, before)


def _flapping(hop: str) -> Callable[[Scene], None]:
    def flap(scene: Scene) -> None:
        """the connections of a hop cut five times, once a second"""
        for _ in range(_FLAPS):
            scene.supervisor.kill(f"relay-{hop}", signal.SIGUSR2)
            scene.wait(_FLAP_EVERY_S)

    return flap


def _slow(hop: str) -> Callable[[Scene], None]:
    def slow(scene: Scene) -> None:
        """a hop takes 0.3 s longer each way, for 10 s"""
        scene.supervisor.kill(f"relay-{hop}", signal.SIGUSR1)
        scene.wait(_SLOW_FOR_S * PACE)
        scene.supervisor.kill(f"relay-{hop}", signal.SIGUSR1)

    return slow


PAIRED: dict[str, Callable[[Scene], None]] = {
    **FAULTS,
    "model-swap": model_swap,
    "bridge-starved": bridge_starved,
    "scorer-starved": scorer_starved,
    "clocks-behind": clocks_behind,
    "clocks-ahead": clocks_ahead,
    "bridge-older": bridge_older,
    "scorers-overtaken": retention.scorers_overtaken,
    "mirror-overtaken": retention.mirror_overtaken,
    **{f"{hop}-flapping": _flapping(hop) for hop in HOPS},
    **{f"{hop}-slow": _slow(hop) for hop in HOPS},
}
