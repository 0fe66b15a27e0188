"""Decisions of a trial on a real cloud cluster: taken once, whole, and refused with a reason."""

from typing import Any

import pytest

from contract.manifest import Decision
from trainer import trial
from trainer.publication import NotPublishable, Publication

pytestmark = pytest.mark.integration

BY_HAND = ("by hand",)
PASSED = ("passed the gate",)


def with_champion_and_two_more(cloud: Any, detector: Any) -> Publication:
    """Version 1 is the champion, version 2 on trial, version 3 was refused."""
    publication: Publication = cloud.publication()
    publication.open()
    for version, decision in (
        (1, Decision(published=True, reasons=PASSED)),
        (2, Decision(published=True, reasons=PASSED, share=0.0)),
        (3, Decision(published=False, reasons=("worse than the champion",))),
    ):
        manifest = detector.manifest(version, name=cloud.model, decision=decision)
        publication.write(manifest, detector.tflite, b"exam" if decision.published else b"")
    return publication


def state(publication: Publication) -> tuple[int | None, tuple[int, float | None, bool] | None]:
    """(the champion's version, (the challenger's version, its share, whether it is held))."""
    champion, challenger = publication.champion(), publication.challenger()
    decision = challenger.manifest.decision if challenger else None
    return (
        champion.manifest.version if champion else None,
        (challenger.manifest.version, decision.share, decision.held) if challenger and decision else None,
    )


def test_a_trial_goes_from_shadow_to_champion(cloud: Any, detector: Any) -> None:
    """Each step is one decision in the log; the promoted record has the new threshold, evidence and exam."""
    publication = with_champion_and_two_more(cloud, detector)
    trial.promote(cloud.publication(), 2, BY_HAND, share=0.1)
    assert state(publication) == (1, (2, 0.1, False))
    trial.hold(cloud.publication(), 2, BY_HAND)
    trial.promote(cloud.publication(), 2, BY_HAND, share=1.0)
    assert state(publication) == (1, (2, 1.0, True))
    seen = trial.Seen(1, 2, 1.0)
    evidence = {"car_weeks": 120.0}
    trial.promote(cloud.publication(), 2, ("good",), threshold=15.0, evidence=evidence, seen=seen)
    assert state(publication) == (2, None)
    manifest = publication.champion().manifest  # type: ignore[union-attr]
    assert (manifest.threshold, manifest.metrics["trial"]) == (15.0, evidence)
    assert manifest.decision == Decision(published=True, reasons=("good",))
    assert publication.exam(2) == b"exam"
    words = [trial.verdict(entry.manifest.decision) for entry in publication.history()][3:]
    assert words == [
        "on trial, share 0.1",
        "on trial, share 0.1, held",
        "on trial, share 1, held",
        "published",
    ]


def test_a_withdrawn_challenger_leaves_the_champion(cloud: Any, detector: Any) -> None:
    """The decision says so; the version can be tried again, and is no champion to go back to."""
    publication = with_champion_and_two_more(cloud, detector)
    trial.withdraw(cloud.publication(), 2, ("too many alerts", "more"), evidence={"openings": 9})
    assert state(publication) == (1, None)
    last = publication.history()[-1].manifest
    assert last.decision.reasons == ("withdrawn: too many alerts", "more")
    assert last.metrics["trial"] == {"openings": 9}
    with pytest.raises(NotPublishable, match="never the champion"):
        cloud.publication().roll_back(2)
    trial.promote(cloud.publication(), 2, BY_HAND, share=0.0)
    assert state(publication) == (1, (2, 0.0, False))


@pytest.mark.measuring  # long, and others prove most of it: in make test-all
def test_a_champion_by_hand_ends_a_trial_of_another(cloud: Any, detector: Any) -> None:
    """Promoted or rolled back to; the decision of a promotion names the trial that it ends."""
    publication = with_champion_and_two_more(cloud, detector)
    trial.promote(cloud.publication(), 2, BY_HAND)
    trial.promote(cloud.publication(), 1, BY_HAND, share=0.1)
    cloud.publication().roll_back(1)
    assert state(publication) == (1, None)
    trial.promote(cloud.publication(), 2, BY_HAND, share=0.0)
    fourth = detector.manifest(4, name=cloud.model, decision=Decision(published=True, share=0.5))
    publication.open()
    publication.write(fourth, detector.tflite)
    trial.promote(cloud.publication(), 2, BY_HAND)
    assert state(publication) == (2, None)
    reasons = publication.history()[-1].manifest.decision.reasons
    assert reasons == ("by hand", "the trial of version 4 ends")


def test_what_cannot_be_decided_is_refused_with_its_reason(cloud: Any, detector: Any) -> None:
    """No such version, a refused one, no trial, already so, decided meanwhile; nothing is written."""
    publication = with_champion_and_two_more(cloud, detector)
    before = len(publication.history())
    other = trial.Seen(1, 7, 0.0)
    for refused, why in (
        (lambda p: trial.promote(p, 9, BY_HAND), "no version 9; known are 1, 2, 3"),
        (lambda p: trial.promote(p, 3, BY_HAND), "version 3 was refused: worse than the champion"),
        (lambda p: trial.promote(p, 1, BY_HAND), "version 1 is the champion already"),
        (lambda p: trial.promote(p, 2, BY_HAND, share=0.0), "is on trial with a share of 0 already"),
        (lambda p: trial.promote(p, 2, BY_HAND, seen=other), "another decision was taken meanwhile"),
        (lambda p: trial.withdraw(p, 2, BY_HAND, seen=other), "another decision was taken meanwhile"),
        (lambda p: trial.hold(p, 1, BY_HAND), "version 1 is not on trial, version 2 is"),
        (lambda p: trial.withdraw(p, 3, BY_HAND), "version 3 is not on trial, version 2 is"),
    ):
        with pytest.raises(NotPublishable, match=why):
            refused(publication)
    assert len(publication.history()) == before
    trial.withdraw(cloud.publication(), 2, BY_HAND)
    with pytest.raises(NotPublishable, match="there is no trial"):
        trial.hold(cloud.publication(), 2, BY_HAND)
    alone = Publication(cloud.bootstrap, None, f"{cloud.model}-alone")
    with pytest.raises(NotPublishable, match="no version 1; known are none"):
        trial.promote(alone, 1, BY_HAND, share=0.1)


def test_the_commands_say_what_was_decided(cloud: Any, detector: Any) -> None:
    """A sentence and 0, or the reason and 2; a training with a share does not displace a challenger."""
    with_champion_and_two_more(cloud, detector)
    done = cloud.trainer("promote", "2", "--share", "0.1")
    assert (done.returncode, done.stdout) == (0, "version 2 is on trial, share 0.1: by hand\n")
    again = cloud.trainer("train", "--share", "0")
    assert again.returncode == 0
    assert "a trial goes on" in again.stderr + again.stdout
    assert "on trial, share 0.1" in cloud.trainer("list").stdout
    assert cloud.trainer("withdraw", "2").stdout == "version 2 is withdrawn: by hand\n"
    refused = cloud.trainer("hold", "2")
    assert (refused.returncode, refused.stderr) == (
        2,
        "settings: version 2 is not on trial: there is no trial\n",
    )
