"""The few calls that `trainer launch` makes to the Kubernetes API.

Objects stay the JSON that the server sent: what a newer server adds to a template must reach the Job
unchanged, and the client's own classes refuse fields that they do not know.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
_BATCH = {resource for group, resource, _ in RIGHTS if group == "batch"}
_METHODS = {"get": "GET", "list": "GET", "create": "POST", "delete": "DELETE"}
TIMEOUT_S = 10.0
LOG_BYTES_MAX = 1_000_000  # of a log at once; the rest comes with the next request
LISTED_MAX = 100
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Gone(Exception):
    """The object does not exist."""


class JobApi:
    """A namespace of a cluster. Every call raises WorldDown, or SettingsError where it is not allowed."""

    def __init__(self, client: Any, namespace: str, where: str) -> None:
        self.namespace = namespace
        self.where = where  # for people: the context of the kubeconfig
        self._client = client

    def cronjob(self, name: str) -> Object:
        """The CronJob. Raises SettingsError where it or the namespace does not exist."""
        try:
            return self._call("get", "cronjobs", name)
        except Gone:
            raise SettingsError(self._why_no_cronjob(name)) from None

    def create_job(self, job: Object) -> Object:
        """The Job as the server made it."""
        return self._call("create", "jobs", body=job)

    def job(self, name: str) -> Object:
        """The Job now. Raises Gone where somebody deleted it."""
        return self._call("get", "jobs", name)

    def pods(self, job: str) -> Sequence[Object]:
        """The Job's pods, at most LISTED_MAX."""
        return self._items("pods", {"labelSelector": f"batch.kubernetes.io/job-name={job}"})

    def events(self, name: str) -> Sequence[Object]:
        """The events about the object of this name; empty where reading them is not allowed."""
        with suppress(SettingsError):
            return self._items("events", {"fieldSelector": f"involvedObject.name={name}"})
        return []

    def delete_job(self, name: str) -> None:
        """Delete the Job and its pods, if they still exist."""
        with suppress(Gone):
            self._call("delete", "jobs", name, query={"propagationPolicy": "Background"})

    def log_lines(self, pod: str, container: str, since: str = "") -> Sequence[tuple[str, str]]:
        """(time stamp, line) of a container's log after the time stamp `since`, finished lines only."""
        query = {"container": container, "timestamps": "true", "limitBytes": str(LOG_BYTES_MAX)}
        if since:
            query["sinceTime"] = since
        try:
            log = self._request("get", "pods/log", pod, query=query).response.data.decode("utf-8", "replace")
        except Gone:
            return []
        lines = [line.partition(" ") for line in log.split("\n")[:-1]]
        return [(stamp, text) for stamp, _, text in lines if stamp > since]  # sinceTime is rounded to seconds

    def _items(self, resource: str, query: Mapping[str, str]) -> Sequence[Object]:
        items: Sequence[Object] = self._call("list", resource, query={**query, "limit": str(LISTED_MAX)}).get(
            "items", []
        )
        return items

    def _call(self, verb: str, resource: str, name: str = "", **options: Any) -> Object:
        answer: Object = json.loads(self._request(verb, resource, name, **options).response.data)
        return answer

    def _request(
        self,
        verb: str,
        resource: str,
        name: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> Any:
        from urllib3.exceptions import HTTPError

        kind, _, subresource = resource.partition("/")
        namespace = ["namespaces"] if kind == "namespaces" else ["namespaces", self.namespace, kind]
        parts = ["/apis/batch/v1" if resource in _BATCH else "/api/v1", *namespace, name, subresource]
        call = self._client.param_serialize(
            _METHODS[verb],
            "/".join(part for part in parts if part),
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._client.call_api(*call, _request_timeout=TIMEOUT_S)
            if answer.status < 300:
                return answer
            text = answer.response.data
        except HTTPError as error:
            raise WorldDown(f"{self.where}: the API server does not answer: {error}") from error
        raise self._refusal(answer.status, message_of(text), f"{verb} {resource}")

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
        """Whether the namespace or only the CronJob is missing; few have the right to read namespaces."""
        missing = f"{self.where}: no CronJob {name} in namespace {self.namespace}"
        no_namespace = f"{self.where}: no namespace {self.namespace}; choose another --namespace"
        try:
            self._call("get", "namespaces", self.namespace)
        except Gone:
            return no_namespace
        except SettingsError as error:
            if f'namespaces "{self.namespace}" not found' in str(error):
                return no_namespace
            return f"{missing}, or no such namespace; choose another --namespace or --cronjob"
        return f"{missing}; apply the deployment there (kubectl apply -k), or choose another --cronjob"


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
