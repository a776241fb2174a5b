"""Responses and DCC Alerts go to the users' listeners, again and again until these take them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
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
TIMEOUT_S: Final = 10.0
"""From the message to the head of its answer. What comes after that is nothing to the gateway: it is not read."""
_LATER: Final = frozenset({408, 425, 429})
"""Answers of 400 to 499 that ask for another try: time-out, too early, too many."""
_LOG: Final = logging.getLogger(__name__)


class _NotNowError(Exception):
    """A message waits for another try; says why."""


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
        listeners = {u.eui: u.listener for u in self._dsp.settings.users if u.listener}
        await asyncio.gather(*(self._serve(eui, url) for eui, url in listeners.items()))

    async def _serve(self, eui: Eui, url: str) -> None:
        """For ever, whatever goes wrong: a disk that is full now may have room again."""
        failed = 0
        while True:
            try:
                for delivery in self._dsp.deliveries.waiting_for(eui):
                    await self._post(url, delivery)
                    failed = 0
            except _NotNowError as e:
                _LOG.warning("%s", e)
            except HanlabError as e:
                _LOG.error("nothing goes to %s now: %s", url, e)
            except Exception:
                _LOG.exception("nothing goes to %s now", url)
            else:
                await self._pause(POLL_S)
                continue
            await self._pause(RETRY_S[min(failed, len(RETRY_S) - 1)])
            failed += 1

    async def _post(self, url: str, delivery: Delivery) -> None:
        """Post a message until it was taken (200 to 299) or is set aside.

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
            return
        try:
            answer = await self._answer(url, signed)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as e:
            why = str(e) or type(e).__name__
            raise _NotNowError(f"{url} does not take {delivery.code}: {why}") from None
        if answer.is_client_error and answer.status_code not in _LATER:
            why = f"{url} answers {answer.status_code}"
            self._dsp.deliveries.set_aside(delivery.number, why)
            _LOG.warning("%s to %s: set aside, hanlab alerts shows it", why, delivery.code)
        elif answer.is_success:
            self._dsp.deliveries.delivered(delivery.number, datetime.now(UTC))
        else:
            raise _NotNowError(f"{url} answers {answer.status_code} to {delivery.code}")

    async def _answer(self, url: str, octets: bytes) -> httpx.Response:
        """The head of what a listener answers; its body may have no end."""
        headers = {"content-type": "application/xml"}
        async with (
            asyncio.timeout(TIMEOUT_S),
            self._client.stream("POST", url, content=octets, headers=headers) as answer,
        ):
            return answer
