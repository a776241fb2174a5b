"""XML from strangers: how it is parsed, and how elements are taken one after the other."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from lxml import etree

from hanlab.duis.encoding import as_utf8
from hanlab.duis.lexical import TOKEN, WHITE, XsType
from hanlab.duis.names import RA, SR
from hanlab.errors import HanlabError
from hanlab.eui import Eui

MAX_OCTETS: Final = 16 * 1024 * 1024
"""Of a message: the largest 11.1 has an image of 10,240,000 octets in base64 and 50,000 EUI-64s."""
MAX_TAGS: Final = 4_096
"""Tags of a message, and so its depth; an 8.2 response of 17 devices has some 900."""
MAX_ATTRIBUTES: Final = 4_096
T = TypeVar("T")
MAX_COLLAPSED: Final = 100
"""Characters of a value whose white space around it does not count, with that white space."""
_EUI: Final = re.compile(r"[A-Fa-f0-9]{2}(-[A-Fa-f0-9]{2}){7}")
_PREFIXES: Final = {f"{{{SR}}}": "sr:", f"{{{RA}}}": "ra:"}


class DuisError(HanlabError):
    """What came is not XML of DUIS's shape; says which element."""

    exit_code = 2


def parse(octets: bytes) -> etree._Element:
    """The root element of a message. No DTD, no entity, no network, and bounds on everything.

    Comments and processing instructions say nothing, and are not in it.

    Raises:
        DuisError: it is no XML, or more than any DUIS message has.
    """
    return _root(plain(octets), xml_parser(everything=False))


def plain(octets: bytes) -> bytes:
    """A message in UTF-8, checked for all that can be seen before it is parsed.

    Raises:
        DuisError: see `parse`.
    """
    if len(octets) > MAX_OCTETS:
        raise DuisError(
            f"the message has {len(octets):,} octets, DUIS's largest fewer than {MAX_OCTETS:,}",
            next_step="an 11.1 takes an image of 10,240,000 octets and 50,000 devices",
        )
    try:
        octets = as_utf8(octets)
    except ValueError as e:
        raise DuisError(f"the message {e}", next_step="send XML in UTF-8 or UTF-16") from None
    if b"<!DOCTYPE" in octets or b"<!ENTITY" in octets:
        raise DuisError(
            "the message has a document type or entities", next_step="DUIS has neither: remove them"
        )
    for what, number, most in (
        ("tags", octets.count(b"<"), MAX_TAGS),
        ("attributes", octets.count(b"="), MAX_ATTRIBUTES),
    ):
        if number > most:
            raise DuisError(
                f"the message has {number:,} {what}, DUIS's largest fewer than {most:,}",
                next_step="send one Service Request in a message",
            )
    return octets


def xml_parser(*, everything: bool) -> etree.XMLParser:
    """A parser for what `plain` has passed. `everything`: with comments and processing instructions."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        remove_comments=not everything,
        remove_pis=not everything,
        huge_tree=True,  # an image's text is longer than libxml2 allows by itself; `plain` has bounds
    )


def _root(utf8: bytes, parser: etree.XMLParser) -> etree._Element:
    try:
        root = etree.fromstring(utf8, parser)
    except (etree.XMLSyntaxError, ValueError) as e:
        why = (
            e.msg if isinstance(e, etree.XMLSyntaxError) else e
        )  # its str() has a file that is none
        raise DuisError(f"the message is no XML: {why}", next_step="send XML in UTF-8") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise DuisError("the message has a document type", next_step="DUIS has none: remove it")
    return root


class Children:
    """The child elements of one, taken in the schema's order; text between them has to be white."""

    def __init__(self, element: etree._Element) -> None:
        self._name = short(element)
        self._left = list(element)[::-1]
        texts = [element.text, *(child.tail for child in element)]
        if any(text and text.strip(WHITE) for text in texts):
            raise wrong(self._name, "has text between its elements")

    def take(self, name: str) -> etree._Element:
        """The next one, which has to have that name."""
        found = self.maybe(name)
        if found is None:
            next_ = f"{short(self._left[-1])} stands there" if self._left else "nothing follows"
            raise wrong(self._name, f"needs {_short(name)} here; {next_}")
        return found

    def maybe(self, name: str) -> etree._Element | None:
        """The next one if it has that name."""
        return self._left.pop() if self._is_next(name) else None

    def _is_next(self, name: str) -> bool:
        return bool(self._left) and self._left[-1].tag == name

    def any(self) -> etree._Element:
        """The next one, whatever it is."""
        if not self._left:
            raise wrong(self._name, "is empty")
        return self._left.pop()

    def text(self, name: str, most: int, least: int = 1) -> str:
        return text_of(self.take(name), most, least)

    def maybe_text(self, name: str, most: int) -> str | None:
        found = self.maybe(name)
        return None if found is None else text_of(found, most)

    def value(self, name: str, kind: XsType[T]) -> T:
        """The value of the next one, by its type."""
        return value_of(kind, self.text(name, MAX_COLLAPSED, 0), _short(name))

    def maybe_value(self, name: str, kind: XsType[T]) -> T | None:
        return self.value(name, kind) if self._is_next(name) else None

    def eui(self, name: str) -> Eui:
        """The EUI-64 in the next one, sr:`name`."""
        return eui_of(self.value(f"{{{SR}}}{name}", TOKEN), f"sr:{name}")

    def skip(self, names: frozenset[str]) -> None:
        while self._left and etree.QName(self._left[-1]).localname in names:
            self._left.pop()

    def end(self) -> None:
        if self._left:
            raise wrong(self._name, f"has {short(self._left[-1])}, which does not belong there")


def text_of(element: etree._Element, most: int, least: int = 1) -> str:
    """Its text; no elements in it, `least` to `most` characters."""
    text = element.text or ""
    if len(element):
        raise wrong(short(element), "has elements, and should have text")
    if not least <= len(text) <= most:
        raise wrong(
            short(element), f"has {len(text):,} characters; {least:,} to {most:,} are right"
        )
    return text


def eui_of(text: str, name: str) -> Eui:
    if not _EUI.fullmatch(text):
        raise wrong(name, f"is no EUI-64: {text[:40]!r}")
    return Eui(bytes.fromhex(text.replace("-", "")))


def value_of(kind: XsType[T], text: str, name: str) -> T:
    """What `text`, of an element or attribute called `name`, stands for.

    Raises:
        DuisError: it is no such type.
    """
    try:
        return kind.read(text)
    except ValueError as e:
        raise wrong(name, str(e)) from None


def wrong(name: str, what: str) -> DuisError:
    return DuisError(f"{name} {what}", next_step="DUIS 5.4 says what a message looks like")


def short(element: etree._Element) -> str:
    return _short(str(element.tag))


def _short(tag: str) -> str:
    for namespace, prefix in _PREFIXES.items():
        tag = tag.replace(namespace, prefix)
    return tag
