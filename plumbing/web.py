"""HTTP requests that reach processes of this machine without the proxy of the environment."""

import ipaddress
import ssl
from functools import lru_cache
from http.client import HTTPResponse
from typing import cast
from urllib.parse import urlsplit
from urllib.request import BaseHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener


def opened(
    request: str | Request, *, timeout_s: float, context: ssl.SSLContext | None = None
) -> HTTPResponse:
    """The answer to a request, an http or https URL; `context` is for https.

    `http_proxy` and the like hold for other hosts only: a proxy cannot reach 127.0.0.1 of this machine, and
    only few people list it in `no_proxy`. Raises OSError, of which urllib's HTTPError is one.
    """
    url = request if isinstance(request, str) else request.full_url
    direct = is_loopback(urlsplit(url).hostname or "")
    return cast(HTTPResponse, _opener(direct, context).open(request, timeout=timeout_s))


@lru_cache(maxsize=4)  # making one reads the system's certificates
def _opener(direct: bool, context: ssl.SSLContext | None) -> OpenerDirector:
    handlers: list[BaseHandler] = [ProxyHandler({})] if direct else []
    return build_opener(*handlers, *([HTTPSHandler(context=context)] if context else []))


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or its address, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
