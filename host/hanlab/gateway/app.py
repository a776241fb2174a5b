"""The web services `/api/v1/serviceD`, `/serviceS` and `/serviceT`, as DCC Boxed has them.

A POST of a Service Request (`application/xml`) is answered at once with a signed response: I99, or the
code that refuses it. What comes of it goes to the user's listener (`delivery.py`).

What is no Service Request of a proved sender gets an HTTP error and a sentence in plain text, and
leaves nothing behind: 400 not DUIS, 403 not signed as it should be or from a web page, 408 too slow,
413 too large, 415 no XML, 421 another host's, 503 too much at once. 409 is a counter that was used, as
no public document gives a response code for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from hanlab.dsp.counters import CounterError
from hanlab.dsp.database import DatabaseTrouble
from hanlab.dsp.service import Dsp
from hanlab.dsp.service_requests import WebService
from hanlab.duis.messages import RequestId
from hanlab.duis.reading import DuisError
from hanlab.duis.signing import SignatureError
from hanlab.duis.writing import write_response
from hanlab.errors import HanlabError
from hanlab.gateway.bodies import Bodies, Limits
from hanlab.gateway.decisions import Decisions
from hanlab.gateway.refusals import Refused
from hanlab.gateway.seals import Seals
from hanlab.gateway.senders import LOCAL, check_body, check_headers

_AT_ONCE: Final = 64 * 1024
"""Octets up to which a request is read on the spot; larger ones do not hold the others up."""
_LOG: Final = logging.getLogger(__name__)
_STATUS: Final[tuple[tuple[type[HanlabError], int], ...]] = (
    (SignatureError, 403),
    (DuisError, 400),
    (CounterError, 409),
    (DatabaseTrouble, 503),
    (HanlabError, 422),
)


def make_app(
    dsp: Dsp,
    seals: Seals,
    carry_out: Callable[[RequestId], None],
    *,
    names: Collection[str] = LOCAL,
    limits: Limits | None = None,
) -> Starlette:
    """The ASGI app. `carry_out` is called with each request that was acknowledged with I99.

    `names`: what it may be called in Host, beside its IP addresses; in lower case.
    """
    bodies = Bodies(limits or Limits())
    one_large = asyncio.Semaphore(1)  # a parsed 11.1 takes ten times its octets

    decisions = Decisions(dsp, carry_out)

    def decide_large(octets: bytes, service: WebService) -> bytes:
        request = seals.open(octets)
        response = dsp.receive(request, service)
        if response.code == "I99":
            carry_out(request.id)
        return seals.sign(write_response(response))

    async def answer(http: HttpRequest, service: WebService) -> bytes:
        check_headers(http, names)
        async with bodies.read(http) as octets:
            check_body(octets)
            if len(octets) <= _AT_ONCE:
                response = await decisions.decide(seals.open(octets), service)
                return seals.sign(write_response(response))
            async with one_large:
                return await run_in_threadpool(decide_large, octets, service)

    def endpoint(service: WebService) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
        async def post(http: HttpRequest) -> HttpResponse:
            try:
                return HttpResponse(await answer(http, service), media_type="application/xml")
            except Refused as refused:
                dsp.parts.log(f"refused with HTTP {refused.status}: {refused.what}")
                return refused.response()
            except HanlabError as e:
                status = next(code for kind, code in _STATUS if isinstance(e, kind))
                dsp.parts.log(f"refused with HTTP {status}: {e.what}")
                return Refused(status, e.what, e.next_step).response()
            except Exception:
                _LOG.exception("a request failed")
                failure = "hanlab itself failed; its log says how"
                return Refused(500, failure, "send it again").response()

        return post

    app = Starlette(
        exception_handlers={404: _not_here, 405: _not_here},
        routes=[
            Route(f"/api/v1/service{service}", endpoint(service), methods=["POST"])
            for service in WebService
        ],
    )
    app.router.redirect_slashes = False  # to what the client's own Host says
    return app


def _not_here(http: HttpRequest, error: Exception) -> HttpResponse:
    """Another path, or another method than POST."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    paths = ", ".join(f"/api/v1/service{service}" for service in WebService)
    said = f"{http.method[:20]} {http.url.path[:80]!r} is nothing of this gateway"
    headers = {"allow": "POST"} if status == 405 else {}
    return Refused(status, said, f"POST a Service Request to {paths}", headers).response()
