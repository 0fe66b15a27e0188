"""The scorecard as tables on a terminal."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quality.detectors import STATELESS
from quality.goals import Goal
from quality.scorecard import Card

# Title, heads of the columns, rows.
_Content = tuple[str, Sequence[str], Iterable[Sequence[str]]]


def show(console: Console, card: Card) -> None:
    """Print all tables: faults, detectors, recall by fault, changes, components, robustness."""
    for title, (left, *heads), rows in _tables(card):
        table = Table(title=title, title_justify="left")
        table.add_column(left, no_wrap=True)
        for head in heads:
            table.add_column(head, justify="right")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def show_goals(console: Console, goals: Sequence[Goal]) -> None:
    """Print the goals, if there are any."""
    table = Table("goal", "figure", "", title="Goals", title_justify="left")
    for goal in goals:
        mark = Text("reached", style="green") if goal.reached else Text("not reached", style="bold red")
        table.add_row(goal.text, goal.figure, mark)
    if goals:
        console.print(table)


def _tables(card: Card) -> Iterator[_Content]:
    detectors, faults = card["detectors"], card["faults"]
    yield (
        "How large and how fast faults grow in the test cars",
        ("fault", "incidents", "at failure", "", "an hour: p10", "median", "p90"),
        (
            (
                *(fault["kind"], str(fault["incidents"]), f"{fault['at_failure']:g}", fault["unit"]),
                *(f"{speed:.3g}" for speed in fault["per_hour"].values()),
            )
            for fault in card["severities"]
        ),
    )
    yield (
        "Failures to foresee, and hours of driving from onset to failure",
        ("fault", "failures", "p10", "median", "p90"),
        (
            (kind, str(row["failures"]), *(f"{hours:.1f} h" for hours in row["growth_h"].values()))
            for kind, row in faults.items()
        ),
    )
    yield _detectors(card)
    yield _per_fault(card)
    yield _changes(card)
    for name, detector in detectors.items():
        if detector["named"]:
            yield (
                f"Components that alerts of {name} named",
                ("fault", "foreseen", "component and how often"),
                (
                    (
                        kind,
                        str(sum(row.values())),
                        ", ".join(f"{family or 'nothing'} {count}" for family, count in row.items()),
                    )
                    for kind, row in detector["named"].items()
                ),
            )
    if card["spoilt"]:
        keys = ("recall_at_0.1", "false_alarms_at_0.1")
        yield (
            "With 1 % of faulty cars among the training cars",
            ("detector", "recall at 0.1", "with faulty cars", "false alarms at 0.1", "with faulty cars"),
            (
                (name, *(_figure(row[key]) for key in keys for row in (detectors[name], spoilt)))
                for name, spoilt in card["spoilt"].items()
            ),
        )


def _detectors(card: Card) -> _Content:
    heads = ("recall at 0.1", "±", "by single / smoothed scores", "at 1", "AUROC", "median lead")
    rows = []
    for name, row in card["detectors"].items():
        # Recall with alerts on single scores and on smoothed scores; one of them is the main figure.
        other = "smoothed" if name in STATELESS else "single"
        both = [row["recall_at_0.1"], row[f"recall_at_0.1_by_{other}_scores"]]
        single, smoothed = both if other == "smoothed" else both[::-1]
        cells = (
            _figure(row["recall_at_0.1"]),
            _figure(row["spread"]["recall_at_0.1"], 3),
            f"{_figure(single)} / {_figure(smoothed)}",
            _figure(row["recall_at_1"]),
            _figure(row["auroc"]),
            _figure(row["median_lead_h"], 1, " h"),
            _figure(row["false_alarms_at_0.1"]),
            _figure(row["false_alarms_at_1"]),
        )
        rows.append((name, *cells))
    title = f"Scorecard over {len(card['seeds'])} seeds"
    return title, ("detector", *heads, "false alarms at 0.1", "at 1"), rows


def _changes(card: Card) -> _Content:
    failures, rows = card["failures_in_changes"], []
    for name, detector in card["detectors"].items():
        cells = []
        for change in failures:
            row = detector["during_changes"][change]
            recalls = (_figure(row[key]) for key in ("recall_at_0.1", "recall_without_at_0.1"))
            cells += [_figure(row["false_alarms_at_0.1"]), " / ".join(recalls)]
        rows.append((name, *cells))
    heads = ((f"{change}: false alarms", f"recall of {count}") for change, count in failures.items())
    title = "During changes that are not faults, budget 0.1; recall / recall without the change"
    return title, ("detector", *(head for pair in heads for head in pair)), rows


def _per_fault(card: Card) -> _Content:
    kinds, names = list(card["faults"]), list(card["detectors"])

    def row(head: str, name: str, key: str, digits: int = 2) -> Sequence[str]:
        faults = card["detectors"][name]["per_fault"]
        return head, *(_figure(faults[kind][key], digits) for kind in kinds)

    rows = [
        *(row(name, name, "recall_at_0.1") for name in names),
        row("its median lead, h", names[-1], "median_lead_h", 1),
        row("its p10 lead, h", names[-1], "p10_lead_h", 1),
        row("its alerts named right", names[-1], "component_named"),
    ]
    title = "Recall at 0.1 false alarms per car-week by fault"
    return title, ("detector", *(kind.replace("_", " ") for kind in kinds)), rows  # heads can wrap


def _figure(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A figure as text; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"
