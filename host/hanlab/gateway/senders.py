"""Who may post at all, by the headers: no page of another site, and XML as it is.

A browser lets any page post to any address, and sends its `Origin` with it. A page can also have its
own name point to this machine (DNS rebinding); then `Host` has that name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from email.message import Message
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from hanlab.gateway.refusals import Refused

LOCAL: Final = frozenset({"localhost"})
_XML: Final = ("application/xml", "text/xml")
_CHARSETS: Final = ("", "utf-8", "utf8", "us-ascii", "utf-16")
_GZIP: Final = b"\x1f\x8b"
_SEND: Final = (
    "send it as curl does with -H 'Content-Type: application/xml' --data-binary @FILE.xml"
)


def check_headers(http: Request, names: Collection[str]) -> None:
    """Refuse what a client for DUIS never sends. `names` are the gateway's, in lower case.

    Raises:
        Refused: 421 for another Host, 403 for the Origin of another site, 415 for another kind of
            body.
    """
    host = http.headers.get("host", "")
    if not _is_own(host, names):
        raise Refused(
            421,
            f"Host: {host[:80]!r} is no name of this gateway",
            "use its IP address, or serve with --allow-host NAME",
        )
    origin = http.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise Refused(
            403,
            f"a page of {origin[:80]} sent it",
            "Service Requests come from programs, not from other sites' pages",
        )
    encoding = http.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Refused(415, f"Content-Encoding: {encoding[:40]} is not read", "send it as it is")
    said = http.headers.get("content-type", "")
    kind, charset = _content_type(said)
    if kind not in _XML or charset not in _CHARSETS:
        raise Refused(415, f"Content-Type: {said[:80] or 'none'} is no XML", _SEND)


def check_body(octets: bytes) -> None:
    """Refuse a body that is compressed without saying so.

    Raises:
        Refused: 415.
    """
    if octets.startswith(_GZIP):
        raise Refused(415, "the body is gzip, not XML", "send the XML as it is")


def _content_type(text: str) -> tuple[str, str]:
    message = Message()
    message["content-type"] = text
    charset = message.get_param("charset") or ""
    kind = message.get_content_type() if text else ""
    return kind, charset.lower() if isinstance(charset, str) else "?"


def _is_own(host: str, names: Collection[str]) -> bool:
    """An IP address cannot be a stranger's name; other names have to be known."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True
