"""What a training is doing, read from the end of its log."""

import json
from collections import defaultdict

from local.supervisor import Child

_ENDED: dict[int | None, str] = {0: "a model was published", 3: "the model was refused by the gate"}
_OTHER_LINE_CHARS_MAX = 100
_LOG_KEYS = {"time", "level", "service", "message", "exception"}
_STEPS = 5
# Message of the trainer's log: which step of a training it belongs to, and what to show of it.
_SHOWN = {
    "waiting for records": (1, "gathering telemetry, {found} of {wanted} records"),
    "reading": (2, "reading telemetry"),
    "the slice is read": (2, "{records} records of {cars} cars are read"),
    "cars": (3, "learning each car and the linear detector"),
    "linear detector": (3, "the linear detector is learned"),
    "training": (4, "training the network, step {step}"),
    "the network is trained": (4, "the network is trained"),
    "judging": (5, "judging it on cars that were held out"),
    "judged": (5, "judging it on cars that were held out"),
}


def state(child: Child | None, log_lines: list[str]) -> str:
    """In words: how far the training is, or how it ended."""
    if child is None:
        return "waits for telemetry"
    if child.process is None and child.status in _ENDED:
        return _ENDED[child.status]
    words = next((words for line in reversed(log_lines) if (words := line_in_words(line))), "starts")
    return words if child.process is not None else f"ended with status {child.status}: {words}"


def line_in_words(line: str) -> str:
    """A line of the trainer's JSON log in words; empty for a line that is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(entry, dict) or entry.get("message", "TensorFlow is loaded") == "TensorFlow is loaded":
        return ""
    if entry["message"] in _SHOWN:
        step, text = _SHOWN[entry["message"]]
        # Whole numbers have gaps between thousands; a missing field is shown as `?`.
        shown = {k: f"{v:,}".replace(",", " ") if isinstance(v, int) else v for k, v in entry.items()}
        return f"step {step} of {_STEPS}, {text.format_map(defaultdict(lambda: '?', shown))}"
    fields = ", ".join(f"{key} {value}" for key, value in entry.items() if key not in _LOG_KEYS)
    return f"{entry['message']} {fields}".strip()[:_OTHER_LINE_CHARS_MAX]
