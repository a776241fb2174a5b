"""One way for the data: a package imports only what stands below it in host/README.md."""

from __future__ import annotations

import ast
from pathlib import Path

HOST = Path(__file__).parents[2] / "host"


def rows() -> list[str]:
    """The packages and modules of the README's first table, from the top."""
    lines = (HOST / "README.md").read_text("utf-8").partition("\n## ")[0].splitlines()
    return [
        line.split("`")[1].strip("/").removesuffix(".py")
        for line in lines
        if line.startswith("| `")
    ]


def imports(path: Path) -> set[str]:
    """The modules of hanlab that it imports: "lab/config", "dsp/smi"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hanlab."):
            found.add(str(node.module).removeprefix("hanlab.").replace(".", "/"))
    return found


def row_of(module: str, order: list[str]) -> str | None:
    """The row that a module is in: its own, or its package's."""
    for name in (module, f"{module}/__init__", module.partition("/")[0]):
        if name in order:
            return name
    return None


def test_a_lower_row_never_imports_a_higher_one() -> None:
    order = rows()
    assert len(order) > 15
    for name in order:
        place = HOST / "hanlab" / name
        files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
        upwards = {
            f"{name} imports {other}"
            for file in files
            for module in imports(file)
            if (other := row_of(module, order)) and order.index(other) < order.index(name)
        }
        assert not upwards


def test_every_module_of_the_lab_has_a_row() -> None:
    there = {f"lab/{file.stem}" for file in (HOST / "hanlab" / "lab").glob("*.py")}
    assert there == {name for name in rows() if name.startswith("lab/")}
