"""Small files, and how a test has them read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from files.recording import Recording, from_table
from files.table import Table, read

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file with this content."""

    def written(content: str | bytes) -> Path:
        path = tmp_path / "data.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


@pytest.fixture
def table(write: Write) -> Callable[..., Table]:
    """Read a file: columns a and b as numbers, unless others are named."""

    def made(
        content: str | bytes,
        numbers: tuple[str, ...] = ("a", "b"),
        texts: tuple[str, ...] = (),
        most: int = 1000,
    ) -> Table:
        return read(write(content), numbers, texts, rows_max=most, say=lambda _: None)

    return made


@pytest.fixture
def recorded(table: Callable[..., Table]) -> Callable[..., Recording]:
    """A recording of columns a and b of a file with the header `who,when,a,b`."""

    def made(
        rows: str, group: str | None = "who", time: str | None = "when", interval_s: float = 1.0
    ) -> Recording:
        texts = tuple(name for name in (group, time) if name)
        rows_of_file = table("who,when,a,b\n" + rows, texts=texts)
        return from_table(rows_of_file, ("a", "b"), group=group, time=time, interval_s=interval_s)

    return made
