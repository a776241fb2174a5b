# An emulated board's ticks wrap where a chip's do, whatever the VM's own would.
import sys

sys.path.append(__file__.rsplit("/", 3)[0] + "/boards/ports")
import virtual_asyncio

PERIOD_MS = 1 << 30


def ticks_at(ms):
    virtual_asyncio.now_us = ms * 1000
    return virtual_asyncio.ticks_ms()


def test_ticks_wrap():
    before, after = ticks_at(PERIOD_MS - 2), ticks_at(PERIOD_MS + 3)
    assert (before, after) == (PERIOD_MS - 2, 3)
    assert virtual_asyncio.ticks_diff(after, before) == 5
    assert virtual_asyncio.ticks_add(before, 5) == after
