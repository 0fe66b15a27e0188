"""A schema registry that speaks the Confluent API, where one is configured."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from urllib.parse import quote

from plumbing.life import WorldDown

_ANSWERS_WITHIN_S = 10.0
_DETAIL_BYTES_MAX = 500


def register(url: str, schemas: Iterable[tuple[str, str]]) -> list[int]:
    """Register (subject, Avro schema as JSON) pairs in order and return their ids.

    A schema that is there already keeps its id. Raises WorldDown where the registry does not answer or
    refuses a schema, an incompatible one for instance; the message says which.
    """
    return [_register(url, subject, text) for subject, text in schemas]


def _register(url: str, subject: str, text: str) -> int:
    request = urllib.request.Request(
        f"{url.rstrip('/')}/subjects/{quote(subject, safe='')}/versions",
        data=json.dumps({"schema": text, "schemaType": "AVRO"}).encode(),
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_ANSWERS_WITHIN_S) as answer:
            return int(json.load(answer)["id"])
    except urllib.error.HTTPError as error:
        why = f"{error.code} {error.read(_DETAIL_BYTES_MAX).decode(errors='replace')}"
        raise WorldDown(f"schema registry {url} refuses {subject}: {why}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorldDown(f"schema registry {url} does not answer for {subject}: {error!r}") from error
