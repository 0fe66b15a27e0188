"""The few calls that `trainer launch` makes to the Kubernetes API; the Role trainer-launcher grants these.

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

TIMEOUT_S = 10.0
LOG_BYTES_MAX = 1_000_000  # of a log at once; the rest comes with the next request
LISTED_MAX = 100
_BATCH, _CORE = "/apis/batch/v1", "/api/v1"
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# Refusals that waiting does not change, with what helps beside the server's own words.
_REFUSALS = dict.fromkeys((400, 409, 422), "") | {
    401: "; log in again",
    403: "; the Role trainer-launcher (k8s/apps/trainer/launcher.yaml) grants all that is needed",
}


class Gone(SettingsError):
    """The object does not exist."""


@dataclass(frozen=True)
class JobApi:
    """A namespace of a cluster. Every call raises WorldDown, or SettingsError where it is not allowed."""

    client: Any  # kubernetes.client.ApiClient
    namespace: str
    where: str  # for people: the context of the kubeconfig

    def cronjob(self, name: str) -> Object:
        """The CronJob. Raises SettingsError where it or the namespace does not exist."""
        try:
            return self._object("GET", _BATCH, f"cronjobs/{name}")
        except Gone:
            raise SettingsError(
                f"{self.where}: no CronJob {name} in namespace {self.namespace}, or no such namespace; apply "
                "the deployment there (kubectl apply -k), or choose another --namespace or --cronjob"
            ) from None

    def create_job(self, job: Object) -> Object:
        """The Job as the server made it."""
        return self._object("POST", _BATCH, "jobs", job)

    def jobs(self) -> Sequence[Object]:
        """The Jobs of the namespace, at most LISTED_MAX."""
        return self._items("jobs", _BATCH)

    def job(self, name: str) -> Object:
        """The Job now. Raises Gone where somebody deleted it."""
        return self._object("GET", _BATCH, f"jobs/{name}")

    def pods(self, job: str) -> Sequence[Object]:
        """The Job's pods, at most LISTED_MAX."""
        return self._items("pods", _CORE, labelSelector=f"batch.kubernetes.io/job-name={job}")

    def events(self, name: str) -> Sequence[Object]:
        """The events about the object of this name; empty where reading them is not allowed."""
        with suppress(SettingsError):
            return self._items("events", _CORE, fieldSelector=f"involvedObject.name={name}")
        return []

    def delete_job(self, name: str) -> None:
        """Delete the Job and its pods, if they still exist."""
        with suppress(Gone):
            self._request("DELETE", _BATCH, f"jobs/{name}", propagationPolicy="Background")

    def log_lines(self, pod: str, container: str, since: str = "") -> Sequence[tuple[str, str]]:
        """(time stamp, line) of a container's log after the time stamp `since`, finished lines only.

        Raises Gone where there is no such pod.
        """
        query = {"container": container, "timestamps": "true", "limitBytes": str(LOG_BYTES_MAX)}
        if since:
            query["sinceTime"] = since
        log = self._request("GET", _CORE, f"pods/{pod}/log", **query).decode("utf-8", "replace")
        lines = [line.partition(" ") for line in log.split("\n")[:-1]]
        return [(stamp, text) for stamp, _, text in lines if stamp > since]  # sinceTime is rounded to seconds

    def _items(self, path: str, group: str, **query: str) -> Sequence[Object]:
        answer = json.loads(self._request("GET", group, path, limit=str(LISTED_MAX), **query))
        return answer.get("items", [])  # type: ignore[no-any-return]

    def _object(self, method: str, group: str, path: str, body: Object | None = None) -> Object:
        return json.loads(self._request(method, group, path, body))  # type: ignore[no-any-return]

    def _request(
        self, method: str, group: str, path: str, body: Object | None = None, /, **query: str
    ) -> bytes:
        """The server's answer. Raises Gone, SettingsError, WorldDown."""
        from urllib3.exceptions import HTTPError

        call = self.client.param_serialize(
            method,
            f"{group}/namespaces/{self.namespace}/{path}",
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
        if answer.status < 300:
            return data
        refusal = f"{self.where} answers {answer.status} to {method} {path}: {message_of(data)}"
        if answer.status == 404:
            raise Gone(refusal)
        if answer.status in _REFUSALS:
            raise SettingsError(refusal + _REFUSALS[answer.status])
        raise WorldDown(refusal)


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
        contexts, current = config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
        by_name = {each["name"]: each["context"] for each in contexts}
        chosen = context or current["name"]
        if chosen not in by_name:
            raise SettingsError(f"no context {chosen}; known are {', '.join(sorted(by_name))}")
        load = config.load_kube_config
        load(file, chosen, configuration, persist_config=False)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise SettingsError(f"no usable kubeconfig ({error}): set KUBECONFIG or --kubeconfig") from error
    namespace = namespace or by_name[chosen].get("namespace") or "default"
    return JobApi(client.ApiClient(configuration), namespace, f"context {chosen}")
