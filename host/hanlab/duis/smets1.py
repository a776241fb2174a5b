"""What a SMETS1 device answers in XML, both ways: there is no GBCS, its S1SP signs it (MMC schema 5.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lxml import etree

from hanlab.duis.elements import Parent, date, root, text, under
from hanlab.duis.lexical import BOOLEAN, DATE_TIME, INTEGER, TOKEN
from hanlab.duis.names import SIGNATURE, ra, sr
from hanlab.duis.parsing import Children, eui_of, short, value_of, wrong
from hanlab.duis.responses import (
    DeviceAnswer,
    DeviceCommissioned,
    DeviceLogEntry,
    DeviceLogRead,
    FirmwareActivated,
    FirmwareVersionRead,
    HanDeviceLogUpdated,
    Response,
    ServiceJoined,
)

_JOINED: Final = {
    (True, True): "JoinServiceCriticalRsp",
    (True, False): "JoinServiceNonCriticalRsp",
    (False, True): "UnjoinServiceCriticalRsp",
    (False, False): "UnjoinServiceNonCriticalRsp",
}
"""ServiceJoined's elements, by `joined` and `critical`."""
_MOST_ENTRIES: Final = 16
"""CHFDeviceLogEntries of a response."""


# -- reading


def read_answer(children: Children) -> DeviceAnswer:
    """What is in an sr:SMETS1SignedResponse."""
    response = Children(children.take(sr("SMETS1Response")))
    children.take(SIGNATURE)
    children.end()
    response.take(sr("Header"))
    payload = Children(Children(response.take(sr("Body"))).take(sr("ResponseMessage")))
    data = Children(payload.take(ra("SMETSData")))
    debug = payload.maybe(ra("DebugInfo"))
    element = data.any()
    data.end()
    success = value_of(BOOLEAN, element.get("MessageSuccess", ""), "MessageSuccess")
    reader = _READERS.get(str(element.tag))
    if reader is None:
        raise wrong("ra:SMETSData", f"has {short(element)}, which hanlab does not read")
    parts = Children(element)
    said = "" if debug is None else "".join(str(part) for part in debug.itertext()).strip()
    answer = reader(parts, success, said)
    parts.end()
    return answer


def _version(parts: Children, success: bool, _: str) -> DeviceAnswer:
    return FirmwareVersionRead(parts.maybe_text(ra("FirmwareVersion"), 100), success)


def _activated(parts: Children, success: bool, said: str) -> DeviceAnswer:
    code, status = _status(parts.maybe(ra("ActivateImageResponseCode")))
    version = parts.maybe_text(ra("FirmwareVersion"), 8)
    return FirmwareActivated(success, code, status, version, said)


def _status(element: etree._Element | None) -> tuple[int | None, str | None]:
    """A StatusASN1: its number and its name."""
    if element is None:
        return None, None
    number = value_of(INTEGER, element.get("ResponseCode", ""), "ResponseCode")
    return number, Children(element).text(ra("ASN1Status"), 40)


def _log_updated(parts: Children, success: bool, _: str) -> DeviceAnswer:
    return HanDeviceLogUpdated(success)


def _log_read(parts: Children, success: bool, _: str) -> DeviceAnswer:
    of_ch = (log := parts.maybe(ra("CHFDeviceLog"))) is not None
    if log is None:
        log = parts.maybe(ra("DeviceLogEntries"))
    entries = () if log is None else tuple(_entry(Children(e), of_ch=of_ch) for e in log)
    if of_ch and len(entries) > _MOST_ENTRIES:
        raise wrong("ra:CHFDeviceLog", f"has {len(entries)} entries; {_MOST_ENTRIES} at most")
    return DeviceLogRead(entries, of_ch or log is None, success)


def _entry(parts: Children, *, of_ch: bool) -> DeviceLogEntry:
    device = eui_of(parts.value(ra("DeviceID"), TOKEN), "ra:DeviceID")
    heard = parts.maybe_value(ra("LastCommunicationsDateTime"), DATE_TIME) if of_ch else None
    kind = None if of_ch else parts.text(ra("DeviceType"), 6)
    parts.skip(frozenset({"SubGHzLinkQuality"} if of_ch else ()))
    parts.end()
    return DeviceLogEntry(device, heard, kind)


def _joined(joined: bool, critical: bool) -> Callable[[Children, bool, str], DeviceAnswer]:
    name = "joinResponseCode" if joined else "unjoinResponseCode"

    def read(parts: Children, success: bool, _: str) -> DeviceAnswer:
        code, status = _status(parts.take(ra(name)))
        assert code is not None
        assert status is not None
        return ServiceJoined(joined, critical, code, status, success)

    return read


def _commissioned(parts: Children, success: bool, _: str) -> DeviceAnswer:
    time = parts.maybe_value(ra("DeviceTime"), DATE_TIME)
    parts.skip(frozenset({"Electricity", "Gas"}))
    return DeviceCommissioned(time, success)


_READERS: Final[dict[str, Callable[[Children, bool, str], DeviceAnswer]]] = {
    ra("ReadFirmwareVersionRsp"): _version,
    ra("ActivateFirmwareRsp"): _activated,
    ra("UpdateHANDeviceLogRsp"): _log_updated,
    ra("ReadDeviceLogRsp"): _log_read,
    ra("CommissionDeviceSynchroniseClockRsp"): _commissioned,
    **{ra(name): _joined(*of) for of, name in _JOINED.items()},
}


# -- writing


def write_answer(response: Response, answer: DeviceAnswer) -> Parent:
    """An sr:SMETS1SignedResponse that is not signed yet."""
    request = response.request
    assert request, "a device answers a request"
    signed = root("SMETS1SignedResponse")
    inner = under(signed, sr("SMETS1Response"))
    header = under(inner, sr("Header"))
    text(header, ra("BusinessOriginatorID"), str(request.target))
    text(header, ra("BusinessTargetID"), str(request.originator))
    text(header, ra("OriginatorCounter"), str(request.counter))
    text(header, ra("ServiceReference"), response.service)
    text(header, ra("ServiceReferenceVariant"), response.service_variant)
    text(header, ra("Timestamp"), date(response.when, "seconds"))
    payload = under(under(inner, sr("Body")), sr("ResponseMessage"))
    _write(payload, answer)
    return signed


def _write(payload: Parent, answer: DeviceAnswer) -> None:
    data = under(payload, ra("SMETSData"))
    success = "true" if answer.success else "false"

    def answered(name: str) -> Parent:
        return under(data, ra(name), MessageSuccess=success)

    match answer:
        case FirmwareVersionRead():
            element = answered("ReadFirmwareVersionRsp")
        case FirmwareActivated():
            element = answered("ActivateFirmwareRsp")
            if answer.code is not None and answer.status is not None:
                _write_status(element, "ActivateImageResponseCode", answer.code, answer.status)
            if answer.debug:
                debug = under(under(payload, ra("DebugInfo")), ra("SMETS1Debug"))
                said = under(debug, ra("SMETS1Response"), ResponseCode="0", Position="1")
                text(said, ra("Error"), answer.debug[:250])
        case HanDeviceLogUpdated():
            answered("UpdateHANDeviceLogRsp")
        case DeviceLogRead():
            _write_log(answered("ReadDeviceLogRsp"), answer)
        case ServiceJoined(joined, critical, code, status):
            name = "joinResponseCode" if joined else "unjoinResponseCode"
            _write_status(answered(_JOINED[joined, critical]), name, code, status)
        case DeviceCommissioned(time):
            element = answered("CommissionDeviceSynchroniseClockRsp")
            if time is not None:
                text(element, ra("DeviceTime"), date(time, "seconds"))
    if isinstance(answer, FirmwareVersionRead | FirmwareActivated) and answer.version is not None:
        text(element, ra("FirmwareVersion"), answer.version)


def _write_status(element: Parent, name: str, code: int, status: str) -> None:
    said = under(element, ra(name), ResponseCode=str(int(code)))
    text(said, ra("ASN1Status"), status)


def _write_log(element: Parent, answer: DeviceLogRead) -> None:
    log = under(element, ra("CHFDeviceLog" if answer.of_ch else "DeviceLogEntries"))
    for entry in answer.entries[: _MOST_ENTRIES if answer.of_ch else None]:
        one = under(log, ra("CHFDeviceLogEntry" if answer.of_ch else "LogEntry"))
        text(one, ra("DeviceID"), str(entry.device))
        if entry.heard is not None:
            text(one, ra("LastCommunicationsDateTime"), date(entry.heard, "seconds"))
        if entry.device_type is not None:
            text(one, ra("DeviceType"), entry.device_type)
