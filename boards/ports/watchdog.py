# The chip's hardware watchdog: a board that hangs for WATCH_MS starts again.
#
# Nothing stops it once it runs, not even a soft reset, so somebody feeds it whatever the board does: the firmware's own
# loop, and at the REPL a timer. A soft reset, such as mpremote makes, ends timers and the firmware: boot.py, which runs
# after each, has the timer again.
import asyncio
import sys

import machine
from micropython import const

WATCH_MS = const(8_000)  # an RP2040's counts to 8,388 ms
_FEED_MS = const(1_000)
_TIMER = 0 if sys.platform == "esp32" else -1

_timers = []


def at_repl():
    """Whoever is at the REPL has all the time in the world."""
    if not _timers:
        wdt = machine.WDT(timeout=WATCH_MS)
        timer = machine.Timer(_TIMER)
        timer.init(period=_FEED_MS, callback=lambda timer: wdt.feed())
        _timers.append(timer)


def in_loop():
    """From now on the event loop has to come round."""
    while _timers:
        _timers.pop().deinit()
    asyncio.create_task(_feed(machine.WDT(timeout=WATCH_MS)))


async def _feed(wdt):
    while True:
        wdt.feed()
        await asyncio.sleep_ms(_FEED_MS)
