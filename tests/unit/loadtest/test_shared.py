"""The parts that several commands of the load test share."""

import io

import pytest
from rich.console import Console

from loadtest.children import flags
from loadtest.deployment import require_fleet
from loadtest.output import Bar, ProgressLine
from local.screen import table


def test_settings_become_flags():
    """Underscores become dashes, values become text."""
    assert flags({"rate_hz": 2.5, "cars": 3}) == ["--rate-hz", "2.5", "--cars", "3"]


def test_a_car_sends_at_most_ten_messages_a_second():
    """The error says to give more cars."""
    require_fleet(100, 1_000)
    with pytest.raises(ValueError, match="more --cars"):
        require_fleet(100, 1_001)


def test_a_bar_is_shown_with_its_direction():
    """At most by default."""
    assert (str(Bar(4)), str(Bar(200_000, at_least=True))) == ("≤ 4", "≥ 200 000")


def test_numbers_are_right_aligned_and_the_first_column_is_not():
    """Other columns of text must be named."""
    columns = table("t", "name", "figure", "note", left=("note",)).columns
    assert [column.justify for column in columns] == ["left", "right", "left"]


def test_progress_is_printed_rarely_where_there_is_no_terminal():
    """A second line within a few seconds is left out, and not even made."""
    text = io.StringIO()
    progress = ProgressLine(Console(file=text))
    with progress:
        progress.show(lambda: "first")
        progress.show(lambda: pytest.fail("made too soon"))
    assert text.getvalue() == "first\n"
