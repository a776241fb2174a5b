"""Shows what happened on the wires."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from hanlab.cli.show import say
from hanlab.lab.counters import Counters

_COLUMNS = {
    "sent": "sent",
    "delivered": "arrived",
    "lost": "lost",
    "damaged": "damaged",
    "duplicated": "twice",
    "reordered": "reordered",
    "stalled": "held",
    "retries": "again",
    "given_up": "given up",
}
_ALWAYS = ("sent", "delivered", "lost")


def draw(out: Console, counters: Counters) -> None:
    """Frames on each way of each wire, and what the protocols did about it."""
    lanes = [lane for lane in counters.lanes if lane.counters.sent]
    shown = [
        name
        for name in _COLUMNS
        if name in _ALWAYS or any(getattr(lane.counters, name) for lane in lanes)
    ]
    table = Table(box=None, pad_edge=False)
    table.add_column("frames", no_wrap=True)
    for name in shown:
        table.add_column(_COLUMNS[name], justify="right")
    for lane in lanes:
        figures = (f"{getattr(lane.counters, name):,}" for name in shown)
        table.add_row(f"{lane.wire.upper()} {lane.source} → {lane.sink}", *figures)
    if counters.lanes:
        out.print(Padding(table, (1, 0, 0, 2), expand=False))
    client = counters.client
    say(
        out,
        "S1SP → CH",
        (f"{client.knocks:,} knocks at a CH that does not answer yet, " if client.knocks else "")
        + f"{client.requests:,} requests, {client.retries:,} sent again, {client.timeouts:,} deadlines "
        f"passed, {client.strays:,} answers came twice or too late"
        + (f", {client.unproved:,} were not the CH's" if client.unproved else ""),
        "dim",
    )
    for board in counters.boards:
        odd = {k: n for k, n in (board.han | board.wan).items() if n and k not in ("rx", "tx")}
        if board.uart_lost:
            odd["UART octets lost in flash work"] = board.uart_lost
        said = ", ".join(f"{name} {count:,}" for name, count in odd.items())
        say(out, board.name, said or "nothing dropped", "dim")
    if not counters.adds_up:
        say(out, "these do not add up", "a frame is missing", "bold red")
