"""Where settings come from, and which are refused."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from plumbing.settings import SettingsError, address, addresses, load, setting


@dataclass(frozen=True)
class Ship:
    """A setting of every type."""

    harbour: str = setting("its home harbour")
    crew: int = setting("people on board", default=12, least=1, most=99)
    draught_m: float = setting("how deep it goes, 100 % loaded", default=4.5, above=-2)
    sails: bool = setting("whether it sails", default=False)
    log_book: Path | None = setting("file of the log book", default=None)
    cargo: tuple[str, ...] = setting("what it carries", default=())
    flag: Literal["red", "blue"] = setting("its flag", default="red")
    berths: tuple[int, ...] = setting("numbers", default=(1, 2))

    def __post_init__(self) -> None:
        if self.harbour == "moon":
            raise ValueError("--harbour moon has no water")


def _load(*argv: str, **environ: str) -> Ship:
    return load(Ship, prefix="SHIP", argv=argv, environ=environ, description="A ship.")


def test_a_flag_wins_over_the_environment_which_wins_over_the_default():
    """Flag, else environment, else default, for each setting by itself."""
    ship = _load("--harbour", "Kiel", "--crew", "3", SHIP_CREW="7", SHIP_DRAUGHT_M="2")
    assert (ship.harbour, ship.crew, ship.draught_m, ship.flag) == ("Kiel", 3, 2.0, "red")


def test_every_type_is_read():
    """Text becomes a value of the field's type."""
    ship = _load(
        "--harbour=Kiel",
        "--draught-m=-1.5",
        "--sails=yes",
        "--log-book=/var/log/book",
        "--cargo= tea, salt ,",
        "--flag=blue",
        "--berths=3,4",
    )
    assert ship == Ship("Kiel", 12, -1.5, True, Path("/var/log/book"), ("tea", "salt"), "blue", (3, 4))


@pytest.mark.parametrize(
    ("text", "value"), [("TRUE", True), ("1", True), ("on", True), ("No", False), ("0", False)]
)
def test_booleans_have_the_usual_words(text: str, value: bool):
    """true, yes, on, 1 and their opposites, in any case."""
    assert _load("--harbour=K", "--sails", text).sails is value


def test_a_boolean_flag_alone_means_true():
    """A boolean flag without a value is true, also before another flag."""
    assert _load("--sails", "--harbour=K").sails is True


def test_an_empty_optional_setting_is_none():
    """An empty variable, as a manifest's template leaves it, is None and not an empty path."""
    assert _load("--harbour=K", SHIP_LOG_BOOK="").log_book is None


@pytest.mark.parametrize(
    ("argv", "environ", "named"),
    [
        ([], {}, "--harbour or SHIP_HARBOUR must be set: its home harbour"),
        (["--harbour=K"], {"SHIP_SPEED": "3"}, "SHIP_SPEED: no such setting; known are .*SHIP_CREW"),
        (["--harbour=K", "--crew=many"], {}, "--crew: 'many' is not a whole number"),
        (["--harbour=K"], {"SHIP_CREW": ""}, "SHIP_CREW: '' is not a whole number"),
        (["--harbour=K"], {"SHIP_CREW": "3.5"}, "SHIP_CREW: '3.5' is not a whole number"),
        (["--harbour=K", "--draught-m=deep"], {}, "--draught-m: 'deep' is not a number"),
        (["--harbour=K", "--draught-m=nan"], {}, "--draught-m: 'nan' is not a finite number"),
        (["--harbour=K", "--draught-m=inf"], {}, "--draught-m: 'inf' is not a finite number"),
        (["--harbour=K", "--sails=maybe"], {}, "--sails: 'maybe' is neither true nor false"),
        (["--harbour=K", "--flag=green"], {}, "--flag: 'green' is not one of red, blue"),
        (["--harbour=K"], {"SHIP_BERTHS": "1,two"}, "SHIP_BERTHS: 'two' is not a whole number"),
        (["--harbour=K", "--crew=0"], {}, "--crew 0 must be at least 1"),
        (["--harbour=K"], {"SHIP_CREW": "100"}, "SHIP_CREW 100 must be at most 99"),
        (["--harbour=K", "--draught-m=-2"], {}, "--draught-m -2 must be above -2"),
        (["--harbour=moon"], {}, "--harbour moon has no water"),
    ],
)
def test_a_wrong_setting_refuses_the_start_and_is_named(argv: list[str], environ: dict[str, str], named: str):
    """Missing, unknown, malformed or contradictory: the message has the setting and what is expected."""
    with pytest.raises(SettingsError, match=named):
        _load(*argv, **environ)


@pytest.mark.parametrize("argv", [["--speed=3"], ["--harb=K"], ["Kiel"], ["--crew"]])
def test_a_wrong_flag_ends_the_process_and_is_named(argv: list[str], capsys: pytest.CaptureFixture[str]):
    """Unknown, shortened, without a name or without its value: exit code 2, and the flag on stderr."""
    with pytest.raises(SystemExit) as end:
        _load(*argv)
    assert end.value.code == 2
    assert argv[0].partition("=")[0] in capsys.readouterr().err


def test_variables_without_the_prefix_are_ignored():
    """Only the prefix followed by an underscore, in upper case, makes a variable a setting."""
    assert _load("--harbour=K", SHIPYARD_CREW="x", PATH="/bin", ship_crew="x").crew == 12


def test_help_lists_every_setting_with_its_variable_and_default(capsys: pytest.CaptureFixture[str]):
    """--help prints flag, meaning, variable and default of each setting, and exits with 0."""
    with pytest.raises(SystemExit) as end:
        _load("--help")
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: python -m ship [-h]")
    for field in dataclasses.fields(Ship):
        assert "--" + field.name.replace("_", "-") in text
        assert field.metadata["help"] in text
        assert f"SHIP_{field.name.upper()};" in text
    for default in ("required", "default 12", "default False", "default none", "default 1,2", "red|blue"):
        assert default in text


def test_settings_do_not_change():
    """Settings cannot be assigned to."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        _load("--harbour=K").crew = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("kafka:9092", ("kafka", 9092)), ("[::1]:1883", ("::1", 1883)), ("10.0.0.1:1", ("10.0.0.1", 1))],
)
def test_addresses_are_split(text: str, expected: Any):
    """host:port, with IPv6 addresses in brackets."""
    assert address(text, "--x") == expected


@pytest.mark.parametrize(
    "text", ["", "kafka", ":9092", "kafka:", "kafka:port", "kafka:0", "kafka:65536", "kafka:-1"]
)
def test_a_wrong_address_is_named(text: str):
    """Anything else, and an empty list, is refused with the name of the setting."""
    with pytest.raises(SettingsError, match=r"--x.*is not host:port"):
        address(text, "--x")
    with pytest.raises(SettingsError, match="--x"):
        addresses([], "--x")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mqtt://broker:1883", "a URL; give host:port alone"),
        ("::1:1883", r"in brackets: \[::1\]:1883"),
        ("fe80::1", "in brackets"),
        ("[]:1", "not host:port"),
    ],
)
def test_an_address_that_another_program_takes_is_refused_with_what_to_write(text: str, why: str):
    """A URL, and an IPv6 address whose last group would be taken for the port."""
    with pytest.raises(SettingsError, match=f"--x: .*{why}"):
        address(text, "--x")


def test_a_name_that_python_keeps_to_itself_ends_with_an_underscore():
    """Neither its flag nor its variable has it."""

    @dataclass(frozen=True)
    class Range:
        from_: int = setting("first record", default=0)

    assert load(Range, prefix="SHIP", argv=["--from", "3"], environ={}).from_ == 3
    assert load(Range, prefix="SHIP", argv=[], environ={"SHIP_FROM": "4"}).from_ == 4
    with pytest.raises(SettingsError, match="--from: 'x' is not a whole number"):
        load(Range, prefix="SHIP", argv=["--from", "x"], environ={})
