"""signals.toml: what stands in it, and that a mistake in it is named."""

from pathlib import Path

import pytest

from contract.signals import read, signal_settings
from contract.telemetry import SIGNALS

TWO = "signals.a = { resolution = 0.5 }\nsignals.b = { resolution = 1, condition = true }\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "signals.toml"
    path.write_text(text)
    return path


def test_the_fleets_settings_cover_its_schema() -> None:
    """Every signal of the schema, in its order; every component of the four kinds of wheel part is there."""
    settings = signal_settings()
    assert tuple(signal.name for signal in settings.signals) == SIGNALS
    assert {name for name in settings.components if name.startswith("tire_")} == {
        f"tire_{wheel}" for wheel in ("1_1", "1_2", "2_1", "2_2")
    }


def test_signals_take_the_schemas_order(tmp_path: Path) -> None:
    """Whatever the order in the file; what is not said has its default."""
    settings = read(written(tmp_path, TWO), ("b", "a"))
    assert [(signal.name, signal.condition, signal.judged) for signal in settings.signals] == [
        ("b", True, True),
        ("a", False, True),
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("signals.a = { resolution = 0.5 }", "no \\[signals\\] entry for b"),
        (TWO + "signals.c = { resolution = 1 }", "unknown c"),
        (TWO.replace("0.5", "0"), "resolution must be a positive number: a"),
        (TWO.replace("0.5", "'x'"), "resolution must be float"),
        (TWO.replace("condition", "conditoin"), "unknown conditoin"),
        (TWO + "colour = 1", "unknown colour"),
        (TWO + "[components]\nx = ['c']", "unknown c"),
        (TWO + "[[ratio]]\nname='r'\nnumerator=['a']\ndenominator='b'\nresolution=1", "denominator_offset"),
        (TWO + "[[deviation]]\nname='d'", "signals must be given"),
        (TWO + "x = [", "Invalid value"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, text: str, wrong: str) -> None:
    """Nothing is guessed: what is missing, unknown or of a wrong type refuses the start."""
    with pytest.raises(ValueError, match=wrong) as caught:
        read(written(tmp_path, text), ("a", "b"))
    assert "signals.toml" in str(caught.value)


def test_a_schema_without_the_file_says_what_is_missing(tmp_path: Path) -> None:
    """The message says that the file belongs beside the schema."""
    with pytest.raises(ValueError, match="needs this file"):
        read(tmp_path / "signals.toml", ("a",))
