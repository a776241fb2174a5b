"""A lab beside the gateway: it runs in a thread of its own, paced by the wall clock."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from hanlab.duis.messages import RequestId
from hanlab.errors import HanlabError
from hanlab.lab import Lab
from hanlab.s1sp.progress import Progress, Report

_LOG: Final = logging.getLogger(__name__)
SLICE_S: Final = 0.02
"""How far the lab's time goes between two looks at the wall clock and at new requests."""


def _nobody(progress: Progress) -> None:
    pass


def _say_if_it_failed(task: asyncio.Task[Any]) -> None:
    """A request that hanlab itself could not carry out waits for the next start; nobody is left in the dark."""
    if not task.cancelled() and (error := task.exception()):
        _LOG.error("a request was not carried out, and waits for the next start", exc_info=error)


class BenchThread:
    """Carries out what the gateway acknowledges. Everything of the lab happens in this thread.

    The DSP's decisions are the gateway's thread's; its database takes one transaction at a time. When
    the lab has stopped, for `error`, the DSP says so to whoever asks for a device (E20).
    """

    def __init__(
        self, lab: Lab, report: Callable[[RequestId], Report] = lambda request: _nobody
    ) -> None:
        """`report` makes what is called with the steps of a request."""
        self._lab = lab
        self._report = report
        self._requests: queue.SimpleQueue[RequestId | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="bench", daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        """What an earlier process left undone comes first, in the order in which it falls due."""
        self._thread.start()

    def carry_out(self, request: RequestId) -> None:
        self._requests.put(request)

    def stop(self) -> None:
        self._requests.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._lab.run(self._work())
        except BaseException as e:
            self._lab.dsp.no_contact = f"the lab has stopped: {e}"
            _LOG.error("the lab has stopped: %s; what was acknowledged waits for the next start", e)
            self.error = e

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        ahead = loop.time() - time.monotonic()
        tasks: set[asyncio.Task[Any]] = set()

        def begin(work: Any) -> None:
            task = asyncio.ensure_future(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            task.add_done_callback(_say_if_it_failed)

        async def meet_what_is_left() -> None:
            try:
                await self._lab.dsp.carry_out_due()
            except asyncio.CancelledError:
                raise  # the lab stops; nothing begins any more
            except HanlabError as e:
                _LOG.error("a request waits for the next start: %s", e)
            for request in self._lab.dsp.unfinished():
                begin(self._lab.dsp.resume(request))  # at its date

        begin(meet_what_is_left())
        begin(self._lab.watch_joins())
        while True:
            wait = loop.time() - ahead - time.monotonic()
            try:
                # Never longer than the lab was moved on: real boards' loop stands still meanwhile.
                wait = min(wait, SLICE_S)
                request = (
                    self._requests.get(timeout=wait) if wait > 0 else self._requests.get_nowait()
                )
            except queue.Empty:
                await asyncio.sleep(SLICE_S)
                continue
            if request is None:
                break
            begin(self._lab.dsp.carry_out(request, self._report(request)))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
