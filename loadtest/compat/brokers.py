"""The brokers of `make compat`, each with one user and a password, as child processes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from loadtest.compat import newer
from local import java, mosquitto
from local.kafka import Broker
from local.ports import port_is_open
from local.supervisor import Child
from plumbing.kafka import GroupProtocol
from plumbing.life import WorldDown

USER, PASSWORD = "cars", "open sesame"
ADMINISTRATOR = "admin"  # of Kafka, with the same password
LIBS = java.ROOT / "var/compat/libs"
_HERE = Path(__file__).parent

_HIVEMQ_CONFIG = """\
<?xml version="1.0"?>
<hivemq>
  <listeners><tcp-listener><port>{port}</port><bind-address>127.0.0.1</bind-address></tcp-listener></listeners>
  <mqtt><queued-messages><max-queue-size>1000000</max-queue-size></queued-messages></mqtt>
  <anonymous-usage-statistics><enabled>false</enabled></anonymous-usage-statistics>
</hivemq>
"""
_HIVEMQ_MODULES = [
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "nio")),
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
]

# Clients are asked for the password, and so is a broker by another; the controllers' listener trusts whoever
# reaches it. Nobody else than the administrator has rights that were not granted.
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SASL = """
listeners=SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=SASL_PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={module} username="{admin}" password="{password}" \
user_{admin}="{password}" user_{user}="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{admin};User:ANONYMOUS
"""


def properties(user: str) -> str:
    """What a client needs, for --kafka-properties."""
    return f"""\
security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.username={user}
sasl.password={PASSWORD}
"""


def _mosquitto(port: int, folder: Path, program: Path | None = None) -> Child:
    child = mosquitto.shard(0, port, folder, program)
    config = folder / "mqtt-0/mosquitto.conf"
    text = config.read_text(encoding="utf-8")
    access = "allow_anonymous false\npassword_file passwords"  # in the working directory
    config.write_text(text.replace("allow_anonymous true", access), encoding="utf-8")
    passwords = folder / "mqtt-0/passwords"
    passwords.write_text(f"{USER}:{PASSWORD}\n", encoding="utf-8")
    passwords.chmod(0o600)
    try:
        subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise WorldDown(f"mosquitto's passwords could not be hashed: {error}") from error
    return child


def _newer_mosquitto(port: int, folder: Path) -> Child:
    return _mosquitto(port, folder, newer.mosquitto())


def _hivemq(port: int, folder: Path) -> Child:
    libs = _fetched("hivemq", _HERE / "hivemq.xml")
    binary = java.find()
    modules = subprocess.run([binary, "--list-modules"], capture_output=True, text=True, check=True).stdout
    if "jdk.compiler" not in modules:
        raise WorldDown(f"{binary} is no JDK, and HiveMQ's user and password are given to it in Java")
    home = (folder / "mqtt-0").resolve()
    (home / "conf").mkdir(parents=True, exist_ok=True)
    (home / "conf/config.xml").write_text(_HIVEMQ_CONFIG.format(port=port), encoding="utf-8")
    (home / "password").write_text(PASSWORD, encoding="utf-8")
    argv = [str(binary), *_HIVEMQ_MODULES, "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{libs}/*"]
    argv += [str(_HERE / "HiveMq.java"), ".", USER, "password"]
    return Child("mqtt-0", argv, lambda: port_is_open(port), env=java.ENVIRONMENT, folder=home)


def kafka(name: str, port: int, folder: Path) -> Broker:
    """A cluster of KAFKAS, listening for clients with `properties`. Fetches its jars. Raises WorldDown."""
    version, protocol = KAFKAS[name]
    libs = None
    if version:
        libs = _fetched(f"kafka-{version}", java.ROOT / "local/pom.xml", f"-Dkafka.version={version}")
        for binding in libs.glob("slf4j-reload4j-*"):  # Kafka 3 ships one, beside ours
            binding.unlink()
    who = {"module": _PLAIN, "admin": ADMINISTRATOR, "user": USER, "password": PASSWORD}
    settings = _SASL.format(port=port, controller_port=port + 1, **who)
    if protocol == "classic" and not version:
        settings += "group.coordinator.rebalance.protocols=classic\n"
    return Broker("edge", port, folder / "edge", libs=libs, more_settings=settings)


def _fetched(name: str, pom: Path, *settings: str) -> Path:
    """The folder of jars that a pom fetches, once. Raises WorldDown."""
    libs, mark = LIBS / name, LIBS / f"{name}.complete"
    if not mark.exists():
        print(f"fetching {name} through Maven, once", file=sys.stderr)
        argv: list[str | Path] = [
            "mvn",
            "-q",
            "-B",
            "-f",
            pom,
            *settings,
            f"-Dlibs={libs}",
            "dependency:copy-dependencies",
        ]
        try:
            subprocess.run(argv, check=True, stdout=sys.stderr)
        except (OSError, subprocess.CalledProcessError) as error:
            raise WorldDown(f"{name} could not be fetched: {error}") from error
        mark.touch()
    return libs


# Name to what starts it; `local/setup` installs mosquitto.
BROKERS: dict[str, Callable[[int, Path], Child]] = {
    "mosquitto": _mosquitto,
    "hivemq": _hivemq,
    f"mosquitto-{newer.VERSION}": _newer_mosquitto,
}
# Name to (version, "" for the one of the local deployment; protocol of the scorers' group).
KAFKAS: dict[str, tuple[str, GroupProtocol]] = {
    "4.3": ("", "consumer"),
    "4.3-classic": ("", "classic"),
    "3.9-classic": ("3.9.1", "classic"),
}
