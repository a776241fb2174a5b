"""Responses and DCC Alerts go to the users' listeners, again and again until these take them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx

from hanlab.dsp.deliveries import Delivery
from hanlab.dsp.service import Dsp
from hanlab.errors import HanlabError
from hanlab.eui import Eui

POLL_S: Final = 0.1
"""How often the outbox is looked at."""
RETRY_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""Pauses after the first failure, the second one, …; the last one for all that follow.

Device Alerts are tried again at least once within 300 s (SEC); for responses that is assumed."""
PATIENCE: Final = 5
"""Failures of one message in a row, from which on the one after it is tried as well: if that is taken, it is
not the listener that is at fault."""
TIMEOUT_S: Final = 10.0
"""From the message to the head of its answer. What comes after that is nothing to the gateway: it is not read."""
_LATER: Final = frozenset({408, 425, 429})
"""Answers of 400 to 499 that ask for another try: time-out, too early, too many."""
_LOG: Final = logging.getLogger(__name__)


class _NotNowError(Exception):
    """A message waits for another try; says why."""


@dataclass
class _Queue:
    """A user's listener, and how often in a row something, or the message at the head, has failed."""

    eui: Eui
    url: str
    failed: int = 0
    stuck: int = 0

    def goes_on(self) -> None:
        self.failed = self.stuck = 0


class Deliverer:
    """Posts what waits in the DSP's outbox, a listener's messages in their order."""

    def __init__(
        self,
        dsp: Dsp,
        sign: Callable[[bytes], bytes],
        client: httpx.AsyncClient,
        *,
        pause: Callable[[float], asyncio.Future[None]] | None = None,
    ) -> None:
        self._dsp = dsp
        self._sign = sign
        self._client = client
        self._pause = pause or asyncio.sleep

    async def run(self) -> None:
        """For ever: one task a listener, so that a dead one does not hold the others up."""
        queues = [_Queue(u.eui, u.listener) for u in self._dsp.settings.users if u.listener]
        await asyncio.gather(*map(self._serve, queues))

    async def _serve(self, queue: _Queue) -> None:
        """For ever, whatever goes wrong: a disk that is full now may have room again."""
        while True:
            try:
                await self._deliver(queue)
            except _NotNowError as e:
                _LOG.warning("%s", e)
            except HanlabError as e:
                _LOG.error("nothing goes to %s now: %s", queue.url, e)
            except Exception:
                _LOG.exception("nothing goes to %s now", queue.url)
            else:
                await self._pause(POLL_S)
                continue
            await self._pause(RETRY_S[min(queue.failed, len(RETRY_S) - 1)])
            queue.failed += 1

    async def _deliver(self, queue: _Queue) -> None:
        """Post what waits, in its order; one message that alone is not taken is set aside in the end.

        Raises:
            _NotNowError: the listener does not take the first one now, and the next one neither.
        """
        waiting = self._dsp.deliveries.waiting_for(queue.eui)
        for place, delivery in enumerate(waiting):
            try:
                await self._post(queue.url, delivery)
            except _NotNowError:
                queue.stuck += 1
                others = waiting[place + 1 :]
                if queue.stuck < PATIENCE or not await self._takes_first(queue.url, others):
                    raise
                await self._post_or_set_aside(queue.url, delivery)
                queue.goes_on()
                return  # one of the others has gone as well
            queue.goes_on()

    async def _takes_first(self, url: str, others: Sequence[Delivery]) -> bool:
        """Whether a listener that does not take one message takes the one after it."""
        try:
            return bool(others) and await self._post(url, others[0])
        except _NotNowError:
            return False

    async def _post_or_set_aside(self, url: str, delivery: Delivery) -> None:
        """A last try: the listener may have come back between this message and the one that it took."""
        try:
            await self._post(url, delivery)
        except _NotNowError as e:
            self._set_aside(delivery, str(e))

    async def _post(self, url: str, delivery: Delivery) -> bool:
        """Post a message; whether it was taken (200 to 299), and not set aside.

        204 is what a listener should say. With another of 400 to 499 it says that it will never take
        this message; that is set aside, as is one that hanlab itself cannot sign.

        Raises:
            _NotNowError: the listener does not take it now.
        """
        try:
            signed = self._sign(delivery.xml)
        except Exception:
            _LOG.exception(
                "%s number %d cannot be signed: set aside", delivery.code, delivery.number
            )
            self._dsp.deliveries.set_aside(delivery.number, "it cannot be signed")
            return False
        try:
            answer = await self._answer(url, signed)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as e:
            why = str(e) or type(e).__name__
            raise _NotNowError(f"{url} does not take {delivery.code}: {why}") from None
        if answer.is_client_error and answer.status_code not in _LATER:
            self._set_aside(delivery, f"{url} answers {answer.status_code}")
            return False
        if not answer.is_success:
            raise _NotNowError(f"{url} answers {answer.status_code} to {delivery.code}")
        self._dsp.deliveries.delivered(delivery.number, datetime.now(UTC))
        return True

    def _set_aside(self, delivery: Delivery, why: str) -> None:
        self._dsp.deliveries.set_aside(delivery.number, why)
        _LOG.warning(
            "%s number %d is set aside (hanlab alerts): %s", delivery.code, delivery.number, why
        )

    async def _answer(self, url: str, octets: bytes) -> httpx.Response:
        """The head of what a listener answers; its body may have no end."""
        headers = {"content-type": "application/xml"}
        async with (
            asyncio.timeout(TIMEOUT_S),
            self._client.stream("POST", url, content=octets, headers=headers) as answer,
        ):
            return answer
