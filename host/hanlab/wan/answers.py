"""What a board answered: SMP's CBOR, as the message that was waited for or as an error.

Whatever the octets are, it ends in a value, in `Refused` or in `WanError`.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import cbor2
from smp.error import MGMT_ERR
from smp.exceptions import SMPException
from smp.header import Header
from smp.message import ReadResponse, WriteResponse
from smpclient.generics import SMPRequest

from hanlab.wan.errors import Refused, WanError

TRep = TypeVar("TRep", bound=ReadResponse | WriteResponse)


def parsed(request: SMPRequest[TRep, Any, Any], answer: bytes) -> TRep:
    """The answer as what the request is to be answered with. Raises WanError for any other octets."""
    _raise_error(answer)
    try:
        return cast("TRep", request._Response.loads(answer))
    except (SMPException, cbor2.CBORError, ValueError, TypeError) as e:
        why = " ".join(str(e).split())
        raise WanError(
            f"the board's answer to {type(request).__name__} makes no sense: {why}"
        ) from None


def _raise_error(answer: bytes) -> None:
    """Raises Refused if the board's answer says so, WanError if it is no answer."""
    body = _body(answer)
    if isinstance(error := body.get("err"), dict):
        raise Refused(_code(error.get("group", 0)), _code(error.get("rc", 1)))
    if body.get("rc"):
        raise Refused(0, _code(body["rc"]))


def _code(value: object) -> int:
    return value if isinstance(value, int) else MGMT_ERR.EUNKNOWN


def _body(answer: bytes) -> dict[str, Any]:
    octets = answer[Header.SIZE :]
    if _has_tags(octets):
        raise WanError("the board's answer is no CBOR of SMP: it has tags")
    try:
        body = cbor2.loads(octets)
    except (cbor2.CBORDecodeError, ValueError) as e:
        raise WanError(f"the board's answer is no CBOR: {e}") from None
    if not isinstance(body, dict):
        raise WanError(f"the board's answer is no CBOR map but {type(body).__name__}")
    return body


def _has_tags(octets: bytes) -> bool:
    """Whether CBOR has tags: SMP has none, and cbor2 makes of them e-mails, or lists that hold themselves."""
    at = 0
    while at < len(octets):
        major, info = octets[at] >> 5, octets[at] & 31
        at += 1
        if major == 6:
            return True
        if 24 <= info <= 27:
            size = 1 << (info - 24)
            info = int.from_bytes(octets[at : at + size])
            at += size
        elif info == 31:
            info = 0  # in pieces: each follows with a head of its own
        if major in (2, 3):
            at += info
    return False


def offset(answer: bytes, size: int) -> int:
    """Which octet of `size` ones the board wants next. Raises as `_raise_error`."""
    _raise_error(answer)
    off = _body(answer).get("off")
    if not isinstance(off, int) or not 0 <= off <= size:
        raise WanError(f"the board's answer to an upload of {size:,} octets has the offset {off!r}")
    return off
