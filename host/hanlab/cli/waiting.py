"""What a command shows on a terminal while it waits: for boards that start, for a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from hanlab.cli.pending_requests import teller
from hanlab.dsp.parts import Notice

if TYPE_CHECKING:
    from hanlab.lab import Lab

_SHOWN_AFTER_S: Final = 0.5
"""What is over before that needs no progress (s)."""


class LiveLine:
    """On a terminal's standard error, what `text` says at each moment, within its `with`; elsewhere nothing.

    Whoever writes to the terminal meanwhile hides it first.
    """

    def __init__(
        self,
        text: Callable[[], str],
        *,
        err: Console | None = None,
        after_s: float = _SHOWN_AFTER_S,
    ) -> None:
        self.text = text
        self._err = err or Console(stderr=True, highlight=False, markup=False)
        self._after_s = after_s
        self._since = 0.0
        self._within = 0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if not self._within:
            self._since = time.perf_counter()
        self._within += 1
        self.show()
        return self

    def __exit__(self, *error: object) -> None:
        self._within -= 1
        if not self._within:
            self.hide()

    def show(self) -> None:
        """Show it, if this is within its `with`."""
        if self._within and self._live is None and self._err.is_terminal:
            self._live = Live(get_renderable=self._drawn, console=self._err, transient=True)
            self._live.start()

    @property
    def is_shown(self) -> bool:
        return self._live is not None

    def hide(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _drawn(self) -> Text:
        early = time.perf_counter() < self._since + self._after_s
        return Text("" if early else f"  {self.text()}")


@contextmanager
def open_lab(
    lab: Path | None,
    *,
    pcap: Path | None = None,
    open_wan: bool = False,
    impair: str = "",
    quiet: bool = False,
) -> Iterator[tuple[Lab, LiveLine]]:
    """A lab whose boards are on, and the line that shows how far it is whenever it runs.

    What becomes of pending requests is said, unless `quiet`.
    """
    from hanlab.lab import Lab

    line = LiveLine(lambda: "the boards are switched on")
    with line:
        opened = Lab.open(lab, pcap=pcap, open_wan=open_wan, impair=impair)
    with opened as bench:
        say = teller(quiet=quiet)

        def tell(notice: Notice) -> None:
            line.hide()
            say(notice)
            line.show()

        line.text = lambda: how_far(bench)
        bench.on_notice = tell
        bench.while_it_runs = line
        if len(bench.homes) > 1 and not bench.config.is_real:
            bench.run(bench.all_on())  # with one home they are there at once
        yield bench, line


def how_far(bench: Lab) -> str:
    """What there is to say of a lab that runs, whatever it does."""
    seconds = f"{bench.clock_us / 1e6:.1f} s"
    if bench.config.is_real:
        return f"waiting for the boards, {seconds}"
    boards = bench.desk.boards.values()
    on = sum(board.running for board in boards)
    return f"{on} of {len(boards)} boards on, {seconds} of the lab's time"
