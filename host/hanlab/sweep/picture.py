"""The heat strip of a sweep as an SVG file: operations from left to right, ways to cut from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Final

from hanlab.bench.flash import Kind
from hanlab.sweep.outcome import Row, State
from hanlab.sweep.plan import Cut, Plan
from hanlab.sweep.strip import LOOKS

_FILL: Final = {
    State.NOT_TRIED: "#e4e4e4",
    State.WENT_ON: "#2e9e5b",
    State.REPEATED: "#8fd0e8",
    State.BREACH: "#d01c1c",
}
_WIDTH: Final = 1100
_LEFT: Final = 180
_RIGHT: Final = 24
_ROW: Final = 18
_TICKS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_FEWEST_PX: Final = 36
"""Between two numbers on the axis."""

_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#222}.h{font-size:20px;font-weight:600}"
    ".b{font-size:14px;font-weight:600}.d{fill:#666}.e{text-anchor:end}.m{text-anchor:middle}"
)


def svg(plan: Plan, rows: Sequence[Row], subtitle: str) -> str:
    """The picture; `subtitle` says what was tried. Each cell's tooltip is its cut, as --only takes it."""
    body = [
        f'<text class="h" x="{_RIGHT}" y="38">{"An" if plan.swept.octets else "A"} '
        f"{plan.swept.name}, with the power cut at its flash operations</text>",
        f'<text class="d" x="{_RIGHT}" y="60">{escape(subtitle)}</text>',
    ]
    top = 84
    for board, of_board in groupby(rows, lambda row: row.board):
        lines = list(of_board)
        body += _board(plan, board, lines, top)
        top += 100 + _ROW * len(lines)
    body += _legend(rows, top)
    height = top + 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img">\n<style>{_STYLE}</style>\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _board(plan: Plan, board: str, rows: Sequence[Row], top: int) -> Iterator[str]:
    operations = plan.operations(board)
    wide = (_WIDTH - _LEFT - _RIGHT) / operations
    kinds = [kind for stage in plan.stages for kind in stage.operations[board]]
    node = plan.config.node(board)
    yield (
        f'<text class="b" x="{_RIGHT}" y="{top + 14}">{escape(board)}: {operations} flash operations'
        f"</text>"
    )
    yield (
        f'<text class="d e" x="{_WIDTH - _RIGHT}" y="{top + 14}">'
        f"{escape(node.board.name)}, {kinds.count(Kind.ERASE)} sector erases (▾) and "
        f"{kinds.count(Kind.PROGRAM)} page programs</text>"
    )
    first_row = top + 48
    bottom = first_row + _ROW * len(rows)
    for i, kind in enumerate(kinds):
        if kind is Kind.ERASE:
            x = _LEFT + (i + 0.5) * wide
            yield f'<path d="M{x - 3:.1f} {first_row - 8}h6l-3 5z" fill="#666"/>'
    for n, row in enumerate(rows):
        y = first_row + n * _ROW
        yield f'<text class="e" x="{_LEFT - 8}" y="{y + 13}">{escape(row.label)}</text>'
        for i, state in enumerate(row.states):
            name = Cut(board, row.how, i + 1, row.everything)
            gap = min(1.0, wide / 5)
            yield (
                f'<rect x="{_LEFT + i * wide:.2f}" y="{y + 1}" width="{wide - gap:.2f}" '
                f'height="{_ROW - 2}" fill="{_FILL[state]}">'
                f"<title>{escape(str(name))}: {LOOKS[state][2]}</title></rect>"
            )
    yield from _phases(plan, board, wide, top, bottom)
    step = next((t for t in _TICKS if t * wide >= _FEWEST_PX), _TICKS[-1])
    for number in (1, *range(step, operations + 1, step)):
        if number == 1 or number * wide >= _FEWEST_PX / 2:
            x = _LEFT + (number - 0.5) * wide
            yield f'<text class="d m" x="{x:.1f}" y="{bottom + 16}">{number}</text>'
    yield f'<text class="d e" x="{_LEFT - 8}" y="{bottom + 16}">operation</text>'


def _phases(plan: Plan, board: str, wide: float, top: int, bottom: int) -> Iterator[str]:
    """A name over each phase, and a line where it begins; a name without room moves to the right."""
    free = 0.0
    for stage in plan.stages:
        numbers = stage.numbers(board)
        if not numbers:
            continue
        x = _LEFT + (numbers.start - 1) * wide
        at = max(x + 4, free)
        yield f'<path d="M{x:.1f} {top + 38}V{bottom}" stroke="#222" stroke-width="1"/>'
        yield f'<text x="{at:.1f}" y="{top + 34}">{stage.phase}</text>'
        free = at + 7 * len(stage.phase) + 8


def _legend(rows: Sequence[Row], top: int) -> Iterator[str]:
    seen = {state for row in rows for state in row.states} | {State.BREACH}
    x = _LEFT
    for state in sorted(seen):
        count = sum(row.count(state) for row in rows)
        words = f"{LOOKS[state][2]}: {count:,}"
        yield f'<rect x="{x}" y="{top}" width="14" height="14" fill="{_FILL[state]}"/>'
        yield f'<text x="{x + 20}" y="{top + 12}">{words}</text>'
        x += 60 + 7 * len(words)
