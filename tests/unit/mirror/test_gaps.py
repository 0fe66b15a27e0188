"""What the cloud will never have, by the offsets of MirrorMaker and of the edge."""

from mirror.gaps import Copied, Gap, Held, PartitionWatch


def held(first: int, end: int, topic_id: str = "log-1") -> Held:
    return Held(first, end, topic_id)


def watched() -> PartitionWatch:
    """After a first look at a partition of which 100 of 120 records are copied."""
    watch = PartitionWatch(Copied(100), held(0, 120))
    assert watch.look(Copied(100), held(0, 120)) is None
    return watch


def test_copying_as_usual_is_no_gap() -> None:
    """Retention takes what was copied long ago."""
    watch = watched()
    for copied, low, high in ((150, 40, 160), (200, 140, 200), (200, 200, 200), (200, 200, 230)):
        assert watch.look(Copied(copied), held(low, high)) is None


def test_what_retention_took_first_is_counted_once() -> None:
    """While MirrorMaker is away, look by look, and no more when it is back."""
    watch = watched()
    assert watch.look(Copied(100), held(150, 400)) == Gap(100, 50, "deleted")
    assert watch.look(Copied(100), held(150, 420)) is None
    assert watch.look(Copied(100), held(180, 500)) == Gap(150, 30, "deleted")
    assert watch.look(Copied(500), held(180, 500)) is None


def test_a_gap_between_two_looks_is_counted() -> None:
    """MirrorMaker has gone on at the oldest record before anybody looked."""
    assert watched().look(Copied(400), held(150, 400)) == Gap(100, 50, "deleted")


def test_a_gap_that_is_there_at_the_start_is_counted() -> None:
    """The watch began later than the loss."""
    watch = PartitionWatch(Copied(100), held(150, 400))
    assert watch.look(Copied(100), held(150, 400)) == Gap(100, 50, "deleted")


def test_a_new_log_that_is_copied_from_its_beginning_is_no_gap() -> None:
    """MirrorMaker found its offset beyond the end of the new log and went back."""
    watch = watched()
    assert watch.look(Copied(100), held(0, 30, "log-2")) is None
    assert watch.look(Copied(30, turns=1), held(0, 30, "log-2")) is None
    assert watch.look(Copied(300, turns=1), held(0, 300, "log-2")) is None


def test_a_new_log_of_which_the_beginning_is_passed_over_is_a_gap() -> None:
    """It holds the old offset by the time at which MirrorMaker goes on there."""
    watch = watched()
    assert watch.look(Copied(100), held(0, 300, "log-2")) is None
    assert watch.look(Copied(300), held(0, 300, "log-2")) == Gap(0, 100, "made_again")
    assert watch.look(Copied(350), held(20, 350, "log-2")) is None


def test_a_new_log_that_is_gone_on_in_between_two_looks_is_a_gap() -> None:
    """Made again, filled and copied from the old offset on within one interval; then nothing more comes."""
    watch = watched()
    assert watch.look(Copied(300), held(0, 300, "log-2")) == Gap(0, 100, "made_again")
    assert watch.look(Copied(300), held(0, 300, "log-2")) is None


def test_what_was_copied_just_before_the_topic_was_made_again_is_no_gap() -> None:
    """MirrorMaker is still where the old log ended; the new one is shorter, so it will go back."""
    watch = watched()
    assert watch.look(Copied(120), held(0, 30, "log-2")) is None
    assert watch.look(Copied(30, turns=1), held(0, 40, "log-2")) is None


def test_an_offset_beyond_the_log_is_of_another_log() -> None:
    """The watch began after the topic was made again: where MirrorMaker goes on is waited for."""
    watch = PartitionWatch(Copied(100), held(0, 30))
    assert watch.look(Copied(100), held(0, 30)) is None
    assert watch.look(Copied(30, turns=1), held(0, 30)) is None
    assert watch.look(Copied(40, turns=1), held(0, 40)) is None
