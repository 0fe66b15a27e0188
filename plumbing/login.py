"""User and password at an MQTT broker; the password stands in a file, which no list of processes shows."""

from dataclasses import dataclass, field
from pathlib import Path

from plumbing.settings import SettingsError, setting


@dataclass(frozen=True)
class Login:
    """What a CONNECT packet carries; without a name and a password it is anonymous."""

    username: str | None = None
    password: bytes | None = field(default=None, repr=False)


ANONYMOUS = Login()


@dataclass(frozen=True, kw_only=True)
class LoginSettings:
    """The settings of a service that connects to MQTT brokers."""

    mqtt_username: str | None = setting("user name at the MQTT brokers; none: anonymous", default=None)
    mqtt_password_file: Path | None = setting(
        "file with the password at the MQTT brokers; a line break at its end does not count", default=None
    )

    @property
    def login(self) -> Login:
        """Reads the file. Raises SettingsError for one that cannot be read or is empty."""
        if self.mqtt_password_file is None:
            return Login(self.mqtt_username)
        try:
            password = self.mqtt_password_file.read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise SettingsError(f"--mqtt-password-file: {error}") from error
        if not password:
            raise SettingsError(f"--mqtt-password-file: {self.mqtt_password_file} is empty")
        return Login(self.mqtt_username, password)
