"""The web services `/api/v1/serviceD`, `/serviceS` and `/serviceT`, as DCC Boxed has them.

A POST of a Service Request (`application/xml`) is answered at once with a signed response: I99, or the
code that refuses it. What comes of it goes to the user's listener (`delivery.py`).

What is no Service Request gets an HTTP error and a sentence in plain text, as no public document gives
a response code for it: 400 not DUIS, 403 wrongly signed, 409 replayed, 413 too large, 422 not possible.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from hanlab.dsp.service import Dsp, ReplayError
from hanlab.dsp.service_requests import WebService
from hanlab.duis.messages import RequestId
from hanlab.duis.reading import DuisError, read_request
from hanlab.duis.signing import SignatureError
from hanlab.duis.writing import write_response
from hanlab.errors import HanlabError

LIMIT: Final = 16 * 1024 * 1024
"""Octets of a request: the largest 11.1 that DUIS allows has some 15 million."""
_AT_ONCE: Final = 64 * 1024
"""Octets up to which a request is read on the spot; larger ones do not hold the others up."""
_LOG: Final = logging.getLogger(__name__)
_STATUS: Final[tuple[tuple[type[HanlabError], int], ...]] = (
    (SignatureError, 403),
    (DuisError, 400),
    (ReplayError, 409),
    (HanlabError, 422),
)


@dataclass(frozen=True)
class Seals:
    """How messages are signed: `check` raises SignatureError, `sign` signs a response."""

    check: Callable[[bytes], None]
    sign: Callable[[bytes], bytes]


def make_app(dsp: Dsp, seals: Seals, carry_out: Callable[[RequestId], None]) -> Starlette:
    """The ASGI app. `carry_out` is called with each request that was acknowledged with I99."""

    def decide(octets: bytes, service: WebService) -> bytes:
        seals.check(octets)
        request = read_request(octets)
        response = dsp.receive(request, service)
        if response.code == "I99":
            carry_out(request.id)
        return seals.sign(write_response(response))

    def endpoint(service: WebService) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
        async def post(http: HttpRequest) -> HttpResponse:
            try:
                octets = await _body(http)
                if octets is None:
                    return _refusal(413, f"more than {LIMIT:,} octets", "11.1 takes 10,240,000")
                if len(octets) > _AT_ONCE:
                    answer = await run_in_threadpool(decide, octets, service)
                else:
                    answer = decide(octets, service)
            except HanlabError as e:
                status = next(code for kind, code in _STATUS if isinstance(e, kind))
                return _refusal(status, e.what, e.next_step)
            except ClientDisconnect:
                return _refusal(400, "the request ended in the middle", "send it again")
            except Exception:
                _LOG.exception("a request failed")
                return _refusal(500, "hanlab itself failed; its log says how", "send it again")
            return HttpResponse(answer, media_type="application/xml")

        return post

    return Starlette(
        routes=[
            Route(f"/api/v1/service{service}", endpoint(service), methods=["POST"])
            for service in WebService
        ]
    )


async def _body(http: HttpRequest) -> bytes | None:
    """The octets of a request; None as soon as they are too many."""
    announced = http.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > LIMIT:
        return None
    octets = bytearray()
    async for some in http.stream():
        octets += some
        if len(octets) > LIMIT:
            return None
    return bytes(octets)


def _refusal(status: int, what: str, next_step: str) -> HttpResponse:
    return PlainTextResponse(f"{what}\n{next_step}\n", status_code=status)
