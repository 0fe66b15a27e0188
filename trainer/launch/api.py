"""The few calls that `trainer launch` makes to the Kubernetes API.

Objects stay the JSON that the server sent: what a newer server adds to a template must reach the Job
unchanged, and the client's own classes refuse fields that they do not know.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from plumbing.life import WorldDown
from plumbing.settings import SettingsError

Object = dict[str, Any]

# Everything that is asked of the server: API group, resource, verb. The Role trainer-launcher grants exactly
# this (k8s/apps/trainer/launcher.yaml; a test compares).
RIGHTS = {
    ("batch", "cronjobs", "get"),
    ("batch", "jobs", "create"),
    ("batch", "jobs", "get"),
    ("batch", "jobs", "delete"),
    ("", "pods", "list"),
    ("", "pods/log", "get"),
    ("", "events", "list"),
}
TIMEOUT_S = 10.0
LOG_SILENCE_S = 60.0  # a silent log stream is opened anew after so long: its connection may be gone
LISTED_MAX = 100
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_log = logging.getLogger(__name__)


class Gone(Exception):
    """What was asked for does not exist."""


class Cluster:
    """A namespace of a cluster. Every call raises WorldDown, or SettingsError where it is not allowed."""

    def __init__(self, client: Any, namespace: str, where: str) -> None:
        self.namespace = namespace
        self.where = where  # for people: the context, or the address
        self._client = client

    def cronjob(self, name: str) -> Object:
        """The CronJob. Raises SettingsError where it or the namespace does not exist."""
        path = f"/apis/batch/v1/namespaces/{self.namespace}/cronjobs/{name}"
        try:
            return self._call("GET", path, right="get cronjobs")
        except Gone:
            raise SettingsError(self._why_no_cronjob(name)) from None

    def create_job(self, job: Object) -> Object:
        """The Job as it was made."""
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
        return self._call("POST", path, body=job, right="create jobs")

    def job(self, name: str) -> Object:
        """The Job now. Raises Gone where somebody deleted it."""
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{name}"
        return self._call("GET", path, right="get jobs")

    def pods(self, job: str) -> Sequence[Object]:
        """The Job's pods, at most 100."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        return self._items(path, {"labelSelector": f"batch.kubernetes.io/job-name={job}"}, "list pods")

    def events(self, name: str) -> Sequence[Object]:
        """What the cluster says about the object of this name; nothing where it may not be read."""
        path = f"/api/v1/namespaces/{self.namespace}/events"
        # Without them a reason is lost, and nothing else.
        with suppress(SettingsError):
            return self._items(path, {"fieldSelector": f"involvedObject.name={name}"}, "list events")
        return []

    def delete_job(self, name: str) -> None:
        """The Job and its pods go; no error where they are gone."""
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{name}"
        with suppress(Gone):
            self._call("DELETE", path, query={"propagationPolicy": "Background"}, right="delete jobs")

    def log_lines(self, pod: str, container: str) -> Iterator[tuple[str, str]]:
        """(time, line) of all that a container has said, then what it says, until it ends or falls silent.

        A stream can end early; a new one begins at the first line again: the times tell what was seen.
        """
        query = {"container": container, "follow": "true", "timestamps": "true"}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log"
        from urllib3.exceptions import HTTPError

        try:
            silence_s = (TIMEOUT_S, LOG_SILENCE_S)
            answer = self._request("GET", path, query, right="get pods/log", timeout_s=silence_s)
        except Gone:
            return
        rest = b""
        with suppress(HTTPError):
            for chunk in answer.response.stream(65_536, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    stamp, _, text = line.decode("utf-8", "replace").partition(" ")
                    yield stamp, text
        answer.response.release_conn()

    def _items(self, path: str, query: Mapping[str, str], right: str) -> Sequence[Object]:
        found = self._call("GET", path, query={**query, "limit": str(LISTED_MAX)}, right=right)
        items: Sequence[Object] = found.get("items", [])
        return items

    def _call(
        self,
        method: str,
        path: str,
        *,
        right: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> Object:
        answer = self._request(method, path, query or {}, body=body, right=right)
        read: Object = json.loads(answer.response.data)
        return read

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        right: str,
        timeout_s: float | tuple[float, float] = TIMEOUT_S,
        body: Object | None = None,
    ) -> Any:
        from urllib3.exceptions import HTTPError

        call = self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._client.call_api(*call, _request_timeout=timeout_s)
            if answer.status < 300:
                return answer
            text = answer.response.data
        except HTTPError as error:
            raise WorldDown(f"{self.where}: the API server does not answer: {error}") from error
        raise self._refusal(answer.status, message_of(text), right)

    def _refusal(self, status: int, message: str, right: str) -> Exception:
        if status == 404 and "namespaces" not in message:
            return Gone(message)
        if status == 404:
            return SettingsError(f"{self.where}: {message}")
        if status == 401:
            return SettingsError(f"{self.where} does not know you: log in again ({message})")
        if status == 403:
            return SettingsError(
                f"{self.where}: not allowed to {right} in namespace {self.namespace}: {message}. The Role "
                "trainer-launcher (k8s/apps/trainer/launcher.yaml) grants all that is needed"
            )
        if status in (400, 409, 422):
            return SettingsError(f"{self.where} refuses to {right}: {message}")
        return WorldDown(f"{self.where} answered {status} to {right}: {message}")

    def _why_no_cronjob(self, name: str) -> str:
        """Says whether the namespace is missing, or only the template; looking needs rights that few have."""
        missing = f"{self.where}: no CronJob {name} in namespace {self.namespace}"
        try:
            self._call("GET", f"/api/v1/namespaces/{self.namespace}", right="get namespaces")
        except Gone:
            return f"{self.where}: no namespace {self.namespace}; choose another --namespace"
        except SettingsError as error:
            if f'namespaces "{self.namespace}" not found' in str(error):
                return f"{self.where}: no namespace {self.namespace}; choose another --namespace"
            return f"{missing}, or no such namespace; choose another --namespace or --cronjob"
        return f"{missing}; apply the deployment there (kubectl apply -k), or choose another --cronjob"


def message_of(body: bytes) -> str:
    """What a refusing server says: the message of its Status object, else the beginning of its answer."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace").strip() or "no reason given"


def connect(kubeconfig: Path | None, context: str, namespace: str) -> Cluster:
    """The cluster that kubectl would take; in a pod without kubeconfig, its own. Raises SettingsError."""
    try:
        from kubernetes import client, config
        from kubernetes.config import ConfigException
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error}: pip install -c constraints.txt '.[launch]'") from error

    configuration = client.Configuration()
    configuration.retries = 2  # within a call; the loop of launch.py looks again anyway
    if kubeconfig is None and not context and _POD_NAMESPACE.exists() and not _has_kubeconfig():
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        inside = namespace or _POD_NAMESPACE.read_text().strip()
        return Cluster(client.ApiClient(configuration), inside, "this cluster")
    try:
        file = str(kubeconfig) if kubeconfig else None
        contexts, current = config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
        chosen = _chosen(contexts, context) if context else current
        load = config.load_kube_config
        load(file, chosen["name"], configuration, persist_config=False)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise SettingsError(f"no usable kubeconfig ({error}): set KUBECONFIG or --kubeconfig") from error
    inside = namespace or chosen["context"].get("namespace") or "default"
    return Cluster(client.ApiClient(configuration), inside, f"context {chosen['name']}")


def _has_kubeconfig() -> bool:
    from kubernetes.config import KUBE_CONFIG_DEFAULT_LOCATION

    return any(Path(part).expanduser().exists() for part in KUBE_CONFIG_DEFAULT_LOCATION.split(":") if part)


def _chosen(contexts: Sequence[Object], name: str) -> Object:
    for context in contexts:
        if context["name"] == name:
            return context
    raise SettingsError(f"no context {name}; known are {', '.join(sorted(c['name'] for c in contexts))}")
