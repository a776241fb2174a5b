"""What the commands draw: progress, the store as a bar, sentences. Readable from the back of a lab."""

from __future__ import annotations

import json
import os
import textwrap
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

if TYPE_CHECKING:  # lists draw no progress, and need no SMP
    from hanlab.cli.waiting import LiveLine
    from hanlab.s1sp.progress import Progress as Step
    from hanlab.s1sp.progress import Room
    from hanlab.wan.messages import StoreReadResponse

REQUESTS: Final = {
    "11.1": "11.1 Update Firmware",
    "11.2": "11.2 Read Firmware Version",
    "11.3": "11.3 Activate Firmware",
}
ILLUSTRATIVE: Final = "illustrative: no public document gives it"
WAN_OPEN: Final = "WAN open: any SMP client may upload"
"""What a lab that declares its WAN open says of itself."""

_PIPED_WIDTH: Final = 100
_BAR: Final = (10, 40)
"""Fewest and most cells of a bar."""
_BESIDE_PROGRESS: Final = 62
"""Characters of a live progress line besides its bar."""
_BESIDE_STORE: Final = 52
"""Characters of a store's line besides its bar."""
_REDRAW_S: Final = 0.05


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # rich would exit with 1, which says that a device refused


def console(*, stderr: bool = False) -> Console:
    """Standard output; 100 characters wide where it is no terminal and COLUMNS says nothing."""
    out = _Console(highlight=False, markup=False, emoji=False, stderr=stderr)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _PIPED_WIDTH
    return out


def warn(warnings: Iterable[str]) -> None:
    """Print each as a paragraph on standard error."""
    for warning in warnings:
        say(console(stderr=True), "Warning", warning, "yellow", indent=0)


def say(out: Console, head: str, rest: str, style: str, *, indent: int = 2) -> None:
    """Print `head: rest` as one paragraph, `head` in `style`."""
    sentence = f"{head}: {rest}" if rest else head
    for number, line in enumerate(wrapped(sentence, out.width - indent)):
        text = Text(" " * indent + line)
        if number == 0:
            text.stylize(style, indent, indent + len(head))
        out.print(text, soft_wrap=True)


def wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` characters, names and paths whole."""
    return textwrap.wrap(text, max(20, width), break_on_hyphens=False, break_long_words=False) or [
        ""
    ]


class Watch:
    """Draws progress while a command runs, and leaves a line for each stage that it went through.

    Rates and times are virtual ones (the lab's clock); the wall time stands beside them, unless the
    boards are real. `line` is shown between the stages.
    """

    def __init__(
        self,
        out: Console,
        clock_us: Callable[[], int],
        *,
        device: str,
        quiet: bool = False,
        real: bool = False,
        line: LiveLine | None = None,
    ) -> None:
        self._out = out
        self._line = line
        self._clock_us = clock_us
        self._quiet = quiet
        self._device = device
        self._real = real
        self._bars = Progress(
            TextColumn("    {task.description:<12}", markup=False),
            BarColumn(bar_width=_between(_BAR, out.width - _BESIDE_PROGRESS)),
            TextColumn("{task.fields[figures]}", markup=False),
            console=out,
            transient=True,
            auto_refresh=False,
        )
        self._stage = ""
        self._task: TaskID | None = None
        self._began = (0, 0.0, 0)
        self._last: Step | None = None
        self._drawn = 0.0
        self._live = False
        self.room: Room | None = None
        """What the CH's store had room for, where the image did not fit."""

    def __enter__(self) -> Self:
        self._live = not self._quiet and self._out.is_terminal and not self._out.is_dumb_terminal
        return self

    def __exit__(self, *error: object) -> None:
        self.stage_ends()

    def __call__(self, step: Step) -> None:
        self.room = step.room or self.room
        if self._quiet or step.room or not step.total:
            return
        begins = step.stage != self._stage
        if begins:
            self.stage_ends()
        if self._line:
            self._line.hide()
        if step.note:
            say(self._out, self._label(step.stage), step.note, "dim", indent=4)
        if begins or step.note:  # what was there before is no part of the rate
            self._began = (self._clock_us(), time.perf_counter(), step.done)
        if begins:
            self._stage = step.stage
            if self._live:
                self._bars.start()
            self._task = self._bars.add_task(self._label(step.stage), total=step.total, figures="")
        self._last = step
        now = time.perf_counter()
        if self._task is not None and (now - self._drawn > _REDRAW_S or step.done == step.total):
            self._drawn = now
            figures = f"{step.done:,} of {step.total:,} B  {self._rate()}  {self._virtual():.1f} s"
            self._bars.update(self._task, completed=step.done, figures=figures)
            if self._live:
                self._bars.refresh()

    def _label(self, stage: str) -> str:
        return "S1SP → CH" if stage == "upload" else f"CH → {self._device}"

    def _virtual(self) -> float:
        return (self._clock_us() - self._began[0]) / 1e6

    def _rate(self) -> str:
        done = self._last.done if self._last else 0
        octets, seconds = done - self._began[2], self._virtual()
        return f"{octets / seconds:,.0f} B/s" if octets and seconds else ""

    def stage_ends(self) -> None:
        """Leave the line of the stage that was drawn last."""
        if self._last is None or not self._stage:
            return
        stage, task = self._stage, self._task
        self._stage, self._task = "", None  # first: where the reader has gone, printing raises
        if task is not None:
            self._bars.remove_task(task)
        if self._live:
            self._bars.stop()
        done, total = self._last.done, self._last.total
        octets = f"{total:,} B" if done == total else f"{done:,} of {total:,} B"
        wall = time.perf_counter() - self._began[1]
        seconds = f"{self._virtual():>5.1f} s virtual  {wall:.2f} s wall"
        self._out.print(
            f"    {self._label(stage):<12} {octets:>20}  {self._rate():>10}"
            f"  {f'{wall:>5.1f} s' if self._real else seconds}",
            soft_wrap=True,
        )
        if self._line:
            self._line.show()


def store_bar(
    store: StoreReadResponse | Room,
    image_octets: int = 0,
    *,
    width: int = _PIPED_WIDTH,
    indent: int = 4,
    was_full: bool = False,
) -> list[str]:
    """The store as a bar: used █, reserved ▒, free ░; below it the image on the same scale.

    An image that is not in the store is drawn if `image_octets` is given: what fits ■, what does
    not ✕. `width` is the console's; a bar and its figures fit in 80 characters. `was_full`: the image
    filled it, and has been thrown away since; the bar shows the moment at which it was full.
    """
    margin = " " * indent
    capacity = store.capacity
    if capacity is None:  # rule 9: no limit is known, and none is made up
        return [
            f"{margin}CH store  no published limit: {store.used:,} B used, "
            f"{store.free:,} B of flash free"
        ]
    figures = f"{store.used:,} of {capacity:,} B, {store.free:,} B free"
    if store.reserved:
        figures += f" ({store.reserved:,} B reserved)"
    scale = max(capacity, image_octets, 1) / _between(_BAR, width - indent - _BESIDE_STORE)

    def cells(octets: int) -> int:
        return round(octets / scale)

    length = cells(capacity)
    used = min(length, cells(store.used))
    reserved = min(length - used, cells(store.reserved))  # an upload may reserve more than there is
    free = length - used - reserved
    if was_full:
        reserved, free = length - used, 0
        figures = f"full: {capacity:,} B; {store.free:,} B free again"
    lines = [f"{margin}CH store  ▕{'█' * used}{'▒' * reserved}{'░' * free}▏ {figures}"]
    if image_octets:
        short = image_octets - store.free
        drawn = max(1, cells(image_octets))
        room = length - used if was_full else free
        outside = max(1, drawn - room) if short > 0 else 0
        bar = " " * (length - room) + "■" * (drawn - outside) + "✕" * outside
        verdict = f"short by {short:,} B" if short > 0 else "fits"
        lines.append(f"{margin}image     ▕{bar} {image_octets:,} B, {verdict}")
    return lines


def _between(limits: tuple[int, int], value: int) -> int:
    return max(limits[0], min(limits[1], value))


def print_json(**fields: Any) -> None:
    print(json.dumps(fields))
