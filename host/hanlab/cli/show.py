"""What the commands draw: progress, the store as a bar, tables. Readable from the back of a lab."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from hanlab.s1sp.service import Progress as Step
from hanlab.wan.messages import StoreReadResponse

BAR: Final = 40
"""Characters of a store's bar."""
STAGES: Final = {
    "upload": "S1SP → CH",
    "distribute": "CH → device",
    "activate": "CH → device",
}
_REDRAW_S: Final = 0.05


def console() -> Console:
    """Standard output; as wide as 100 characters where it is no terminal."""
    out = Console(highlight=False, soft_wrap=False)
    if not out.is_terminal:
        out.width = 100
    return out


class Watch:
    """Draws progress while a command runs, and leaves a line for each stage that it went through.

    Rates and times are virtual ones (the lab's clock); the wall time stands beside them.
    """

    def __init__(self, out: Console, clock_us: Callable[[], int], *, quiet: bool = False) -> None:
        self._out = out
        self._clock_us = clock_us
        self._quiet = quiet
        self._bars = Progress(
            TextColumn("    {task.description:<12}"),
            BarColumn(bar_width=40),
            TextColumn("{task.completed:>9,.0f} of {task.total:,.0f} B  {task.fields[rate]}"),
            console=out,
            transient=True,
            auto_refresh=False,
        )
        self._stage = ""
        self._task: TaskID | None = None
        self._began = (0, 0.0, 0)
        self._last = Step("", 0, 0)
        self._drawn = 0.0
        self._live = False

    def __enter__(self) -> Self:
        self._live = not self._quiet and self._out.is_terminal
        if self._live:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._leave_line()
        if self._live:
            self._bars.stop()

    def __call__(self, step: Step) -> None:
        if self._quiet or not step.total:
            return
        if step.stage != self._stage:
            self._leave_line()
            self._stage = step.stage
            self._began = (self._clock_us(), time.perf_counter(), step.done)
            self._task = self._bars.add_task(
                STAGES.get(step.stage, step.stage), total=step.total, rate=""
            )
        self._last = step
        now = time.perf_counter()
        if self._task is not None and (now - self._drawn > _REDRAW_S or step.done == step.total):
            self._drawn = now
            self._bars.update(self._task, completed=step.done, total=step.total, rate=self._rate())
            if self._live:
                self._bars.refresh()

    def _rate(self) -> str:
        clock, _, done = self._began
        virtual = (self._clock_us() - clock) / 1e6
        return f"{(self._last.done - done) / virtual:,.0f} B/s" if virtual > 0 else ""

    def _leave_line(self) -> None:
        if not self._stage:
            return
        if self._task is not None:
            self._bars.remove_task(self._task)
        clock, wall, _ = self._began
        self._out.print(
            f"    {STAGES.get(self._stage, self._stage):<12} "
            f"{self._last.done:>9,} of {self._last.total:,} B  {self._rate():>12}"
            f"  virtual {(self._clock_us() - clock) / 1e6:.2f} s"
            f"  wall {time.perf_counter() - wall:.2f} s"
        )
        self._stage = ""
        self._task = None


def store_bar(store: StoreReadResponse, image_octets: int = 0, *, name: str = "CH store") -> str:
    """The store as a bar: used █, reserved ▒, free ░; below it the image on the same scale."""
    capacity = store.capacity
    if capacity is None:
        return f"{name}  no published limit; {store.used:,} B used, {store.free:,} B of flash free"
    scale = max(capacity, image_octets) / BAR
    width = round(capacity / scale)
    used = min(width, round(store.used / scale))
    reserved = min(width - used, round(store.reserved / scale))
    lines = [
        f"{name:<9} ▕{'█' * used}{'▒' * reserved}{'░' * (width - used - reserved)}▏ "
        f"{store.used:,} of {capacity:,} B used, {store.free:,} B free"
    ]
    if image_octets:
        fits = image_octets <= store.free
        over = "fits" if fits else f"over by {image_octets - store.free:,} B"
        length = max(1, round(image_octets / scale))
        room = round(store.free / scale)
        inside, outside = min(length, room), max(0, length - room)
        lines.append(
            f"{'image':<9} ▕{' ' * used}{'■' * inside}{'✕' * outside} {image_octets:,} B, {over}"
        )
    return "\n".join(lines)
