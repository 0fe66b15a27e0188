"""The scorecard as tables on a terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from quality.detectors import STATELESS
from quality.scorecard import Card


def figure(value: float | None, digits: int = 2) -> str:
    """A figure as text; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def show(console: Console, card: Card) -> None:
    """Print all tables: faults, detectors, recall by fault, changes, components, robustness."""
    console.print(_severities(card))
    console.print(_faults(card))
    console.print(_detectors(card))
    console.print(_per_fault(card))
    console.print(_changes(card))
    for name, row in card["detectors"].items():
        if row["named"]:
            console.print(_confusion(name, row["named"]))
    if card["spoilt"]:
        console.print(_spoilt(card))


def _table(title: str, left: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(left)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _severities(card: Card) -> Table:
    columns = ("incidents", "at failure", "", "an hour: p10", "median", "p90")
    table = _table("How large and how fast faults grow in the test cars", "fault", columns)
    for row in card["severities"]:
        speeds = (f"{speed:.3g}" for speed in row["per_hour"].values())
        table.add_row(row["kind"], str(row["incidents"]), f"{row['at_failure']:g}", row["unit"], *speeds)
    return table


def _faults(card: Card) -> Table:
    title = "Failures to foresee, and hours of driving from onset to failure"
    table = _table(title, "fault", ("failures", "p10", "median", "p90"))
    for kind, row in card["faults"].items():
        table.add_row(kind, str(row["failures"]), *(f"{hours:.1f} h" for hours in row["growth_h"].values()))
    return table


def _detectors(card: Card) -> Table:
    columns = (
        "recall at 0.1",
        "±",
        "by single / smoothed scores",
        "at 1",
        "AUROC",
        "median lead",
        "false alarms at 0.1",
        "at 1",
    )
    table = _table(f"Scorecard over {len(card['seeds'])} seeds", "detector", columns)
    for name, row in card["detectors"].items():
        lead = row["median_lead_h"]
        table.add_row(
            name,
            figure(row["recall_at_0.1"]),
            figure(row["spread"]["recall_at_0.1"], 3),
            _by_rule(name, row),
            figure(row["recall_at_1"]),
            figure(row["auroc"]),
            "-" if lead is None else f"{lead:.1f} h",
            figure(row["false_alarms_at_0.1"]),
            figure(row["false_alarms_at_1"]),
        )
    return table


def _by_rule(name: str, row: Card) -> str:
    """Recall with alerts on single scores and on smoothed scores; one of them is the main figure."""
    other = "smoothed" if name in STATELESS else "single"
    both = [row["recall_at_0.1"], row[f"recall_at_0.1_by_{other}_scores"]]
    single, smoothed = both if other == "smoothed" else both[::-1]
    return f"{figure(single)} / {figure(smoothed)}"


def _per_fault(card: Card) -> Table:
    names = list(card["detectors"])
    title = (
        f"Recall at 0.1 false alarms per car-week by fault; lead times and components named of {names[-1]}"
    )
    heads = (name.replace("_", " ") for name in names)  # so that the head can wrap
    table = _table(title, "fault", (*heads, "median", "p10", "named"))
    for kind in card["faults"]:
        rows = [card["detectors"][name]["per_fault"][kind] for name in names]
        leads = (figure(rows[-1][key], 1) + " h" for key in ("median_lead_h", "p10_lead_h"))
        recalls = (figure(row["recall_at_0.1"]) for row in rows)
        table.add_row(kind, *recalls, *leads, figure(rows[-1]["component_named"]))
    return table


def _confusion(name: str, named: Card) -> Table:
    table = _table(
        f"Components that alerts of {name} named", "fault", ("foreseen", "component and how often")
    )
    for kind, row in named.items():
        components = ", ".join(f"{family or 'nothing'} {count}" for family, count in row.items())
        table.add_row(kind, str(sum(row.values())), components)
    return table


def _changes(card: Card) -> Table:
    changes = list(next(iter(card["detectors"].values()))["during_changes"])
    table = _table(
        "False alarms per car-week during changes that are not faults, budget 0.1", "detector", changes
    )
    for name, row in card["detectors"].items():
        cells = (figure(row["during_changes"][change]["false_alarms_at_0.1"]) for change in changes)
        table.add_row(name, *cells)
    return table


def _spoilt(card: Card) -> Table:
    columns = ("recall at 0.1", "with faulty cars", "false alarms at 0.1", "with faulty cars")
    table = _table("With 1 % of faulty cars among the training cars", "detector", columns)
    for name, spoilt in card["spoilt"].items():
        row, cells = card["detectors"][name], list[str]()
        for key in ("recall_at_0.1", "false_alarms_at_0.1"):
            cells += [figure(row[key]), figure(spoilt[key])]
        table.add_row(name, *cells)
    return table
