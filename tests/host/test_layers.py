"""One way for the data: a package imports only what stands below it in host/README.md."""

from __future__ import annotations

import ast
from pathlib import Path

HOST = Path(__file__).parents[2] / "host"


def rows() -> list[str]:
    """The packages and modules of the README's table, from the top."""
    lines = (HOST / "README.md").read_text("utf-8").splitlines()
    return [
        line.split("`")[1].strip("/").removesuffix(".py")
        for line in lines
        if line.startswith("| `")
    ]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hanlab."):
            found.add(str(node.module).split(".")[1])
    return found


def test_a_lower_row_never_imports_a_higher_one() -> None:
    order = rows()
    assert len(order) > 15
    for name in order:
        place = HOST / "hanlab" / name
        files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
        upwards = {
            f"{name} imports {other}"
            for file in files
            for other in imports(file) & set(order)
            if order.index(other) < order.index(name)
        }
        assert not upwards
