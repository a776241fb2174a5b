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
from hanlab.eui import Eui

POLL_S: Final = 0.1
"""How often the outbox is looked at."""
RETRY_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""Pauses after the first failure, the second one, …; the last one for all that follow.

Device Alerts are tried again at least once within 300 s (SEC); for responses that is assumed."""
TIMEOUT_S: Final = 10.0
_LATER: Final = frozenset({408, 425, 429})
"""Answers of 400 to 499 that ask for another try: time-out, too early, too many."""
_LOG: Final = logging.getLogger(__name__)


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
        self.failures = 0

    async def run(self) -> None:
        """For ever: one task a listener, so that a dead one does not hold the others up."""
        listeners = {u.eui: u.listener for u in self._dsp.settings.users if u.listener}
        await asyncio.gather(*(self._serve(eui, url) for eui, url in listeners.items()))

    async def _serve(self, eui: Eui, url: str) -> None:
        failed = 0
        while True:
            waiting = self._dsp.deliveries.waiting_for(eui)
            for delivery in waiting:
                if not await self._post(url, delivery):
                    break
                failed = 0
            else:
                await self._pause(POLL_S)
                continue
            await self._pause(RETRY_S[min(failed, len(RETRY_S) - 1)])
            failed += 1

    async def _post(self, url: str, delivery: Delivery) -> bool:
        """Whether the next one has its turn: this one was taken (200 to 299) or is set aside.

        204 is what a listener should say. With another of 400 to 499 it says that it will never take
        this message; that is set aside, as is one that hanlab itself cannot sign.
        """
        headers = {"content-type": "application/xml"}
        try:
            signed = self._sign(delivery.xml)
        except Exception:
            _LOG.exception(
                "%s number %d cannot be signed: set aside", delivery.code, delivery.number
            )
            self._dsp.deliveries.set_aside(delivery.number, "it cannot be signed")
            return True
        try:
            answer = await self._client.post(
                url, content=signed, headers=headers, timeout=TIMEOUT_S
            )
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            self.failures += 1
            _LOG.warning("%s does not take %s: %s", url, delivery.code, e or type(e).__name__)
            return False
        if answer.is_client_error and answer.status_code not in _LATER:
            why = f"{url} answers {answer.status_code}"
            self._dsp.deliveries.set_aside(delivery.number, why)
            _LOG.warning("%s to %s: set aside, hanlab alerts shows it", why, delivery.code)
            return True
        if not answer.is_success:
            self.failures += 1
            _LOG.warning("%s answers %d to %s", url, answer.status_code, delivery.code)
            return False
        self._dsp.deliveries.delivered(delivery.number, datetime.now(UTC))
        return True
