"""Tables on any terminal: no word is broken."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hanlab.cli.tables import draw_table

COLUMNS = ("device", "type", "model", "status", "before", "supplier")
ROWS = [
    ("00-DB-12-34-56-78-90-A2", "CHF", "Secure Skyline i-510", "Commissioned", "", "supplier"),
    ("00-DB-12-34-56-78-90-A4", "PPMID", "Chameleon SED V3", "Suspended", "Pending", "the-other"),
]


def drawn(width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width)
    draw_table(out, COLUMNS, ROWS, whole=("status",), named=("before",))
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize("width", range(24, 130))
def test_no_word_is_broken_and_no_line_too_long(width: int) -> None:
    lines = drawn(width)
    words = set(" ".join(lines).split())
    assert {word for row in ROWS for cell in row for word in cell.split()} <= words
    longest = max(len(cell) for row in ROWS for cell in row)
    assert max(len(line.rstrip()) for line in lines) <= max(width, longest + 4)


def test_a_narrow_terminal_gets_a_paragraph_for_each_row() -> None:
    assert drawn(60) == [
        "00-DB-12-34-56-78-90-A2  CHF  Secure Skyline i-510",
        "    Commissioned  supplier",
        "00-DB-12-34-56-78-90-A4  PPMID  Chameleon SED V3",
        "    Suspended  before Pending  the-other",
    ]


def test_a_wide_one_gets_columns() -> None:
    lines = drawn(120)
    assert len(lines) == 3
    assert lines[0].split() == list(COLUMNS)
    assert lines[1].index("CHF") == lines[0].index("type")
