"""12.2 and 8.x in XML, both ways: how devices come into the inventory and onto a HAN, and leave it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from lxml import etree

from hanlab.duis.elements import Parent, date, execution_date, text, texts, under
from hanlab.duis.lexical import DATE_TIME, HEX_BINARY, INTEGER, TOKEN
from hanlab.duis.messages import (
    Body,
    CommissionDevice,
    DecommissionDevice,
    DeleteDevice,
    DevicePreNotification,
    JoinService,
    ReadDeviceLog,
    ReadInventory,
    SetDetails,
    SetMpxn,
    SetStatus,
    UnjoinService,
    UpdateHanDeviceLog,
    UpdateInventory,
)
from hanlab.duis.names import DEVICE_TYPES, STATUSES, sr
from hanlab.duis.parsing import Children, eui_of, short, text_of, wrong
from hanlab.eui import Eui

JoiningBody = (
    ReadInventory
    | DevicePreNotification
    | CommissionDevice
    | DecommissionDevice
    | UpdateInventory
    | JoinService
    | UnjoinService
    | ReadDeviceLog
    | UpdateHanDeviceLog
)

MOST_JOIN_S: Final = 3600
"""JoinTimePeriod, at most (s)."""
_MOST_TOLERANCE_S: Final = 86_400
_SET_STATUS: Final = {False: "UpdateDeviceStatusExceptCH", True: "UpdateDeviceStatusCH"}
_DETAILS: Final = (
    ("DeviceManufacturer", "manufacturer", 30),
    ("DeviceModel", "model", 30),
    ("SMETSCHTSVersion", "smets_chts_version", 20),
    ("FirmwareVersion", "firmware_version", 8),
    ("ESMEVariant", "esme_variant", 4),
)
"""UpdateDeviceDetails in order: element, field of SetDetails, characters at most."""
_MPXN: Final = {"ImportMPxN": range(1, 14), "SecondaryImportMPAN": (13,), "ExportMPAN": (13,)}
"""UpdateMPxN, and how many characters each has."""
_MPXNS: Final = frozenset(_MPXN)
"""What an 8.11 may have as well: passed over, as no public document says what becomes of it; 8.4 sets a device's."""


# -- reading


def _read_inventory(children: Children) -> ReadInventory:
    return ReadInventory(_device(children))


def _pre_notification(children: Children) -> DevicePreNotification:
    device = children.eui("DeviceID")
    manufacturer = children.text(sr("DeviceManufacturer"), 30, 0)
    model = children.text(sr("DeviceModel"), 30, 0)
    kind = children.text(sr("DeviceType"), 6)
    if kind not in DEVICE_TYPES:
        raise wrong("sr:DeviceType", f"is {kind!r}; there are {', '.join(DEVICE_TYPES)}")
    smets = children.maybe_text(sr("SMETSCHTSVersion"), 20)
    version = children.maybe_text(sr("FirmwareVersion"), 8)
    variant = children.maybe_text(sr("ESMEVariant"), 4)
    gpf = children.maybe_value(sr("AssociatedGPFDeviceID"), TOKEN)
    children.end()
    mirror = eui_of(gpf, "sr:AssociatedGPFDeviceID") if gpf else None
    return DevicePreNotification(device, manufacturer, model, kind, smets, version, variant, mirror)


def _commission(children: Children) -> CommissionDevice:
    now = children.value(sr("CurrentDateTime"), DATE_TIME)
    tolerance = children.value(sr("TolerancePeriod"), INTEGER)
    children.end()
    if not 0 <= tolerance <= _MOST_TOLERANCE_S:
        raise wrong("sr:TolerancePeriod", f"is {tolerance}, not 0 to {_MOST_TOLERANCE_S}")
    return CommissionDevice(now, tolerance)


def _decommission(children: Children) -> DecommissionDevice:
    return DecommissionDevice(_device(children))


def _device(children: Children) -> Eui:
    device = children.eui("DeviceID")
    children.end()
    return device


def _update_inventory(children: Children) -> UpdateInventory:
    device = children.eui("DeviceID")
    element = children.any()
    children.end()
    return UpdateInventory(device, _change(element))


def _change(element: etree._Element) -> SetStatus | SetDetails | DeleteDevice | SetMpxn:
    for of_ch, name in _SET_STATUS.items():
        if element.tag == sr(name):
            status = text_of(element, 24)
            if status not in STATUSES[of_ch]:
                raise wrong(f"sr:{name}", f"is {status!r}; {' or '.join(STATUSES[of_ch])} is right")
            return SetStatus(status, of_ch)
    parts = Children(element)
    if element.tag == sr("UpdateDeviceDetails"):
        found = {field: parts.maybe_text(sr(name), most) for name, field, most in _DETAILS}
        parts.end()
        return SetDetails(**found)
    if element.tag == sr("DeleteDevice"):
        parts.end()
        return DeleteDevice()
    if element.tag != sr("UpdateMPxN"):
        raise wrong("sr:UpdateInventory", f"has {short(element)}, which does not belong there")
    one = parts.any()
    parts.end()
    kind = etree.QName(one).localname
    if one.tag != sr(kind) or kind not in _MPXN:
        raise wrong("sr:UpdateMPxN", f"has {short(one)}, which does not belong there")
    mpxn = text_of(one, max(_MPXN[kind]), min(_MPXN[kind]))
    return SetMpxn(kind, mpxn)


def _join(children: Children) -> JoinService:
    return JoinService(_other(children))


def _join_critical(children: Children) -> JoinService:
    return JoinService(_other(children), critical=True)


def _unjoin(children: Children) -> UnjoinService:
    return UnjoinService(_other(children))


def _unjoin_critical(children: Children) -> UnjoinService:
    return UnjoinService(_other(children), critical=True)


def _other(children: Children) -> Eui:
    other = children.eui("OtherDeviceID")
    children.end()
    return other


def _device_log(children: Children) -> ReadDeviceLog:
    when = children.maybe_value(sr("ExecutionDateTime"), DATE_TIME)
    security = children.maybe(sr("ReadSecurityDetails"))
    children.end()
    if security is not None:
        Children(security).end()
    return ReadDeviceLog(when, security is not None)


def _han_device_log(children: Children) -> UpdateHanDeviceLog:
    when = children.maybe_value(sr("ExecutionDateTime"), DATE_TIME)
    device = children.eui("DeviceID")
    kind = children.text(sr("RequestType"), 6)
    if kind not in ("Add", "Remove"):
        raise wrong("sr:RequestType", f"is {kind!r}; Add or Remove are right")
    added = children.maybe(sr("AddDeviceToCHFWhitelist"))
    children.end()
    body = UpdateHanDeviceLog(device, kind == "Add", execution=when)
    if body.add != (added is not None):
        raise wrong("sr:AddDeviceToCHFWhitelist", "belongs to RequestType Add, and to no other")
    if added is None:
        return body
    how = Children(added)
    join_s = how.value(sr("JoinTimePeriod"), INTEGER)
    code = how.value(sr("InstallCode"), HEX_BINARY)
    how.skip(_MPXNS)
    how.end()
    if not 1 <= join_s <= MOST_JOIN_S:
        raise wrong("sr:JoinTimePeriod", f"is {join_s}, not 1 to {MOST_JOIN_S}")
    if not 6 <= len(code) <= 16:
        raise wrong("sr:InstallCode", f"has {len(code)} octets; 6 to 16 are right")
    return replace(body, join_s=join_s, install_code=code)


READERS: Final[dict[str, tuple[str, Callable[[Children], Body]]]] = {
    "8.1.1": ("CommissionDeviceSynchroniseClock", _commission),
    "8.2": ("ReadInventory", _read_inventory),
    "8.3": ("DecommissionDevice", _decommission),
    "8.4": ("UpdateInventory", _update_inventory),
    "8.7.1": ("JoinServiceCritical", _join_critical),
    "8.7.2": ("JoinServiceNonCritical", _join),
    "8.8.1": ("UnjoinServiceCritical", _unjoin_critical),
    "8.8.2": ("UnjoinServiceNonCritical", _unjoin),
    "8.9": ("ReadDeviceLog", _device_log),
    "8.11": ("UpdateHANDeviceLog", _han_device_log),
    "12.2": ("DevicePrenotification", _pre_notification),
}
"""By `Request.reference`: the element in the body, and what reads it."""


# -- writing


def write_joining(parent: Parent, body: JoiningBody) -> None:
    """The body of one of these Service Requests, into sr:Body."""
    match body:
        case ReadInventory(device):
            texts(under(parent, sr("ReadInventory")), DeviceID=device)
        case DevicePreNotification():
            element = under(parent, sr("DevicePrenotification"))
            for name, value in (
                ("DeviceID", body.device),
                ("DeviceManufacturer", body.manufacturer),
                ("DeviceModel", body.model),
                ("DeviceType", body.device_type),
                ("SMETSCHTSVersion", body.smets_chts_version),
                ("FirmwareVersion", body.firmware_version),
                ("ESMEVariant", body.esme_variant),
                ("AssociatedGPFDeviceID", body.gpf),
            ):
                if value is not None:
                    text(element, sr(name), str(value))
        case CommissionDevice(now, tolerance):
            element = under(parent, sr("CommissionDeviceSynchroniseClock"))
            texts(element, CurrentDateTime=date(now, "milliseconds"), TolerancePeriod=tolerance)
        case DecommissionDevice(device):
            texts(under(parent, sr("DecommissionDevice")), DeviceID=device)
        case UpdateInventory(device, change):
            element = under(parent, sr("UpdateInventory"))
            texts(element, DeviceID=device)
            _write_change(element, change)
        case JoinService(other, critical):
            _write_other(parent, "Join", other, critical=critical)
        case UnjoinService(other, critical):
            _write_other(parent, "Unjoin", other, critical=critical)
        case ReadDeviceLog(when, security):
            element = under(parent, sr("ReadDeviceLog"))
            execution_date(element, when)
            if security:
                under(element, sr("ReadSecurityDetails"))
        case UpdateHanDeviceLog(device, add, join_s, install_code, when):
            element = under(parent, sr("UpdateHANDeviceLog"))
            execution_date(element, when)
            texts(element, DeviceID=device, RequestType="Add" if add else "Remove")
            if add:
                how = under(element, sr("AddDeviceToCHFWhitelist"))
                texts(how, JoinTimePeriod=join_s, InstallCode=install_code.hex().upper())


def _write_change(element: Parent, change: SetStatus | SetDetails | DeleteDevice | SetMpxn) -> None:
    match change:
        case SetStatus(status, of_ch):
            text(element, sr(_SET_STATUS[of_ch]), status)
        case SetDetails():
            details = under(element, sr("UpdateDeviceDetails"))
            for name, field, _ in _DETAILS:
                if (value := getattr(change, field)) is not None:
                    text(details, sr(name), value)
        case DeleteDevice():
            under(element, sr("DeleteDevice"))
        case SetMpxn(kind, mpxn):
            text(under(element, sr("UpdateMPxN")), sr(kind), mpxn)


def _write_other(parent: Parent, what: str, other: Eui, *, critical: bool) -> None:
    name = f"{what}Service{'Critical' if critical else 'NonCritical'}"
    texts(under(parent, sr(name)), OtherDeviceID=other)
