"""`python -m trainer watch` and `python -m trainer trial`: wiring only."""

import time
from collections.abc import Sequence

from contract.topics import MODELS, MODELS_LOG
from plumbing import kafka, service
from plumbing.health import Health
from plumbing.life import Stop, WorldDown
from plumbing.settings import load
from trainer.launch.command import split
from trainer.publication import Publication
from trainer.watch import models, shown
from trainer.watch.arrived import Arrived
from trainer.watch.gathered import trial_of
from trainer.watch.pipeline import Pipeline
from trainer.watch.reader import Reader, Wanted
from trainer.watch.settings import Settings
from trainer.watch.training import Training
from trainer.watch.verdict import judge

DESCRIPTION = """\
Reads what the scorers count of their models, alerts and workshop reports; promotes or withdraws the model on
trial; starts a training where the fleet has changed. Arguments after -- are the training's:
python -m trainer watch -- --learning-s 3600
"""
_READ_S_MAX = 300.0


def watch(argv: Sequence[str]) -> int:
    """The service. It exits by itself."""
    own, added = split(argv)

    def work(settings: Settings, health: Health, stop: Stop) -> None:
        Pipeline(
            settings=settings,
            publication=_publication(settings),
            training=Training(settings, added),
            health=health,
            stop=stop,
        ).run()

    service.run("watcher", Settings, DESCRIPTION, work, argv=own, command="python -m trainer watch")
    return 0


def show_trial(argv: Sequence[str]) -> int:
    """Print the evidence of the trial as the watcher sees it. Returns the exit code. Raises WorldDown."""
    settings = load(Settings, prefix="WATCHER", argv=argv, command="python -m trainer trial")
    now = models.read(_publication(settings))
    if now.challenger is None:
        print("no model is on trial")
        return 0
    cluster = (settings.kafka_bootstrap, settings.kafka_properties)
    kafka.wait_for_topics(
        kafka.consumer(*cluster, group_id="watcher"), (*Wanted.by(settings).all, MODELS, MODELS_LOG)
    )
    reader, deadline = Reader(settings, now, Arrived(settings.edge_names, 0)), time.monotonic() + _READ_S_MAX
    while not reader.caught_up:
        reader.poll(0.1)
        if time.monotonic() > deadline:
            raise WorldDown(f"the log was not read within {_READ_S_MAX:.0f} s")
    reader.close()
    evidence = trial_of(reader.facts, settings, time.time())
    if evidence is None:
        print(f"version {now.challenger.version} is on trial, but there is no champion")
        return 0
    verdict = judge(evidence, settings.rules)
    print(shown.text(reader.facts, evidence, verdict, settings.false_alarms_per_car_week, time.time()))
    return 0


def _publication(settings: Settings) -> Publication:
    return Publication(settings.kafka_bootstrap, settings.kafka_properties, settings.model_name)
