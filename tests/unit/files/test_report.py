"""What a run says: alarms, tables, summary, scores."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from files import report
from files.recording import Recording
from files.scored import Scored, alarms, striking
from files.table import Table


@pytest.fixture
def scored() -> Scored:
    """Two machines of four rows: an alarm of p1 from its third row on, of p2 in its second and third."""
    recording = Recording(
        columns=("a", "b"),
        machines=("p1", "p2"),
        machine=np.array([0, 0, 0, 0, 1, 1, 1, 1], np.int32),
        signals=np.zeros((8, 2)),
        times=None,
        row=np.array([0, 2, 4, 6, 1, 3, 5, 7]),
        interval_s=3600.0,
        notes=("sorted",),
    )
    level = np.array([0, 1, 20, 30, 0, 50, 9, 1.0])
    return Scored(
        recording=recording,
        training=np.array([1, 1, 0, 0, 1, 1, 0, 0], bool),
        score=level.astype(np.float32),
        level=level,
        alarm=np.array([0, 0, 1, 1, 0, 1, 1, 0], bool),
        warm=np.array([0, 1, 1, 1, 0, 1, 1, 1], bool),
        explained=np.array([2, 3, 5, 6]),
        shares=np.array([[0.9, 0.1], [0.97, 0.03], [0.2, 0.8], [1.1, -0.1]], np.float32),
        threshold=10.0,
    )


def test_alarms_are_runs_of_rows_of_one_machine(scored: Scored):
    """One at the end of a machine's rows is still open, whatever the next machine says."""
    first, second = alarms(scored)
    assert (first.machine, first.opened, first.closed, first.peak, first.still_open) == ("p1", 2, 3, 3, True)
    assert (second.machine, second.opened, second.closed, second.peak, second.still_open) == (
        "p2",
        5,
        6,
        5,
        False,
    )


def test_the_highest_machines_come_first(scored: Scored):
    """By the level that they reach once they are learned."""
    assert striking(scored, 5) == [1, 0]
    assert striking(scored, 1) == [1]


def test_signals_of_a_row_are_named_by_their_share(scored: Scored):
    """Largest first; what hardly counts, or speaks against it, is not named."""
    assert [name for name, _ in scored.signals_of(2)] == ["a", "b"]
    assert [name for name, _ in scored.signals_of(6)] == ["a"]
    assert scored.signals_of(0) == []


@pytest.mark.parametrize("is_parquet", [False, True])
def test_scores_are_written_row_by_row(scored: Scored, tmp_path: Path, is_parquet: bool):
    """By machine; the file's own number of each row; nothing is said of a machine that is being learned."""
    data = Table(rows=8, numbers={}, texts={}, is_parquet=is_parquet, notes=[])
    path = report.write_scores(scored, data, None, tmp_path)
    assert _read(path, is_parquet)[:4] == [
        {"time": "1", "group": "p1", "score": "0", "level": "", "alarm": "", "top_signals": ""},
        {"time": "3", "group": "p1", "score": "1", "level": "1", "alarm": "0", "top_signals": ""},
        {
            "time": "5",
            "group": "p1",
            "score": "20",
            "level": "20",
            "alarm": "1",
            "top_signals": "a 90 %, b 10 %",
        },
        {"time": "7", "group": "p1", "score": "30", "level": "30", "alarm": "1", "top_signals": "a 97 %"},
    ]


def _read(path: Path, is_parquet: bool) -> list[dict[str, Any]]:
    if not is_parquet:
        with path.open() as file:
            return list(csv.DictReader(file))
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    return [{key: "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
             for key, value in row.items()} for row in rows]  # fmt: skip


def test_times_are_written_as_they_came(scored: Scored, tmp_path: Path):
    """In whatever way the file writes them."""
    texts = {"when": pa.chunked_array([[f"2026-01-0{day}" for day in range(1, 9)]])}
    data = Table(rows=8, numbers={}, texts=texts, is_parquet=False, notes=[])
    rows = _read(report.write_scores(scored, data, "when", tmp_path), False)
    assert [row["time"] for row in rows[:2]] == ["2026-01-01", "2026-01-03"]


def test_the_summary_has_all_alarms_for_programs(scored: Scored, tmp_path: Path):
    """As JSON without anything that JSON does not know."""
    report.write_summary(scored, alarms(scored), {"data": "x.csv"}, tmp_path)
    result = json.loads((tmp_path / report.SUMMARY).read_text())
    assert (result["rows"], result["machines"], result["alarms_total"], result["rows_learning"]) == (
        8,
        2,
        2,
        2,
    )
    assert result["alarms"][0] == {
        "machine": "p1",
        "opened": "row 3",
        "closed": None,
        "rows": 2,
        "peak": 30.0,
        "peak_over_threshold": 3.0,
        "signals": [{"name": "a", "share": pytest.approx(0.97)}],
    }


def test_tables_show_machines_and_alarms(scored: Scored):
    """Who is highest, when, and by which signals; without alarms it says so."""
    text = report.tables(scored, alarms(scored), {"threshold": 10.0})
    assert "still open" in text
    assert "b 80 %, a 20 %" in text
    assert report.tables(scored, [], {}).endswith("no alarms")
