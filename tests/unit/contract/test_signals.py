"""signals.toml: what stands in it, and that a mistake in it is named."""

from pathlib import Path

import pytest

from contract.signals import Change, read, signal_settings
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
        (TWO.replace("0.5", "'x'"), "resolution: must be float"),
        (TWO.replace("0.5", "0.5, least = 3, most = 3"), "least must be less than most: a"),
        (TWO.replace("condition", "conditoin"), "unknown: conditoin"),
        (TWO + "colour = 1", "unknown colour"),
        (TWO + "[components]\nx = ['c']", "unknown c"),
        (TWO + "[components]\nx = []", "x must name at least one signal"),
        (TWO + "[components]\nx = { a = '5' }", "x: a must be a change like"),
        (TWO + "[components]\nx = { a = '+ 0' }", "not '\\+ 0'"),
        (TWO + "[components]\nx = { a = 5 }", "not 5"),
        (TWO + "[[ratio]]\nname='r'\nnumerator=['a']\ndenominator='b'\nresolution=1", "denominator_offset"),
        (TWO + "[[deviation]]\nname='d'", "missing: signals"),
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


def test_a_component_says_what_becomes_of_its_signals(tmp_path: Path) -> None:
    """More, less, either, times so much, and stuck; or a list of signals, and nobody knows which way."""
    text = "[components]\nx = { a = '- 5', b = '* 0.9' }\ny = { a = '+- 1.5, stuck' }\nz = ['b']\n"
    components = read(written(tmp_path, TWO + text), ("a", "b")).components
    assert components == {
        "x": (Change(signal="a", offset=-5.0), Change(signal="b", factor=0.9)),
        "y": (Change(signal="a", offset=1.5, either_way=True, stuck=True),),
        "z": (Change(signal="b", offset=None, either_way=True, stuck=True),),
    }


def test_a_component_has_few_signals_that_go_either_way(tmp_path: Path) -> None:
    """Each way they can go together is looked at, so four of them must say which way."""
    text = "".join(f"signals.{name} = {{ resolution = 1 }}\n" for name in "abcd")
    with pytest.raises(ValueError, match="more than 3 signals that go either way: say which way"):
        read(written(tmp_path, text + "[components]\nx = ['a', 'b', 'c', 'd']"), tuple("abcd"))
