"""Finds every next step in the code: what a user reads behind `next:`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HOST = Path(__file__).parents[2] / "host" / "hanlab"
TABLES = (
    "_AFTER_REFUSAL",
    "AFTER_REFUSAL",
    "_AFTER_ACTIVATION",
    "_AFTER_CTRL_C",
    "_WANTED",
    "MAKE_ONE",
    "_EXAMPLE",
)
"""Constants that next steps are taken from."""
MAKERS = ("_next_step", "_make_room", "_after_listed")
"""Functions that make one."""


def has_words(expression: ast.AST) -> bool:
    """It has a text of its own; else it passes on what another place says."""
    return any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and any(map(str.isalpha, node.value))
        for node in ast.walk(expression)
    )


def expressions(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "next_step":
            yield node.value
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {t.id for t in targets if isinstance(t, ast.Name)}
            attributes = {t.attr for t in targets if isinstance(t, ast.Attribute)}
            if names & set(TABLES):
                yield from node.value.values if isinstance(node.value, ast.Dict) else [node.value]
            elif "next_step" in attributes:
                yield node.value
        elif isinstance(node, ast.FunctionDef) and node.name in MAKERS:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield inner.value


def next_steps() -> dict[str, str]:
    """Each text as Python has it, to the first file (below hanlab/) that says it."""
    found: dict[str, str] = {}
    for file in sorted(HOST.rglob("*.py")):
        for expression in expressions(ast.parse(file.read_text("utf-8"))):
            if has_words(expression):
                found.setdefault(ast.unparse(expression), file.relative_to(HOST).as_posix())
    return found
