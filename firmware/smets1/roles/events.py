# A board's event log: the newest events, in RAM.
import asyncio

from micropython import const

_KEPT = const(24)
_PERIOD_MS = const(1 << 30)  # of MicroPython's ticks on a chip


class EventLog:
    """What happened, and when: ms since the board has started. Of ticks_ms(), which begins again after 12.4 days,
    run() keeps count."""

    def __init__(self, ticks_ms):
        self._ticks_ms = ticks_ms
        self._last = ticks_ms()
        self._before = 0  # ms in the periods that are over
        self._events = []
        self._count = 0

    def add(self, name, text=""):
        self._count += 1
        self._events.append({"n": self._count, "t": self._now(), "name": name, "text": text})
        if len(self._events) > _KEPT:
            self._events.pop(0)

    def _now(self):
        ticks = self._ticks_ms()
        if ticks < self._last:
            self._before += _PERIOD_MS
        self._last = ticks
        return self._before + ticks

    async def run(self):
        """For ever: looks at the ticks in each of their periods, also when nothing happens."""
        while True:
            await asyncio.sleep_ms(_PERIOD_MS // 4)
            self._now()

    def since(self, number):
        """What the service answers: the events after this number, and how many of them were not kept."""
        first = self._count - len(self._events)  # the number before the oldest that is kept
        return {
            "events": [e for e in self._events if e["n"] > number],
            "lost": max(0, first - number),
        }
