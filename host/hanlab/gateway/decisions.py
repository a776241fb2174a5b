"""Requests that wait at the same time are decided together, so that they share one commit.

A commit waits for the disk, which takes longer than a decision; and nothing is answered before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hanlab.dsp.service import Dsp
from hanlab.dsp.service_requests import WebService
from hanlab.duis.messages import Request, RequestId
from hanlab.duis.responses import Response


class Decisions:
    """Of the event loop's thread. `carry_out` is called with each request that was acknowledged with I99."""

    def __init__(self, dsp: Dsp, carry_out: Callable[[RequestId], None]) -> None:
        self._dsp = dsp
        self._carry_out = carry_out
        self._waiting: list[tuple[Request, WebService, asyncio.Future[Response]]] = []

    async def decide(self, request: Request, service: WebService) -> Response:
        """The answer, when it is on the disk. Raises what `Dsp.receive` does."""
        loop = asyncio.get_running_loop()
        if not self._waiting:  # in the loop's next turn: one that is alone does not wait for others
            loop.call_soon(self._decide_all)
        answer: asyncio.Future[Response] = loop.create_future()
        self._waiting.append((request, service, answer))
        return await answer

    def _decide_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        answers: list[Response | Exception]
        try:
            answers = self._dsp.receive_all([(request, service) for request, service, _ in waiting])
        except Exception as e:  # nothing of any of them is there
            answers = [e] * len(waiting)
        for (_, _, future), answer in zip(waiting, answers, strict=True):
            if future.done():  # its client has gone
                continue
            if isinstance(answer, Response):
                future.set_result(answer)
            else:
                future.set_exception(answer)
        for (request, _, _), answer in zip(waiting, answers, strict=True):
            if isinstance(answer, Response) and answer.code == "I99":
                self._carry_out(request.id)
