"""The host's asyncio loop on the bench's clock: instead of sleeping it asks the bench to move on."""

from __future__ import annotations

import asyncio
import math
import selectors

from hanlab.bench.kernel import Kernel


class _BenchSelector(selectors.DefaultSelector):
    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self._kernel = kernel

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            self._kernel.run_until_host_ready(None)
        elif timeout > 0:  # 0: callbacks are ready, so time stands still
            self._kernel.run_until_host_ready(self._kernel.now + math.ceil(timeout * 1e6))
        return []


class BenchLoop(asyncio.SelectorEventLoop):
    """`asyncio.sleep(3600)` on it takes no time at all, and `loop.time()` is the bench's."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        super().__init__(_BenchSelector(kernel))
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._kernel.now / 1e6
