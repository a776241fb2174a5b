"""tests/README.md names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "tests/README.md"
_NAMED = re.compile(r"(?P<file>(?:tests|firmware|host|boards)/[\w/.-]+\.\w+)?(?:::(?P<test>\w+))?")


@cache
def _names(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {
        n.name
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


def _named(row: str) -> list[tuple[str, str | None]]:
    """Files and tests that a row names; "::test" alone is in the file that was named last."""
    found: list[tuple[str, str | None]] = []
    file = ""
    for match in _NAMED.finditer(row):
        if not match.group():
            continue
        file = match["file"] or file
        found.append((file, match["test"]))
    return found


def test_every_test_that_the_page_names_exists() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    missing = []
    for row in rows:
        for file, test in _named(row):
            path = ROOT / file
            if not file or not path.exists():
                missing.append(f"{file or test}: no such file ({row[:60]})")
            elif test and test not in _names(path):
                missing.append(f"{file}::{test} ({row[:60]})")
    assert not missing, "\n".join(missing)
    assert len(rows) > 150


def test_most_promises_have_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    shown = [row for row in rows if any(f.startswith("tests/") for f, _ in _named(row))]
    assert len(shown) / len(rows) > 0.9
