"""Settings that a scorecard refuses."""

from dataclasses import fields

import pytest

import trainer.settings
from plumbing.settings import SettingsError, load
from quality.settings import CHANGES, FAULTY_IN, HOUR_S, PARTS, Settings


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--detectors", "ours,oracle"], "oracle"),
        (["--detectors", ""], "--detectors"),
        (["--hours", "12"], "--learning-h"),
        (["--seeds", "0"], "--seeds"),
        (["--interval-s", "-1"], "--interval-s"),
        (["--faulty-cars", "3"], "--faulty-cars"),
        (["--spoilt", "oracle"], "oracle"),
    ],
)
def test_a_scorecard_that_would_say_nothing_is_refused(argv: list[str], named: str):
    """The message names the setting."""
    with pytest.raises(SettingsError, match=named):
        load(Settings, prefix="QUALITY", argv=argv, environ={})


def test_quick_has_a_quarter_of_the_cars_everywhere():
    """And says how much disk the samples take: of two seeds at a time, of all where they are kept."""
    settings, quick = Settings(), Settings(quick=True)
    assert [quick.cars(part) for part in PARTS[:4]] == [settings.cars(part) // 4 for part in PARTS[:4]]
    assert quick.cars(CHANGES[0]) == settings.cars(CHANGES[0]) // 4
    assert settings.cars(FAULTY_IN[CHANGES[0]]) == settings.cars(CHANGES[0]) // 2
    assert Settings(faulty_cars=8).cars(FAULTY_IN[CHANGES[0]]) == 8
    assert settings.disk_bytes < 6e9
    assert Settings(keep_data=True).disk_bytes == settings.disk_bytes * settings.seeds / settings.processes


def test_cars_are_learned_and_remembered_for_as_long_as_the_trainer_does():
    """The scorecard's defaults are those of the models that are shipped."""
    ours, trainers = Settings(), {field.name: field.default for field in fields(trainer.settings.Settings)}
    assert ours.learning_h * HOUR_S == trainers["learning_s"]
    assert ours.memory_h * HOUR_S == trainers["memory_s"]
