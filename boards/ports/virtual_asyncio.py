# Stands in for MicroPython's C module `_asyncio` on an emulated board. That one stamps tasks with the
# REAL clock; here every key is the bench's time, and tasks of one instant run first in, first out, so
# that a run is the same to the microsecond each time. It stands in for `time` as well, whose ticks wrap as a
# chip's do: after 2**30 ms (12.4 days), where those of a 64-bit VM never would. Import this before asyncio.
import sys
import time as _real

from micropython import const

_PERIOD = const(1 << 30)  # of the ticks, as on a chip
_HALF = const(1 << 29)
now_us = 0  # the bench's time; only the port sets it


def ticks_ms():
    return (now_us // 1000) & (_PERIOD - 1)


def ticks_add(ticks, delta):
    if not -_HALF <= delta < _HALF:
        raise OverflowError("ticks interval overflow")  # as the chip's own
    return (ticks + delta) & (_PERIOD - 1)


def ticks_diff(end, start):
    return ((end - start + _HALF) & (_PERIOD - 1)) - _HALF


class _Time:
    """The module `time`: the real one, but for the ticks."""

    ticks_ms = staticmethod(ticks_ms)
    ticks_add = staticmethod(ticks_add)
    ticks_diff = staticmethod(ticks_diff)

    def __getattr__(self, name):
        if name[:5] in ("ticks", "sleep"):
            raise AttributeError(name)  # they would tell, or take, real time
        return getattr(_real, name)


class TaskQueue:
    def __init__(self):
        self._tasks = []  # sorted by time; equal times in order of arrival

    def peek(self):
        return self._tasks[0] if self._tasks else None

    def push(self, task, key=None):
        task.data = None
        task.ph_key = ticks_ms() if key is None else key
        tasks = self._tasks
        i = len(tasks)
        while i and ticks_diff(tasks[i - 1].ph_key, task.ph_key) > 0:
            i -= 1
        tasks.insert(i, task)

    def pop(self):
        return self._tasks.pop(0)

    def remove(self, task):
        self._tasks.remove(task)


class Task:
    def __init__(self, coro, globals=None):
        self.coro = coro
        self.data = None  # the queue or task it waits on, or how it ended
        # True: running, nobody waits; a TaskQueue: those who wait; False: done and seen; None: done
        self.state = True
        self.ph_key = 0

    def __iter__(self):
        if not self.state:
            self.state = False  # done: whoever awaits it now sees how it ended
        elif self.state is True:
            self.state = TaskQueue()
        return self

    def __next__(self):
        if not self.state:
            raise self.data
        core = sys.modules["asyncio.core"]
        self.state.push(core.cur_task)
        core.cur_task.data = self

    def done(self):
        return not self.state

    def cancel(self):
        core = sys.modules["asyncio.core"]
        if not self.state:
            return False
        if self is core.cur_task:
            raise RuntimeError("can't cancel self")
        task = self
        while isinstance(task.data, Task):
            task = task.data
        if hasattr(task.data, "remove"):
            task.data.remove(task)
            core._task_queue.push(task)
        elif ticks_diff(task.ph_key, ticks_ms()) > 0:
            core._task_queue.remove(task)
            core._task_queue.push(task)
        task.data = core.CancelledError
        return True


sys.modules["_asyncio"] = sys.modules[__name__]
sys.modules["time"] = _Time()
