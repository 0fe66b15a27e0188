"""trainer/launch/api.py and an HTTP server that answers as an API server does; a real one: `make cluster`."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbing.life import WorldDown
from plumbing.settings import SettingsError
from trainer.launch.api import Gone, JobApi, connect

LAUNCHER = Path(__file__).parents[3] / "k8s/apps/trainer/launcher.yaml"
JOBS = "/apis/batch/v1/namespaces/cars/jobs"
# As an API server puts it.
FORBIDDEN = 'jobs.batch is forbidden: User "me" cannot create resource "jobs" in the namespace "cars"'


class ApiServer:
    """Answers by (method, path), everything else with 404, and keeps the requests."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path, _, query = self.path.partition("?")
                outer.asked.append((self.command, path, json.loads(body) if body else query))
                status, answer = outer.answers.get((self.command, path), (404, refusal(404, "not found")))
                text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self) -> None:
                self._any()

            def do_POST(self) -> None:
                self._any()

            def do_DELETE(self) -> None:
                self._any()

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def refusal(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "message": message, "code": code}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    thread = threading.Thread(target=server.server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.server.shutdown()
    server.server.server_close()
    thread.join()


@pytest.fixture
def kubeconfig(tmp_path: Path, api: ApiServer) -> Path:
    """Two contexts of the same server, as kubectl writes them."""
    context = {"cluster": "one", "user": "me", "namespace": "cars"}
    file = tmp_path / "config"
    file.write_text(
        json.dumps(  # JSON is YAML
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "first",
                "clusters": [{"name": "one", "cluster": {"server": api.url}}],
                "users": [{"name": "me", "user": {"token": "t"}}],
                "contexts": [
                    {"name": "first", "context": context},
                    {"name": "second", "context": {**context, "namespace": "other"}},
                ],
            }
        )
    )
    return file


@pytest.fixture
def job_api(kubeconfig: Path) -> JobApi:
    return connect(kubeconfig, "", "")


def test_a_kubeconfig_gives_server_context_and_namespace(kubeconfig: Path):
    """The current context, another by name, a given namespace; an unknown context names the known ones."""
    assert connect(kubeconfig, "", "").namespace == "cars"
    assert connect(kubeconfig, "second", "").namespace == "other"
    assert connect(kubeconfig, "second", "mine").namespace == "mine"
    with pytest.raises(SettingsError, match="no context third; known are first, second"):
        connect(kubeconfig, "third", "")


def test_without_a_kubeconfig_the_start_is_refused(tmp_path: Path):
    """The message says how to give one."""
    with pytest.raises(SettingsError, match="set KUBECONFIG or --kubeconfig"):
        connect(tmp_path / "none", "", "")


def test_objects_come_and_go_as_they_are(api: ApiServer, job_api: JobApi):
    """Unknown fields are passed on; pods are those of the Job; deleting the Job deletes its pods."""
    job = {"kind": "Job", "spec": {"fieldOfNextYear": 1}}
    api.answers = {
        ("POST", JOBS): (201, job),
        ("GET", "/api/v1/namespaces/cars/pods"): (200, {"items": [{"metadata": {"name": "p"}}]}),
        ("DELETE", f"{JOBS}/j"): (200, {}),
    }
    assert job_api.create_job(job) == job
    assert job_api.pods("j") == [{"metadata": {"name": "p"}}]
    job_api.delete_job("j")
    job_api.delete_job("gone")
    assert api.asked[0] == ("POST", JOBS, job)
    assert "batch.kubernetes.io/job-name%3Dj" in api.asked[1][2]
    assert api.asked[2][2] == "propagationPolicy=Background"
    with pytest.raises(Gone):
        job_api.job("gone")


def test_a_log_is_read_line_by_line(api: ApiServer, job_api: JobApi):
    """Time stamp and text; an unfinished last line is left for the next request."""
    path = "/api/v1/namespaces/cars/pods/p/log"
    api.answers = {("GET", path): (200, "1Z epoch 1\n2Z \n3Z grün\n4Z unfin".encode())}
    assert list(job_api.log_lines("p", "trainer")) == [("1Z", "epoch 1"), ("2Z", ""), ("3Z", "grün")]
    assert list(job_api.log_lines("p", "trainer", "2Z")) == [("3Z", "grün")]
    assert api.asked[-1][2] == "container=trainer&timestamps=true&limitBytes=1000000&sinceTime=2Z"
    with pytest.raises(Gone):
        job_api.log_lines("gone", "trainer")


def test_a_missing_template_is_a_wrong_setting(job_api: JobApi):
    """The message names the CronJob, the namespace and the settings to look at."""
    with pytest.raises(SettingsError, match=r"no CronJob trainer in namespace cars, .* --namespace or"):
        job_api.cronjob("trainer")


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((401, refusal(401, "Unauthorized")), SettingsError, "log in again"),
        ((403, refusal(403, FORBIDDEN)), SettingsError, 'first .* User "me" cannot create resource "jobs"'),
        ((403, refusal(403, FORBIDDEN)), SettingsError, "launcher.yaml"),
        ((422, refusal(422, "spec.template: Required")), SettingsError, "POST jobs: spec.template"),
        ((404, refusal(404, 'namespaces "cars" not found')), SettingsError, 'namespaces "cars" not found'),
        ((500, b"<html>gateway</html>"), WorldDown, "answers 500 .*gateway"),
    ],
)
def test_a_refusal_says_what_is_missing(
    api: ApiServer, job_api: JobApi, answer: tuple[int, Any], error: type[Exception], message: str
):
    """The verb, the resource, the user, and where the right is granted."""
    api.answers = {("POST", JOBS): answer}
    with pytest.raises(error, match=message):
        job_api.create_job({})


def test_events_that_must_not_be_read_are_left_out(api: ApiServer, job_api: JobApi):
    """The training goes on without the reason for waiting."""
    api.answers = {("GET", "/api/v1/namespaces/cars/events"): (403, refusal(403, "forbidden"))}
    assert job_api.events("j") == []


def test_a_server_that_does_not_answer_is_the_world_down(api: ApiServer, job_api: JobApi):
    """WorldDown names the context."""
    api.server.shutdown()
    api.server.server_close()
    with pytest.raises(WorldDown, match="context first: the API server does not answer"):
        job_api.job("j")


def test_the_launcher_may_do_what_it_does_and_nothing_else(api: ApiServer, job_api: JobApi):
    """The Role in k8s/ grants the rights of what each call asks for, no other; only the CronJob is named."""
    calls = {
        "cronjob": ("trainer",),
        "create_job": ({},),
        "jobs": (),
        "job": ("j",),
        "pods": ("j",),
        "events": ("j",),
        "delete_job": ("j",),
        "log_lines": ("p", "trainer"),
    }
    assert set(calls) == {name for name, value in vars(JobApi).items() if callable(value) and name[0] != "_"}
    for name, arguments in calls.items():
        with suppress(Gone, SettingsError):
            getattr(job_api, name)(*arguments)
    asked = set()
    for method, path, _ in api.asked:
        group, _, rest = path.partition("/v1/namespaces/cars/")
        kind, name, part = (*rest.split("/"), "", "")[:3]
        verb = {"POST": "create", "DELETE": "delete", "GET": "get" if name else "list"}[method]
        asked.add(
            (group.removeprefix("/apis/").removeprefix("/api"), "/".join(filter(None, (kind, part))), verb)
        )
    documents = list(yaml.safe_load_all(LAUNCHER.read_text()))
    (role,) = (document for document in documents if document["kind"] == "Role")
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == asked
    (cronjobs,) = (rule for rule in role["rules"] if rule["resources"] == ["cronjobs"])
    assert cronjobs["resourceNames"] == ["trainer"]
