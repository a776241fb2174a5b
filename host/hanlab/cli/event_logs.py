"""Shows the boards' event logs: what each has to say of itself since it started."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hanlab.cli.show import console, print_json, say
from hanlab.cli.waiting import open_lab

_BEGUN_S = 3.0
"""By then emulated boards, which start with each command, have found their neighbours."""
_MENDED = ("frame counters", "trial failed")
"""Events that tell of something that was wrong, and how it was put right."""


def events(device: str | None, *, lab: Path | None, as_json: bool) -> None:
    """The event log of a board, or of all."""
    with open_lab(lab) as (bench, _):
        boards = (bench.device(device),) if device else bench.boards
        if bench.desk.boards:
            bench.run(asyncio.sleep(_BEGUN_S))
        logs = {board.name: bench.run(bench.events(board)) for board in boards}
    if as_json:
        print_json(events=logs)
        return
    out = console()
    for name, log in logs.items():
        out.print(name, style="bold")
        for event in log:
            text = str(event["text"])
            wrong = event["name"] in _MENDED or (event["name"] == "boot" and text)
            say(out, str(event["name"]), text, "yellow" if wrong else "dim")
