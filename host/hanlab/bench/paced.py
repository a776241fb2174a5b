"""The host's asyncio loop where real boards are on the desk: it keeps the bench at the wall clock's time."""

from __future__ import annotations

import asyncio
import selectors
import time

from hanlab.bench.kernel import FOREVER, Kernel


class _PacedSelector(selectors.DefaultSelector):
    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self._kernel = kernel
        self._zero = time.monotonic_ns() // 1000 - kernel.now

    @property
    def wall_us(self) -> int:
        """The wall clock, from the bench's own zero on."""
        return time.monotonic_ns() // 1000 - self._zero

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        end = FOREVER if timeout is None else self.wall_us + round(max(0.0, timeout) * 1e6)
        while True:
            if self._kernel.run_until_host_ready(self.wall_us):
                return super().select(0)
            until = min(end, self._kernel.next_time())
            wait = None if until == FOREVER else max(0, until - self.wall_us) / 1e6
            ready = super().select(wait)
            if ready or self.wall_us >= end:
                return ready


class PacedLoop(asyncio.SelectorEventLoop):
    """Events of the bench happen when the wall clock has come to their time, and real octets as they come."""

    def __init__(self, kernel: Kernel) -> None:
        self._paced = _PacedSelector(kernel)
        super().__init__(self._paced)

    def time(self) -> float:
        return self._paced.wall_us / 1e6
