"""What the targets are tried with: a router, a decoder, a model, a connection; made once a process."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from bridge.routing import Router
from bridge.settings import Settings as BridgeSettings
from contract.schema import SCHEMAS
from contract.telemetry import Decoder
from scorer.model import Model

NOW_S = 1_796_000_000.0


class Nowhere:
    """A producer."""

    def produce(self, *_: Any, **__: Any) -> None:
        pass


class Wire:
    """A connection on which these bytes have come."""

    def __init__(self, data: bytes) -> None:
        self.receive = lambda: (data, False)

    def keep(self, _: bytes) -> None:
        pass

    send = keep


@cache
def fresh_folder() -> Path:
    """A folder for the files of this process."""
    path = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def bridge_settings() -> BridgeSettings:
    return BridgeSettings(mqtt_brokers=("127.0.0.1:1",), kafka_bootstrap="k:1")


@cache
def router() -> Router:
    return Router(SCHEMAS, payload_bytes_max=16_384, clock=lambda: NOW_S)


@cache
def decoder() -> Decoder:
    return Decoder.of_all_versions()


@cache
def good_value() -> bytes:
    from tests.fuzz.seeds import telemetry

    return telemetry()


@cache
def model(version: int) -> Model:
    from tests.conftest import MEAN, SPREAD, Remembering

    return Model.open(Remembering.of(MEAN, SPREAD).record(version, threshold=4.0), "litert")
