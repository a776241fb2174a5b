"""How elements are written, for every family of messages."""

from __future__ import annotations

from datetime import UTC, datetime

from lxml import etree

from hanlab.duis.names import NAMESPACES, SCHEMA_VERSION, sr
from hanlab.eui import Eui

Parent = etree._Element


def root(name: str) -> Parent:
    return etree.Element(sr(name), {"schemaVersion": SCHEMA_VERSION}, nsmap=NAMESPACES)


def under(parent: Parent, name: str, **attributes: str) -> Parent:
    return etree.SubElement(parent, name, attributes)


def text(parent: Parent, name: str, value: str) -> None:
    try:
        etree.SubElement(parent, name).text = value
    except ValueError:  # characters that XML does not have
        etree.SubElement(parent, name).text = ascii(value)


def texts(parent: Parent, **values: object) -> None:
    for name, value in values.items():
        text(parent, sr(name), str(value))


def eui_list(devices: tuple[Eui, ...]) -> str:
    return ",".join(map(str, devices))


def date(when: datetime, precision: str) -> str:
    return when.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def execution_date(element: Parent, when: datetime | None) -> None:
    """When a future-dated Service Request is due, first in its body."""
    if when:
        text(element, sr("ExecutionDateTime"), date(when, "milliseconds"))
