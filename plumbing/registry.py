"""A schema registry that speaks the Confluent API, where one is configured."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import quote

from plumbing import web
from plumbing.life import WorldDown

_ANSWER_S_MAX = 10.0
_DETAIL_BYTES_MAX = 500


class _Schema(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> bytes: ...
    @property
    def text(self) -> str: ...  # JSON


def register(url: str | None, schemas: Iterable[_Schema]) -> dict[bytes, int]:
    """Register the schemas in order; returns fingerprint to id. Without a `url`: nothing, and no ids.

    The subject is `<name>-value` (Confluent's TopicNameStrategy). A schema that the registry has already
    keeps its id. Raises WorldDown, naming the schema, where the registry does not answer or refuses it (as
    incompatible, for instance).
    """
    if url is None:
        return {}
    return {schema.fingerprint: _register(url, f"{schema.name}-value", schema.text) for schema in schemas}


def _register(url: str, subject: str, text: str) -> int:
    request = urllib.request.Request(
        f"{url.rstrip('/')}/subjects/{quote(subject, safe='')}/versions",
        data=json.dumps({"schema": text, "schemaType": "AVRO"}).encode(),
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    try:
        with web.opened(request, timeout_s=_ANSWER_S_MAX) as answer:
            return int(json.load(answer)["id"])
    except urllib.error.HTTPError as error:
        why = f"{error.code} {error.read(_DETAIL_BYTES_MAX).decode(errors='replace')}"
        raise WorldDown(f"schema registry {url} refuses {subject}: {why}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorldDown(f"schema registry {url} does not answer for {subject}: {error!r}") from error
