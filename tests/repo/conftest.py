"""The files of the repository, as git knows them."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Tree:
    """The repository's own files; what a run or an installation leaves behind is none of them."""

    root = ROOT
    packages = (
        "contract",
        "plumbing",
        "simulator",
        "bridge",
        "scorer",
        "trainer",
        "files",
        "local",
        "cluster",
        "loadtest",
        "quality",
        "docs",
    )

    def __init__(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        paths = [Path(name) for name in listed.stdout.split("\0") if name]
        self.files = [path for path in paths if (ROOT / path).is_file()]

    def python(self, *packages: str) -> list[Path]:
        """Python files of these top folders, of all without one."""
        files = [path for path in self.files if path.suffix == ".py"]
        return [path for path in files if not packages or path.parts[0] in packages]

    def text(self, path: Path | str) -> str:
        """What stands in a file."""
        return (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def tree() -> Tree:
    return Tree()
