# A board's event log: the newest events, in RAM.
from micropython import const

_KEPT = const(24)


class EventLog:
    """ticks_ms(): when an event happens; it wraps after 12.4 days."""

    def __init__(self, ticks_ms):
        self._ticks_ms = ticks_ms
        self._events = []
        self._count = 0

    def add(self, name, text=""):
        self._count += 1
        self._events.append({"n": self._count, "t": self._ticks_ms(), "name": name, "text": text})
        if len(self._events) > _KEPT:
            self._events.pop(0)

    def since(self, number):
        """What the service answers: the events after this number, and how many of them were not kept."""
        first = self._count - len(self._events)  # the number before the oldest that is kept
        return {
            "events": [e for e in self._events if e["n"] > number],
            "lost": max(0, first - number),
        }
