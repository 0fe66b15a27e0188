"""The table of proofs: kept, shown, and rendered into a document."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.proofs import record
from tests.proofs.proof import Row

MACHINE = {
    "cpu": "EPYC",
    "cores": 2,
    "memory_gib": 23.5,
    "python_ns_per_step": 60.0,
    "numpy_us_per_matrix": 5_000,
    "copy_gib_per_s": 5.1,
}


def row(name: str = "scale", commit: str = "abc1234", *, met: bool = True, promise: str = "cars") -> Row:
    return Row(
        name, promise, f"make {name}", met, "100 000", "≥ 100 000", 412.0, commit, "2026-12-01", MACHINE
    )


def test_rows_survive_the_file(tmp_path: Path):
    """What was written is read; no file, no rows."""
    path = tmp_path / "var/proofs.json"
    assert record.read(path) == []
    record.write(path, [row(), row("bench", met=False)])
    assert record.read(path) == [row(), row("bench", met=False)]


def test_new_rows_replace_those_of_their_proof():
    """All of them, also where there are fewer now; the order is that of the proofs."""
    old = [row("scale"), row("scale", promise="lost"), row("bench"), row("gone")]
    new = [row("scale", "def5678")]
    assert record.replaced(old, new, ["bench", "scale"]) == [row("bench"), row("scale", "def5678")]


def test_a_proof_is_met_where_all_its_promises_are():
    """On this commit; a proof without rows is not."""
    assert record.is_met([row(), row(promise="lost")], "scale", "abc1234")
    assert not record.is_met([row(), row(promise="lost", met=False)], "scale", "abc1234")
    assert not record.is_met([row()], "scale", "def5678")
    assert not record.is_met([], "scale", "abc1234")


def test_the_table_is_rendered_between_its_markers():
    """The text around it stays; rendering again changes nothing."""
    text = f"# Measurements\n\n{record.BEGIN}\nold\n{record.END}\n\nmore\n"
    once = record.rendered(text, [row(), row("bench", met=False)])
    assert once.startswith("# Measurements\n\n" + record.BEGIN)
    assert once.endswith(record.END + "\n\nmore\n")
    assert "old" not in once
    assert "| `make scale` | cars | 100 000 | ≥ 100 000 | yes | abc1234 |" in once
    assert "| `make bench` | cars | 100 000 | ≥ 100 000 | **no** | abc1234 |" in once
    assert once.count("2026-12-01: EPYC, 2 cores, 23.5 GiB") == 1
    assert record.rendered(once, [row(), row("bench", met=False)]) == once


def test_a_document_without_markers_is_refused():
    """Rather than changed somewhere else."""
    with pytest.raises(ValueError, match="<!-- proofs -->"):
        record.rendered("# Measurements\n", [row()])


def test_what_is_not_met_is_seen():
    """On the terminal."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(record.table([row(), row("bench", met=False)]))
    text = console.export_text()
    assert "NOT MET" in text
    assert "100 000" in text
