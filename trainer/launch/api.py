"""The few calls that `trainer launch` makes to the Kubernetes API.

Objects stay the JSON that the server sent: what a newer server adds to a template must reach the Job
unchanged, and the client's own classes refuse fields that they do not know.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbing.life import WorldDown
from plumbing.settings import SettingsError

Object = dict[str, Any]

# Every right that is used: API group, resource, verb. The Role trainer-launcher grants exactly these
# (k8s/apps/trainer/launcher.yaml; a test compares).
RIGHTS = {
    ("batch", "cronjobs", "get"),
    ("batch", "jobs", "create"),
    ("batch", "jobs", "get"),
    ("batch", "jobs", "delete"),
    ("", "pods", "list"),
    ("", "pods/log", "get"),
    ("", "events", "list"),
}
_METHODS = {"get": "GET", "list": "GET", "create": "POST", "delete": "DELETE"}
TIMEOUT_S = 10.0
LOG_BYTES_MAX = 1_000_000  # of a log at once; the rest comes with the next request
LISTED_MAX = 100
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Gone(Exception):
    """The object does not exist."""


@dataclass(frozen=True)
class JobApi:
    """A namespace of a cluster. Every call raises WorldDown, or SettingsError where it is not allowed."""

    client: Any  # kubernetes.client.ApiClient
    namespace: str
    where: str  # for people: the context of the kubeconfig

    def cronjob(self, name: str) -> Object:
        """The CronJob. Raises SettingsError where it or the namespace does not exist."""
        with suppress(Gone):
            return self._object("get", "cronjobs", name)
        missing = f"{self.where}: no CronJob {name} in namespace {self.namespace}"
        no_namespace = f"{self.where}: no namespace {self.namespace}; choose another --namespace"
        try:
            self._request("get", "namespaces")
        except Gone:
            raise SettingsError(no_namespace) from None
        except SettingsError as error:  # few have the right to read namespaces
            if f'namespaces "{self.namespace}" not found' in str(error):
                raise SettingsError(no_namespace) from None
            other = "or no such namespace; choose another --namespace or --cronjob"
            raise SettingsError(f"{missing}, {other}") from None
        raise SettingsError(
            f"{missing}; apply the deployment there (kubectl apply -k), or choose another --cronjob"
        )

    def create_job(self, job: Object) -> Object:
        """The Job as the server made it."""
        return self._object("create", "jobs", body=job)

    def job(self, name: str) -> Object:
        """The Job now. Raises Gone where somebody deleted it."""
        return self._object("get", "jobs", name)

    def pods(self, job: str) -> Sequence[Object]:
        """The Job's pods, at most LISTED_MAX."""
        return self._items("pods", labelSelector=f"batch.kubernetes.io/job-name={job}")

    def events(self, name: str) -> Sequence[Object]:
        """The events about the object of this name; empty where reading them is not allowed."""
        with suppress(SettingsError):
            return self._items("events", fieldSelector=f"involvedObject.name={name}")
        return []

    def delete_job(self, name: str) -> None:
        """Delete the Job and its pods, if they still exist."""
        with suppress(Gone):
            self._request("delete", "jobs", name, propagationPolicy="Background")

    def log_lines(self, pod: str, container: str, since: str = "") -> Sequence[tuple[str, str]]:
        """(time stamp, line) of a container's log after the time stamp `since`, finished lines only."""
        query = {"container": container, "timestamps": "true", "limitBytes": str(LOG_BYTES_MAX)}
        if since:
            query["sinceTime"] = since
        try:
            log = self._request("get", "pods/log", pod, **query).decode("utf-8", "replace")
        except Gone:
            return []
        lines = [line.partition(" ") for line in log.split("\n")[:-1]]
        return [(stamp, text) for stamp, _, text in lines if stamp > since]  # sinceTime is rounded to seconds

    def _items(self, resource: str, **query: str) -> Sequence[Object]:
        answer = json.loads(self._request("list", resource, limit=str(LISTED_MAX), **query))
        return answer.get("items", [])  # type: ignore[no-any-return]

    def _object(self, verb: str, resource: str, name: str = "", body: Object | None = None) -> Object:
        return json.loads(self._request(verb, resource, name, body))  # type: ignore[no-any-return]

    def _request(
        self, verb: str, resource: str, name: str = "", body: Object | None = None, /, **query: str
    ) -> bytes:
        """The server's answer. Raises Gone, SettingsError, WorldDown."""
        from urllib3.exceptions import HTTPError

        group = "/apis/batch/v1" if ("batch", resource, verb) in RIGHTS else "/api/v1"
        kind, _, subresource = resource.partition("/")
        parts = [group, "namespaces", self.namespace, kind.removeprefix("namespaces"), name, subresource]
        call = self.client.param_serialize(
            _METHODS[verb],
            "/".join(filter(None, parts)),
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self.client.call_api(*call, _request_timeout=TIMEOUT_S)
            data: bytes = answer.response.data
        except HTTPError as error:
            raise WorldDown(f"{self.where}: the API server does not answer: {error}") from error
        if answer.status >= 300:
            raise self._refusal(answer.status, message_of(data), f"{verb} {resource}")
        return data

    def _refusal(self, status: int, message: str, right: str) -> Exception:
        if status == 404 and "namespaces" not in message:
            return Gone(message)
        refuses = f"{self.where} refuses to {right}: {message}"
        by_status = dict.fromkeys((400, 409, 422), refuses) | {
            401: f"{self.where} does not know you: log in again ({message})",
            403: f"{self.where}: not allowed to {right} in namespace {self.namespace}: {message}. The Role "
            "trainer-launcher (k8s/apps/trainer/launcher.yaml) grants all that is needed",
            404: f"{self.where}: {message}",
        }
        if status in by_status:
            return SettingsError(by_status[status])
        return WorldDown(f"{self.where} answered {status} to {right}: {message}")


def message_of(body: bytes) -> str:
    """What a refusing server says: the message of its Status object, else the beginning of its answer."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace").strip() or "no reason given"


def connect(kubeconfig: Path | None, context: str, namespace: str) -> JobApi:
    """The cluster that kubectl would take; in a pod without kubeconfig, its own. Raises SettingsError."""
    try:
        from kubernetes import client, config
        from kubernetes.config import KUBE_CONFIG_DEFAULT_LOCATION, ConfigException
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error}: pip install -c constraints.txt '.[launch]'") from error

    configuration = client.Configuration()
    configuration.retries = 2  # within a call; the loop that follows the Job tries again anyway
    files = [Path(part).expanduser() for part in KUBE_CONFIG_DEFAULT_LOCATION.split(":") if part]
    if not kubeconfig and not context and _POD_NAMESPACE.exists() and not any(map(Path.exists, files)):
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        namespace = namespace or _POD_NAMESPACE.read_text().strip()
        return JobApi(client.ApiClient(configuration), namespace, "this cluster")
    try:
        file = str(kubeconfig) if kubeconfig else None
        contexts, chosen = config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
        if context:
            by_name = {each["name"]: each for each in contexts}
            if context not in by_name:
                raise SettingsError(f"no context {context}; known are {', '.join(sorted(by_name))}")
            chosen = by_name[context]
        load = config.load_kube_config
        load(file, chosen["name"], configuration, persist_config=False)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise SettingsError(f"no usable kubeconfig ({error}): set KUBECONFIG or --kubeconfig") from error
    namespace = namespace or chosen["context"].get("namespace") or "default"
    return JobApi(client.ApiClient(configuration), namespace, f"context {chosen['name']}")
