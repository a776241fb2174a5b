"""The heat strip of a sweep for a terminal: a line for each way to cut, a column for each operation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.text import Text

from hanlab.sweep.outcome import Row, State
from hanlab.sweep.plan import Plan

LOOKS: Final = {
    State.NOT_TRIED: ("·", "dim", "not tried"),
    State.WENT_ON: ("█", "green", "went on by itself"),
    State.REPEATED: ("▓", "cyan", "commands sent again, done"),
    State.BREACH: ("✗", "bold red", "BREACH"),
}
_LABEL: Final = 23


def strip(plan: Plan, rows: Sequence[Row], width: int) -> Iterator[Text]:
    """The lines, at most `width` characters each; a column is several operations where it has to be."""
    room = max(20, width - _LABEL - 4)
    for board, of_board in groupby(rows, lambda row: row.board):
        operations = plan.operations(board)
        each = max(1, -(-operations // room))
        note = f", {each} to a column" if each > 1 else ""
        yield Text(f"  {board}: {operations} flash operations{note}", style="bold")
        yield Text("  " + " " * _LABEL + _ruler(plan, board, each), style="dim")
        for row in of_board:
            line = Text(f"  {row.label:<{_LABEL}}")
            for i in range(0, operations, each):
                sign, style, _ = LOOKS[max(row.states[i : i + each])]
                line.append(sign, style)
            yield line
    seen = {state for row in rows for state in row.states}
    legend = Text("  ")
    for state in sorted(seen | {State.BREACH}):
        sign, style, words = LOOKS[state]
        legend.append(sign, style)
        legend.append(f" {words}   ")
    yield legend


def _ruler(plan: Plan, board: str, each: int) -> str:
    """The phases above their columns: as much of each name as there is room for."""
    line = ""
    for stage in plan.stages:
        numbers = stage.numbers(board)
        end = -(-(numbers.stop - 1) // each)
        room = end - len(line)
        if room > 0:
            line += f"╷{stage.phase}"[:room].ljust(room)
    return line
