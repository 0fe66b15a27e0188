"""python -m docs.picture: writes docs/architecture.svg from contract/topics.py.

A repo test draws it again and compares, and holds the arrows against what the services import.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from contract import topics
from contract.topics import Topic

FILE = Path(__file__).with_name("architecture.svg")


@dataclass(frozen=True)
class Service:
    """A box: a folder of this repository that reads and writes topics."""

    folder: str
    lines: tuple[str, ...]  # what it does, a line each


@dataclass(frozen=True)
class Arrow:
    """A service reads or writes a topic."""

    folder: str
    topic: str  # its name in the cluster where it is written first: `telemetry`, not `edge.telemetry`
    way: Literal["reads", "writes", "both"]


SIMULATOR = Service("simulator", ("the cars, one", "connection each"))
BRIDGE = Service("bridge", ("acknowledges", "after Kafka"))
SCORER = Service("scorer", ("1 to 12, TensorFlow Lite", "a state of every car", "new models without a gap"))
TRAINER = Service("trainer", ("TensorFlow, a job", "trains, verifies, judges", "publishes or refuses"))
ARROWS = (
    Arrow("bridge", topics.TELEMETRY, "writes"),
    Arrow("bridge", topics.MAINTENANCE, "writes"),
    Arrow("bridge", topics.REJECTED, "writes"),
    Arrow("scorer", topics.TELEMETRY, "reads"),
    Arrow("scorer", topics.REJECTED, "writes"),
    Arrow("scorer", topics.ANOMALIES, "writes"),
    Arrow("scorer", topics.ALERTS, "writes"),
    Arrow("scorer", topics.AUDIT, "both"),
    Arrow("scorer", topics.EVIDENCE, "writes"),
    Arrow("scorer", topics.CAR_STATE, "both"),
    Arrow("scorer", topics.MODELS, "reads"),
    Arrow("trainer", topics.TELEMETRY, "reads"),
    Arrow("trainer", topics.MAINTENANCE, "reads"),
    Arrow("trainer", topics.ALERTS, "reads"),
    Arrow("trainer", topics.EVIDENCE, "reads"),
    Arrow("trainer", topics.MODELS, "both"),
    Arrow("trainer", topics.MODELS_LOG, "both"),
    Arrow("trainer", topics.MODELS_SLICES, "both"),
    Arrow("trainer", topics.MODELS_EXAM, "both"),
)
# Colour of a topic's row and arrows; a topic without one is refused.
COLOURS = {
    **dict.fromkeys((topics.TELEMETRY, topics.MAINTENANCE), "data"),
    **dict.fromkeys((topics.ANOMALIES, topics.ALERTS), "result"),
    **dict.fromkeys((topics.MODELS, topics.MODELS_LOG, topics.MODELS_SLICES, topics.MODELS_EXAM), "model"),
    **dict.fromkeys((topics.REJECTED, topics.AUDIT, topics.EVIDENCE, topics.CAR_STATE), "proof"),
}
LEGEND = (
    ("data", "from the cars and workshops"),
    ("result", "what the scorers find"),
    ("model", "models"),
    ("proof", "audit, evidence, states, dead letters"),
)
# Top to bottom as drawn: the bridge writes the first three.
EDGE_ROWS = (topics.TELEMETRY, topics.MAINTENANCE, topics.REJECTED, topics.ANOMALIES, topics.ALERTS,
             topics.AUDIT, topics.EVIDENCE, topics.CAR_STATE, topics.MODELS)  # fmt: skip
CLOUD_ROWS = (*topics.MIRRORED_UP, topics.MODELS, topics.MODELS_LOG, topics.MODELS_SLICES, topics.MODELS_EXAM)

WIDTH, ROW, HEAD = 1000, 26, 54
PANEL_X, PANEL_WIDTH, RIGHT_X, RIGHT_WIDTH = 402, 318, 800, 176
# Bands from top to bottom: edge, a gap for MirrorMaker, cloud.
MARGIN, PADDING, GAP = 12, 16, 72
EDGE_HEIGHT = 2 * PADDING + HEAD + len(EDGE_ROWS) * ROW + 6
CLOUD_HEIGHT = 2 * PADDING + HEAD + len(CLOUD_ROWS) * ROW + 6
EDGE_Y, CLOUD_Y = MARGIN + PADDING, MARGIN + EDGE_HEIGHT + GAP + PADDING
HEIGHT = CLOUD_Y - PADDING + CLOUD_HEIGHT + MARGIN

# The colours of GitHub's light and dark mode.
LIGHT = {
    "card": "#ffffff", "band": "#f6f8fa", "panel": "#ffffff", "line": "#d1d9e0", "text": "#1f2328",
    "soft": "#59636e", "service": "#ddf4ff", "service-line": "#54aeff",
    "data": "#0969da", "result": "#bc4c00", "model": "#8250df", "proof": "#6e7781",
}  # fmt: skip
DARK = {
    "card": "#0d1117", "band": "#151b23", "panel": "#0d1117", "line": "#3d444d", "text": "#f0f6fc",
    "soft": "#9198a1", "service": "#10233f", "service-line": "#388bfd",
    "data": "#58a6ff", "result": "#f0883e", "model": "#bc8cff", "proof": "#9198a1",
}  # fmt: skip
STYLE = f"""
  :root {{ {" ".join(f"--{name}: {value};" for name, value in LIGHT.items())} }}
  @media (prefers-color-scheme: dark) {{
    :root {{ {" ".join(f"--{name}: {value};" for name, value in DARK.items())} }}
  }}"""
STYLE += """
  text { font: 13px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: var(--text); }
  .soft { font-size: 12px; fill: var(--soft); }
  .title { font-size: 15px; font-weight: 600; }
  .band-title { font-size: 12px; font-weight: 600; letter-spacing: 1.5px; fill: var(--soft); }
  .topic { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
  .card { fill: var(--card); } .band { fill: var(--band); stroke: var(--line); }
  .panel { fill: var(--panel); stroke: var(--line); } .rule { stroke: var(--line); }
  .service { fill: var(--service); stroke: var(--service-line); stroke-width: 1.5; }
  .arrow { fill: none; stroke-width: 1.8; }
"""


def main() -> None:
    """Write the picture."""
    FILE.write_text(draw(), encoding="utf-8")
    print(FILE)


def draw() -> str:
    """The picture as SVG; its colours follow the reader's light or dark mode."""
    parts = [
        f'<rect class="card" width="{WIDTH}" height="{HEIGHT}" rx="10"/>',
        *_band(EDGE_Y - PADDING, EDGE_HEIGHT, "EDGE, ONE PER SITE"),
        *_band(CLOUD_Y - PADDING, CLOUD_HEIGHT, "CLOUD, ONE FOR ALL EDGES"),
        *_cars(),
        *_panel("Kafka (edge)", EDGE_Y, in_order(topics.edge_topics(), EDGE_ROWS)),
        *_panel("Kafka (cloud)", CLOUD_Y, in_order(topics.cloud_topics(), CLOUD_ROWS)),
        *_mirrors(),
        *_beside(SCORER, EDGE_Y, EDGE_ROWS),
        *_beside(TRAINER, CLOUD_Y, CLOUD_ROWS),
        *_legend(),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
            ' aria-label="From the cars over MQTT and Kafka to the scorers, the cloud and the trainer">',
            "<!-- Made by `python -m docs.picture` from contract/topics.py. -->",
            f"<style>{STYLE}</style>",
            *_heads(),
            *parts,
            "</svg>\n",
        ]
    )


def in_order(cluster: Sequence[Topic], rows: Sequence[str]) -> list[Topic]:
    """The cluster's topics in the order in which they are drawn. Raises ValueError for one without a row."""
    by_source = {_source(topic.name): topic for topic in cluster}
    if set(by_source) != set(rows):
        raise ValueError(f"no row or no topic: {sorted(set(by_source) ^ set(rows))}")
    return [by_source[row] for row in rows]


def _source(name: str) -> str:
    """The name of a topic in the cluster that it was mirrored from: `telemetry` for `edge.telemetry`."""
    return name.removeprefix(topics.mirrored("edge", "")).removeprefix(topics.mirrored("cloud", ""))


def _kept(topic: Topic) -> str:
    if topic.cleanup_policy == "compact":
        return "last per key"
    if topic.retention_hours is None:
        return "for ever"
    days, hours = divmod(topic.retention_hours, 24)
    return f"{days} d" if days > 1 and not hours else f"{topic.retention_hours} h"


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _heads() -> Iterator[str]:
    """Arrow heads, one a colour: a marker does not inherit the colour of its line."""
    yield "<defs>"
    for colour, _ in LEGEND:
        yield (
            f'<marker id="{colour}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5.5" markerHeight="5.5"'
            f' orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" style="fill:var(--{colour})"/></marker>'
        )
    yield "</defs>"


def _arrow(colour: str, path: str, ends: Literal["end", "start", "both"] = "end") -> str:
    heads = "".join(f' marker-{end}="url(#{colour})"' for end in ("start", "end") if ends in (end, "both"))
    return f'<path class="arrow" d="{path}" style="stroke:var(--{colour})"{heads}/>'


def _band(y: float, height: float, title: str) -> Iterator[str]:
    yield f'<rect class="band" x="{MARGIN}" y="{y}" width="{WIDTH - 2 * MARGIN}" height="{height}" rx="8"/>'
    yield _text(28, y + 28, title, "band-title")


def _box(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'


def _titled(x: float, y: float, title: str, lines: Sequence[str]) -> Iterator[str]:
    yield _text(x, y, title, "title", "middle")
    for number, line in enumerate(lines, 1):
        yield _text(x, y + 2 + 16 * number, line, "soft", "middle")


def _cars() -> Iterator[str]:
    """Cars, broker and bridge: boxes in a row, as high as the three topics that the bridge writes."""
    top, height = EDGE_Y + HEAD - 6, 3 * ROW + 12
    middle = top + height / 2
    for x, width, style, title, lines in (
        (28, 112, "service", SIMULATOR.folder + "/", SIMULATOR.lines),
        (165, 88, "panel", "mosquitto", ("MQTT broker", "1 to n shards")),
        (278, 94, "service", BRIDGE.folder + "/", BRIDGE.lines),
    ):
        yield _box(x, top, width, height, style)
        yield from _titled(x + width / 2, middle + 4 - 8 * len(lines), title, lines)
    yield _arrow("data", f"M141 {middle}H163")
    yield _arrow("data", f"M254 {middle}H276")
    yield _text(28, top + height + 30, topics.mqtt_topic("<car_id>", topics.TELEMETRY), "topic")
    yield _text(28, top + height + 50, topics.mqtt_topic("<car_id>", topics.MAINTENANCE), "topic")
    yield _text(28, top + height + 76, "QoS 1: a car sends again what was not", "soft")
    yield _text(28, top + height + 92, "acknowledged, over reconnects and restarts.", "soft")
    for arrow in ARROWS:
        if arrow.folder == BRIDGE.folder:
            y = EDGE_Y + HEAD + (EDGE_ROWS.index(arrow.topic) + 0.5) * ROW
            yield _arrow(COLOURS[arrow.topic], f"M373 {y}H{PANEL_X - 2}")


def _panel(title: str, y: float, cluster: Sequence[Topic]) -> Iterator[str]:
    """A Kafka cluster: a row for each topic with its partitions and how long it keeps a record."""
    yield _box(PANEL_X, y, PANEL_WIDTH, HEAD + len(cluster) * ROW + 6, "panel")
    yield _text(PANEL_X + 16, y + 24, title, "title")
    partitions_x, kept_x = PANEL_X + 222, PANEL_X + PANEL_WIDTH - 14
    yield _text(PANEL_X + 16, y + 46, "topic", "soft")
    yield _text(partitions_x, y + 46, "partitions", "soft", "end")
    yield _text(kept_x, y + 46, "kept", "soft", "end")
    for number, topic in enumerate(cluster):
        middle = y + HEAD + (number + 0.5) * ROW
        colour = COLOURS[_source(topic.name)]
        yield f'<path class="rule" d="M{PANEL_X} {middle - ROW / 2}h{PANEL_WIDTH}"/>'
        yield f'<circle cx="{PANEL_X + 18}" cy="{middle}" r="4" style="fill:var(--{colour})"/>'
        yield _text(PANEL_X + 30, middle + 4.5, topic.name, "topic")
        yield _text(partitions_x, middle + 4.5, str(topic.partitions), "soft", "end")
        yield _text(kept_x, middle + 4.5, _kept(topic), "soft", "end")


def _beside(service: Service, y: float, rows: Sequence[str]) -> Iterator[str]:
    """A service at the right of a cluster, with a straight arrow to each topic that it reads or writes."""
    height = len(rows) * ROW + 6
    yield _box(RIGHT_X, y + HEAD - 3, RIGHT_WIDTH, height, "service")
    middle = y + HEAD + height / 2
    yield from _titled(
        RIGHT_X + RIGHT_WIDTH / 2, middle + 4 - 8 * len(service.lines), service.folder + "/", service.lines
    )
    for arrow in ARROWS:
        if arrow.folder == service.folder:
            row_y = y + HEAD + (rows.index(arrow.topic) + 0.5) * ROW
            ends: Literal["end", "start", "both"] = (
                "both" if arrow.way == "both" else "end" if arrow.way == "reads" else "start"
            )
            yield _arrow(COLOURS[arrow.topic], f"M{PANEL_X + PANEL_WIDTH + 2} {row_y}H{RIGHT_X - 2}", ends)


def _mirrors() -> Iterator[str]:
    """MirrorMaker 2 between the clusters, with what it copies each way."""
    top, bottom = EDGE_Y + HEAD + len(EDGE_ROWS) * ROW + 6, CLOUD_Y
    middle, half = (top + bottom) / 2, 18
    yield _box(PANEL_X + 20, middle - half, PANEL_WIDTH - 40, 2 * half, "panel")
    yield _text(PANEL_X + PANEL_WIDTH / 2, middle + 5, "MirrorMaker 2, exactly once", "title", "middle")
    for x, colour, down, text, anchor, text_x in (
        (PANEL_X + 60, "data", True, ", ".join(topics.MIRRORED_UP), "end", PANEL_X + 8),
        (
            PANEL_X + PANEL_WIDTH - 60,
            "model",
            False,
            ", ".join(topics.MIRRORED_DOWN),
            "start",
            PANEL_X + PANEL_WIDTH - 8,
        ),
    ):
        ends: Literal["end", "start"] = "end" if down else "start"
        yield _arrow(colour, f"M{x} {top + 2}V{middle - half - 2}", ends)
        yield _arrow(colour, f"M{x} {middle + half + 2}V{bottom - 2}", ends)
        yield _text(text_x, middle + 5, ("↓ " if down else "↑ ") + text, "topic", anchor)


def _legend() -> Iterator[str]:
    x, y = 28, CLOUD_Y + HEAD - 4
    for number, (colour, meaning) in enumerate(LEGEND):
        line_y = y + 24 * number
        yield _arrow(colour, f"M{x} {line_y}h34")
        yield _text(x + 46, line_y + 4.5, meaning)
    yield _text(
        x, y + 24 * len(LEGEND) + 10, "Into a service: it reads the topic. Out of it: it writes.", "soft"
    )
    yield _text(x, y + 24 * len(LEGEND) + 28, "Drawn from contract/topics.py.", "soft")


if __name__ == "__main__":
    main()
