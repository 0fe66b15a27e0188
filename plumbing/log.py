"""Log lines: text on a terminal, otherwise one JSON object a line."""

import json
import logging
import math
import sys
import time
from typing import Literal, TextIO

LogFormat = Literal["auto", "text", "json"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(service: str, format: LogFormat = "auto", stream: TextIO = sys.stderr) -> None:
    """Write all log records of the process to `stream`. The values of `extra` become fields of the line."""
    as_text = format == "text" or (format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Text(service) if as_text else _Json(service))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _Text(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        line = f"{clock} {self._service} {record.levelname.lower()}: {record.getMessage()}{fields}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class _Json(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "service": self._service,
            "message": record.getMessage(),
        }
        entry = entry | _fields(record) | entry  # fields come last and cannot replace an entry
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps({key: _finite(value) for key, value in entry.items()}, default=str)


def _finite(value: object) -> object:
    """NaN and infinity as text: JSON has neither."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
