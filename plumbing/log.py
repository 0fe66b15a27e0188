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
    handler.setFormatter(_Formatter(service, as_text))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _Formatter(logging.Formatter):
    def __init__(self, service: str, as_text: bool) -> None:
        super().__init__()
        self._service = service
        self._as_text = as_text

    def format(self, record: logging.LogRecord) -> str:
        level, message = record.levelname.lower(), record.getMessage()
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        exception = self.formatException(record.exc_info) if record.exc_info else ""
        if self._as_text:
            clock = time.strftime("%H:%M:%S", time.localtime(record.created))
            shown = "".join(f" {key}={value}" for key, value in fields.items())
            return f"{clock} {self._service} {level}: {message}{shown}" + (exception and "\n" + exception)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": level,
            "service": self._service,
            "message": message,
        }
        entry = entry | fields | entry  # fields come last and cannot replace an entry
        if exception:
            entry["exception"] = exception
        return json.dumps({key: _finite(value) for key, value in entry.items()}, default=str)


def _finite(value: object) -> object:
    """NaN and infinity as text: JSON has neither."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
