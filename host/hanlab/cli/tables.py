"""Tables that break lines between words only, however narrow the terminal is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanlab.cli.show import wrapped

_GAP: Final = 2
"""Blanks between two columns."""
_INDENT: Final = 4
_STAY: Final = "\0"
"""A blank at which no line ends."""


def draw_table(
    out: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    whole: Collection[str] = (),
    named: Collection[str] = (),
) -> None:
    """Print rows of texts below their columns' names. Columns of `whole` stay on one line if there is room.

    Where not even the longest words fit beside each other, each row is a paragraph of its cells: empty
    ones left out, those of the columns `named` with their column's name before them.
    """
    cells = [[column, *(row[i] for row in rows)] for i, column in enumerate(columns)]
    widest = [max(map(len, texts)) for texts in cells]
    longest = [max(len(word) for text in texts for word in [*text.split(), ""]) for texts in cells]
    room = out.width - _GAP * (len(columns) - 1)
    kept = [widest[i] if column in whole else longest[i] for i, column in enumerate(columns)]
    least = kept if sum(kept) <= room else longest
    if sum(least) > room:
        for row in rows:
            _draw_paragraph(out, columns, row, named)
        return
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for column, width in zip(columns, _widths(widest, least, room), strict=True):
        table.add_column(column, width=width)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    out.print(table)


def _widths(widest: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """The columns' widths: as wide as their texts, the widest ones narrower until all have room."""
    widths = list(widest)
    while sum(widths) > room:
        widths[max((w, i) for i, w in enumerate(widths) if w > least[i])[1]] -= 1
    return widths


def _draw_paragraph(
    out: Console, columns: Sequence[str], row: Sequence[str], named: Collection[str]
) -> None:
    pairs = zip(columns, row, strict=True)
    said = [f"{column}{_STAY}{cell}" if column in named else cell for column, cell in pairs if cell]
    for number, line in enumerate(wrapped("  ".join(said), out.width - _INDENT)):
        text = line.strip().replace(_STAY, " ")
        out.print(Text(" " * _INDENT * bool(number) + text), soft_wrap=True)
