"""XML to messages, as strict as the schema where hanlab goes by what it reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from lxml import etree

from hanlab.duis.joining import READERS
from hanlab.duis.lexical import (
    BOOLEAN,
    DATE,
    DATE_TIME,
    DECIMAL,
    HEX_BINARY,
    INTEGER,
    TOKEN,
    base64_binary,
)
from hanlab.duis.messages import (
    MAX_COUNTER,
    MAX_DEVICES,
    MAX_IMAGE,
    ActivateFirmware,
    Body,
    OtherBody,
    ReadFirmwareVersion,
    Request,
    RequestId,
    TopUpDevice,
    UpdateFirmware,
    UpdateSecurityCredentials,
    reference,
)
from hanlab.duis.names import (
    INVENTORY,
    INVENTORY_SKIPPED,
    LISTS,
    PUBLISHED,
    SIGNATURE,
    WARNINGS,
    sr,
)
from hanlab.duis.parsing import (
    MAX_OCTETS,
    Children,
    DuisError,
    eui_of,
    parse,
    short,
    text_of,
    value_of,
    wrong,
)
from hanlab.duis.responses import (
    AlertBody,
    ChFirmwareNotification,
    DccAlert,
    DeviceStatusChanged,
    FirmwareDelivered,
    FirmwareDistributionFailure,
    FirmwareTransferred,
    FirmwareUpgradeRequested,
    FirmwareVersionMismatch,
    HanDeviceLogResult,
    Inventory,
    InventoryDevice,
    Response,
    ResponseBody,
    S1spAlert,
    UpdateFirmwareWarning,
)
from hanlab.duis.smets1 import read_answer
from hanlab.eui import Eui

__all__ = ["DuisError", "read_request", "read_response"]

_ID: Final = re.compile(r"([^:]{23}):([^:]{23}):(0|[1-9][0-9]{0,19})")
_SERVICE: Final = re.compile(r"[0-9]{1,2}(\.[0-9]{1,2}){1,2}")
_MAX_VARIANT: Final = 9
_EUI_LENGTH: Final = 23
_HASH: Final = 32
"""Octets of a SHA-256."""


def read_request(octets: bytes) -> Request:
    """A Service Request.

    Raises:
        DuisError: it is none; says which element is wrong.
    """
    children = _root(octets, "Request")
    header = Children(children.take(sr("Header")))
    id_ = _request_id(header.value(sr("RequestID"), TOKEN))
    header.maybe_value(sr("FirstInSequence"), BOOLEAN)
    if preceding := header.maybe_value(sr("PrecedingServiceRequestID"), TOKEN):
        _request_id(preceding, "sr:PrecedingServiceRequestID")
    variant = header.value(sr("CommandVariant"), INTEGER)
    if not 1 <= variant <= _MAX_VARIANT:
        raise wrong("sr:CommandVariant", f"is {variant}, not 1 to {_MAX_VARIANT}")
    service = _service(header.text(sr("ServiceReference"), 8))
    service_variant = _service(header.text(sr("ServiceReferenceVariant"), 8))
    header.end()
    holder = Children(children.take(sr("Body")))
    element = holder.any()
    holder.end()
    children.maybe(SIGNATURE)
    children.end()
    name = etree.QName(element).localname
    known = reference(service, service_variant)
    if known not in _BODIES:
        return Request(id_, variant, service, service_variant, OtherBody(name))
    expected, reader = _BODIES[known]
    if element.tag != sr(expected):
        raise wrong("sr:Body", f"has {short(element)}, and {known} has sr:{expected}")
    body = reader(Children(element))
    return Request(id_, variant, service, service_variant, body)


def read_response(octets: bytes) -> Response:
    """A Service Response, an acknowledgement or a DCC Alert. Signatures are not checked here.

    Raises:
        DuisError: it is none; says which element is wrong.
    """
    children = _root(octets, "Response")
    header = Children(children.take(sr("Header")))
    request = header.maybe_value(sr("RequestID"), TOKEN)
    answer = header.maybe_value(sr("ResponseID"), TOKEN)
    code = header.text(sr("ResponseCode"), 8)
    when = header.value(sr("ResponseDateTime"), DATE_TIME)
    header.end()
    holder = Children(children.take(sr("Body")))
    message = holder.any()
    holder.end()
    children.maybe(SIGNATURE)
    children.end()
    reader = _MESSAGES.get(str(message.tag))
    if reader is None:
        raise wrong("sr:Body", f"has {short(message)}, which hanlab does not read")
    service, variant, body = reader(Children(message))
    id_ = request and _request_id(request)
    return Response(code, when, id_ or None, service, variant, body, answer is not None)


def _root(octets: bytes, name: str) -> Children:
    root = parse(octets)
    if root.tag != sr(name):
        raise wrong(short(root), f"is no sr:{name}")
    _check_version(root, name)
    return Children(root)


def _check_version(root: etree._Element, name: str) -> None:
    said = root.get("schemaVersion")
    if said is None:
        raise wrong(f"sr:{name}", "has no schemaVersion")
    version = value_of(DECIMAL, said, "schemaVersion")
    if version not in map(Decimal, PUBLISHED):
        raise DuisError(
            f"schemaVersion {said.strip()} of sr:{name} was never published for SMETS1",
            next_step=f"one of {', '.join(PUBLISHED)}; hanlab itself writes {PUBLISHED[-1]}",
        )


def _request_id(text: str, name: str = "sr:RequestID") -> RequestId:
    match = _ID.fullmatch(text)
    if not match or int(match[3]) > MAX_COUNTER:
        raise wrong(name, f"is not originator:target:counter: {text[:80]!r}")
    return RequestId(eui_of(match[1], name), eui_of(match[2], name), int(match[3]))


def _service(text: str) -> str:
    if not _SERVICE.fullmatch(text):
        raise wrong("sr:ServiceReference", f"is {text!r}")
    return text


# -- the bodies of requests


def _update_firmware(children: Children) -> UpdateFirmware:
    image = children.text(sr("FirmwareImage"), MAX_OCTETS, 0)
    version = children.text(sr("FirmwareVersion"), 8)
    text = children.text(sr("DeviceIDList"), MAX_DEVICES * (_EUI_LENGTH + 1) - 1, _EUI_LENGTH)
    children.end()
    try:
        octets = base64_binary(image)
    except ValueError as e:
        raise wrong("sr:FirmwareImage", str(e)) from None
    if len(octets) > MAX_IMAGE:
        raise wrong("sr:FirmwareImage", f"has {len(octets):,} octets; {MAX_IMAGE:,} at most")
    return UpdateFirmware(octets, version, _euis(text, "sr:DeviceIDList"))


def _euis(text: str, name: str) -> tuple[Eui, ...]:
    return tuple(eui_of(one, name) for one in text.split(","))


def _read_firmware_version(children: Children) -> ReadFirmwareVersion:
    when = children.maybe_value(sr("ExecutionDateTime"), DATE_TIME)
    children.end()
    return ReadFirmwareVersion(when)


def _activate_firmware(children: Children) -> ActivateFirmware:
    when = children.maybe_value(sr("ExecutionDateTime"), DATE_TIME)
    hash_ = children.value(sr("FirmwareHash"), HEX_BINARY)
    children.end()
    if len(hash_) != _HASH:
        raise wrong("sr:FirmwareHash", f"has {len(hash_)} octets; {_HASH} are right")
    return ActivateFirmware(hash_, when)


def _top_up(children: Children) -> TopUpDevice:
    utrn = children.text(sr("UTRN"), 20, 20)
    children.end()
    if not re.fullmatch("[0-9]{20}", utrn):
        raise wrong("sr:UTRN", "is not 20 digits")
    return TopUpDevice(utrn)


def _credentials(children: Children) -> UpdateSecurityCredentials:
    children.any()
    return UpdateSecurityCredentials()


_BODIES: Final[dict[str, tuple[str, Callable[[Children], Body]]]] = {
    "2.2": ("TopUpDevice", _top_up),
    "6.23": ("UpdateSecurityCredentialsCoS", _credentials),
    "11.1": ("UpdateFirmware", _update_firmware),
    "11.2": ("ReadFirmwareVersion", _read_firmware_version),
    "11.3": ("ActivateFirmware", _activate_firmware),
    "11.4": ("UpdatePPMIDFirmware", _update_firmware),
    **READERS,
}
"""By `Request.reference`: the element in the body, and what reads it."""

# -- the messages of responses

_Message = tuple[str, str, ResponseBody | None]


def _response_message(children: Children) -> _Message:
    service, variant = _services(children)
    body: ResponseBody | None = None
    if (warning := children.maybe(sr(WARNINGS.get(service, "")))) is not None:
        lists = Children(warning)
        found = {field: lists.maybe_text(sr(name), 1_199_999) for name, field in LISTS}
        lists.end()
        euis = {field: _euis(text, field) for field, text in found.items() if text}
        body = UpdateFirmwareWarning(**euis)
    elif (inventory := children.maybe(sr("DSPInventory"))) is not None:
        body = Inventory(tuple(_inventory_device(Children(d)) for d in inventory))
    children.end()
    return service, variant, body


def _services(children: Children) -> tuple[str, str]:
    return (
        _service(children.text(sr("ServiceReference"), 8)),
        _service(children.text(sr("ServiceReferenceVariant"), 8)),
    )


def _inventory_device(children: Children) -> InventoryDevice:
    values: dict[str, str | None] = {}
    for name, field in INVENTORY:
        children.skip(INVENTORY_SKIPPED)
        values[field] = children.maybe_text(sr(name), 40)
    children.skip(INVENTORY_SKIPPED)
    children.end()
    device, kind = values.pop("device"), values.pop("device_type")
    maker, model = values.pop("manufacturer"), values.pop("model")
    day = values.pop("commissioned")
    if not (device and kind and maker and model):
        raise wrong("sr:Device", "needs DeviceID, DeviceType, DeviceManufacturer, DeviceModel")
    return InventoryDevice(
        device=eui_of(TOKEN.read(device), "sr:DeviceID"),
        device_type=kind,
        manufacturer=maker,
        model=model,
        commissioned=_midnight(value_of(DATE, day, "sr:DateCommissioned")) if day else None,
        **values,
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _smets1_message(children: Children) -> _Message:
    service, variant = _services(children)
    signed = Children(children.take(sr("SMETS1SignedResponse")))
    children.end()
    return service, variant, read_answer(signed)


def _alert_message(children: Children) -> _Message:
    code = children.text(sr("DCCAlertCode"), 4)
    children.maybe(sr("ThrottledAlertSequenceId"))
    children.maybe(sr("ThrottledAlertCount"))
    holder = Children(children.take(sr("DCCAlert")))
    children.end()
    element = holder.any()
    holder.end()
    reader = _ALERTS.get(str(element.tag))
    if reader is None:
        raise wrong("sr:DCCAlert", f"has {short(element)}, which hanlab does not read")
    return "", "", DccAlert(code, reader(Children(element)))


_MESSAGES: Final = {
    sr("ResponseMessage"): _response_message,
    sr("SMETS1ResponseMessage"): _smets1_message,
    sr("DCCAlertMessage"): _alert_message,
}


# -- the bodies of DCC Alerts


def _status_change(c: Children) -> DeviceStatusChanged:
    device = c.eui("DeviceID")
    change = Children(c.take(sr("DeviceStatusChange"))).any()
    return DeviceStatusChanged(device, etree.QName(change).localname)


def _han_device_log_result(c: Children) -> HanDeviceLogResult:
    return HanDeviceLogResult(_request_id(c.value(sr("UpdateHANDeviceLogServiceRequestID"), TOKEN)))


def _mismatch(c: Children) -> FirmwareVersionMismatch:
    return FirmwareVersionMismatch(
        c.eui("DeviceID"),
        c.text(sr("DeviceType"), 6),
        c.text(sr("FirmwareVersionSMI"), 100),
        c.text(sr("FirmwareVersionDevice"), 100),
    )


def _failure(c: Children) -> FirmwareDistributionFailure:
    return FirmwareDistributionFailure(
        _request_id(c.value(sr("UpdateFirmwareRequestID"), TOKEN)),
        _euis(c.text(sr("MeterIDs"), 1_199_999), "sr:MeterIDs"),
    )


def _delivered(c: Children) -> FirmwareDelivered:
    request = _request_id(c.value(sr("UpdateFirmwareRequestID"), TOKEN))
    hub, device = c.eui("CommsHubDeviceID"), c.eui("TargetDeviceID")
    version = c.text(sr("FirmwareVersion"), 8)
    when = c.value(sr("TimeStamp"), DATE_TIME)
    status = c.text(sr("CommsHubTransferStatus"), 7)
    return FirmwareDelivered(request, hub, device, version, when, status == "Success")


def _transferred(c: Children) -> FirmwareTransferred:
    hub, code = c.eui("CommsHubDeviceID"), c.text(sr("AlertCode"), 4)
    when = c.value(sr("TimeStamp"), DATE_TIME)
    inner = Children(c.take(sr("FirmwareTransferAlert")))
    return FirmwareTransferred(
        hub,
        code,
        _request_id(inner.value(sr("UpdateFirmwareRequestID"), TOKEN)),
        inner.eui("OtherDeviceID"),
        inner.text(sr("FirmwareVersion"), 8),
        inner.text(sr("TransferResponseCode"), 40),
        when,
    )


def _requested(c: Children) -> FirmwareUpgradeRequested:
    kind, version = c.text(sr("DeviceType"), 6), c.text(sr("FirmwareVersion"), 8)
    return FirmwareUpgradeRequested(
        kind, version, _euis(c.text(sr("DeviceList"), 1_199_999), "list")
    )


def _ch_notification(c: Children) -> ChFirmwareNotification:
    return ChFirmwareNotification(
        c.eui("DeviceID"),
        c.text(sr("FirmwareVersion"), 8),
        c.text(sr("FirmwareVersionUpdateStatus"), 40),
    )


def _s1sp(c: Children) -> S1spAlert:
    alert = Children(c.take(sr("S1SPAlert")))
    request = alert.maybe_value(sr("RequestID"), TOKEN)
    device = alert.maybe_value(sr("DeviceID"), TOKEN)
    code = alert.text(sr("S1SPAlertCode"), 250)
    said = alert.maybe(sr("AdditionalInformation"))
    alert.maybe(sr("UTRN"))
    when = alert.value(sr("DateTime"), DATE_TIME)
    alert.take(SIGNATURE)
    return S1spAlert(
        _request_id(request) if request else None,
        eui_of(device, "sr:DeviceID") if device else None,
        code,
        "" if said is None else text_of(said, 1_000, 0),
        when,
    )


_ALERTS: Final[dict[str, Callable[[Children], AlertBody]]] = {
    sr("DeviceStatusChangeEvent"): _status_change,
    sr("UpdateHANDeviceLogResult"): _han_device_log_result,
    sr("FirmwareVersionMismatch"): _mismatch,
    sr("FirmwareDistributionFailure"): _failure,
    sr("CSPFirmwareDeliveryStatus"): _delivered,
    sr("CommsHubAlert"): _transferred,
    sr("FirmwareUpgradeRequested"): _requested,
    sr("SMETS1CHFirmwareNotification"): _ch_notification,
    sr("S1SPAlertDSP"): _s1sp,
}
