"""Which tests and demos show a rule: tests say so with `@pytest.mark.rule(35, 36)`, demos in their text.

A row of which hanlab has the values, and no behaviour that could fail, is data: the test that compares the
values says so with `@pytest.mark.data(124)`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hanlab.demos.catalogue import CATALOGUE
from hanlab.errors import UsageError
from hanlab.resources import checkout

_CITED: Final = re.compile(r"\brules? ((?:\d+(?: to \d+)?(?:, | and )?)+)")
_RANGE: Final = re.compile(r"(\d+)(?: to (\d+))?")


def coverage() -> dict[int, list[str]]:
    """Rule number to the tests (file::name) and demos (demo NAME; a test runs each) that show it.

    Raises:
        UsageError: there is no checkout with the tests in it.
    """
    found = _marked("rule")
    for demo in CATALOGUE:
        for number in cited(f"{demo.title} ({demo.why})"):
            found[number].append(f"demo {demo.name}")
    return dict(found)


def data_coverage() -> dict[int, list[str]]:
    """Rule number to the tests that compare its values: no behaviour stands behind it.

    Raises:
        UsageError: there is no checkout with the tests in it.
    """
    return dict(_marked("data"))


def _marked(mark: str) -> dict[int, list[str]]:
    root = checkout()
    if root is None or not (root / "tests").is_dir():
        raise UsageError(
            "the tests are not here: hanlab was installed without its checkout",
            next_step="run it in a checkout",
        )
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((root / "tests").rglob("test_*.py")):
        for name, numbers in marked(path, mark):
            for number in numbers:
                found[number].append(f"{path.relative_to(root)}::{name}")
    return found


def marked(path: Path, mark: str = "rule") -> Iterator[tuple[str, list[int]]]:
    """The tests of a file that name rules, by `@pytest.mark.rule` or another mark."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for made in node.decorator_list:
            if isinstance(made, ast.Call) and ast.unparse(made.func) == f"pytest.mark.{mark}":
                yield node.name, [ast.literal_eval(argument) for argument in made.args]


def cited(text: str) -> list[int]:
    """The rows that a text names: "rules 2 to 4 and 97"."""
    numbers: list[int] = []
    for listed in _CITED.findall(text):
        for first, last in _RANGE.findall(listed):
            numbers += range(int(first), int(last or first) + 1)
    return numbers
