"""The lab beside the gateway: one request that goes wrong does not take the others with it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from hanlab.duis.messages import RequestId
from hanlab.eui import Eui
from hanlab.gateway.bench_thread import BenchThread
from hanlab.lab import Lab

USER = Eui.parse("90-B3-D5-1F-30-01-00-00")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")
FIRST, SECOND, EARLIER = (RequestId(USER, PPMID, n) for n in (1, 2, 3))


class Work:
    """In place of a lab: the first request meets a defect of hanlab's, the others are carried out."""

    def __init__(self) -> None:
        self.done: list[RequestId] = []
        self.all_done = threading.Event()
        self.dsp = self

    def unfinished(self) -> list[RequestId]:
        return [EARLIER]

    async def carry_out(self, request: RequestId, report: Any) -> None:
        if request == FIRST:
            raise ZeroDivisionError("a defect")
        self.done.append(request)
        if SECOND in self.done:
            self.all_done.set()

    def run(self, work: Any) -> None:
        asyncio.run(work)


def test_a_defect_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    thread = BenchThread(cast("Lab", work))
    thread.start()
    thread.carry_out(FIRST)
    thread.carry_out(SECOND)
    assert work.all_done.wait(30)
    thread.stop()
    assert work.done == [EARLIER, SECOND]
    assert thread.error is None
    assert "waits for the next start" in caplog.text
    assert "ZeroDivisionError" in caplog.text
