"""What the load test knows of the deployment before the first car drives."""

from pathlib import Path

import pytest

from loadtest.load import target
from plumbing.settings import SettingsError


def test_user_and_password_as_paho_takes_them(tmp_path: Path):
    """The password from its file; neither where neither is given."""
    (tmp_path / "password").write_text("öffne dich\n", encoding="utf-8")
    assert target.login("cars", str(tmp_path / "password")) == ("cars", "öffne dich")
    assert target.login("", "") == (None, None)
    with pytest.raises(SettingsError, match="--mqtt-password-file"):
        target.login("cars", str(tmp_path / "nothing"))
