"""The lab beside the gateway: one request that goes wrong does not take the others with it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hanlab.duis.messages import RequestId
from hanlab.eui import Eui
from hanlab.gateway import bench_thread
from hanlab.gateway.bench_thread import BenchThread
from hanlab.lab import Lab

USER = Eui.parse("90-B3-D5-1F-30-01-00-00")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")
FIRST, SECOND, EARLIER, DATED = (RequestId(USER, PPMID, n) for n in (1, 2, 3, 4))


class Work:
    """In place of a lab: the first request meets a defect of hanlab's, the others are carried out."""

    def __init__(self) -> None:
        self.done: list[RequestId] = []
        self.all_done = threading.Event()
        self.dsp = self
        self.no_contact = ""

    def unfinished(self) -> list[RequestId]:
        return [DATED] if EARLIER in self.done else [EARLIER, DATED]

    async def carry_out_due(self) -> None:
        self.done.append(EARLIER)

    async def watch_joins(self) -> None:
        """Nobody joins."""

    async def resume(self, request: RequestId) -> None:
        self.done.append(request)

    async def carry_out(self, request: RequestId, report: Any) -> None:
        if request == FIRST:
            raise ZeroDivisionError("a defect")
        self.done.append(request)
        if SECOND in self.done:
            self.all_done.set()

    def run(self, work: Any) -> None:
        asyncio.run(work)


def test_a_defect_is_logged_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a loaded machine, which may stop the thread between two looks at two clocks.

    What it lost there the thread then waited for at every turn, the loop standing still meanwhile.
    """
    true_time, turns = time.monotonic, itertools.count()
    stopped_s = 3600.0

    def monotonic() -> float:
        return true_time() + (0.0 if next(turns) == 0 else -stopped_s)

    monkeypatch.setattr(bench_thread, "time", SimpleNamespace(monotonic=monotonic))
    work = Work()
    thread = BenchThread(cast("Lab", work))
    thread.start()
    thread.carry_out(FIRST)
    thread.carry_out(SECOND)
    assert work.all_done.wait(60)
    thread.stop()
    assert sorted(work.done, key=lambda r: r.counter) == [SECOND, EARLIER, DATED]
    assert work.done.index(EARLIER) < work.done.index(DATED)
    assert thread.error is None
    assert "waits for the next start" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_lab_that_has_stopped_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Work):
        def run(self, work: Any) -> None:
            work.close()
            raise ZeroDivisionError("a board that died")

    work = Broken()
    thread = BenchThread(cast("Lab", work))
    thread.start()
    thread.stop()
    assert isinstance(thread.error, ZeroDivisionError)
    assert "a board that died" in work.no_contact
    assert "waits for the next start" in caplog.text
