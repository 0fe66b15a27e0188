"""User and password at an MQTT broker."""

from pathlib import Path

import pytest

from plumbing.login import ANONYMOUS, LoginSettings
from plumbing.settings import SettingsError, load


def _loaded(*argv: str) -> LoginSettings:
    return load(LoginSettings, prefix="BRIDGE", argv=argv, environ={})


def test_without_settings_a_client_is_anonymous():
    """As brokers of the local deployment allow."""
    assert _loaded().login == ANONYMOUS


def test_the_password_stands_in_a_file_and_nowhere_else(tmp_path: Path):
    """A flag would show in the list of processes; an editor's line break at the end is no part of it."""
    file = tmp_path / "password"
    file.write_bytes(b" hush hush\n")
    settings = _loaded("--mqtt-username", "bridge", "--mqtt-password-file", str(file))
    assert (settings.login.username, settings.login.password) == ("bridge", b" hush hush")
    assert "hush" not in f"{settings} {settings.login}"
    assert _loaded("--mqtt-password-file", str(file)).login.username is None  # MQTT 5 allows it: a token


@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_a_password_that_is_not_there_is_a_wrong_setting(tmp_path: Path, content: bytes | None):
    """A missing file and an empty one: connecting without a password would be refused again and again."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"--mqtt-password-file: .*password"):
        _ = _loaded("--mqtt-password-file", str(file)).login
