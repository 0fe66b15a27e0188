"""Inputs and outputs in the READMEs under terraform/; `python -m tests.terraform.tables` writes them."""

from pathlib import Path

from .hcl import FOLDERS, ROOT, Folder, folder

BEGIN, END = "<!-- tables: python -m tests.terraform.tables -->", "<!-- end of tables -->"


def tables(read: Folder) -> str:
    """Inputs and outputs as Markdown; an object's type on one line."""
    inputs = [
        [f"`{name}`", f"`{_one_line(body['type'])}`", _default(body), body["description"]]
        for name, body in read.variables.items()
    ]
    outputs = [[f"`{name}`", body["description"]] for name, body in read.outputs.items()]
    return "\n\n".join(
        [_table(["input", "type", "default", "meaning"], inputs), _table(["output", "meaning"], outputs)]
    )


def renewed(text: str, read: Folder) -> str:
    """A README with the tables of its folder between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(read)}\n\n{END}{after}"


def readme(path: str) -> Path:
    """Where a folder's README is."""
    return ROOT / path / "README.md"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [
        header,
        ["---"] * len(header),
        *([cell.replace("|", "\\|").replace("<", "\\<") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _one_line(expression: str) -> str:
    return " ".join(str(expression).removeprefix("${").removesuffix("}").split())


def _default(body: dict[str, object]) -> str:
    if "default" not in body:
        return "required"
    default = body["default"]
    if isinstance(default, list):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def main() -> None:
    """Write every README's tables."""
    for path in FOLDERS:
        readme(path).write_text(renewed(readme(path).read_text(), folder(path)))


if __name__ == "__main__":
    main()
