"""Messages to XML, in the order and with the names of the schema."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime

from lxml import etree

from hanlab.duis.messages import (
    ActivateFirmware,
    AlertBody,
    Body,
    ChFirmwareNotification,
    DccAlert,
    DevicePreNotification,
    DeviceStatusChanged,
    FirmwareActivated,
    FirmwareDelivered,
    FirmwareDistributionFailure,
    FirmwareTransferred,
    FirmwareUpgradeRequested,
    FirmwareVersionMismatch,
    FirmwareVersionRead,
    Inventory,
    OtherBody,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    Response,
    S1spAlert,
    TopUpDevice,
    UpdateFirmware,
    UpdateFirmwareWarning,
    UpdateHanDeviceLog,
    UpdateSecurityCredentials,
)
from hanlab.duis.names import INVENTORY, LISTS, NAMESPACES, SCHEMA_VERSION, WARNINGS, ra, sr
from hanlab.duis.signing import Signer
from hanlab.errors import UsageError
from hanlab.eui import Eui

_Parent = etree._Element


def write_request(request: Request) -> bytes:
    """The XML of a Service Request, not signed.

    Raises:
        UsageError: its body is one that hanlab knows by name only.
    """
    root = _root("Request")
    header = _under(root, sr("Header"))
    _text(header, sr("RequestID"), str(request.id))
    _text(header, sr("CommandVariant"), str(request.command_variant))
    _text(header, sr("ServiceReference"), request.service)
    _text(header, sr("ServiceReferenceVariant"), request.service_variant)
    _write_body(_under(root, sr("Body")), request.body, request.service)
    return _octets(root)


def write_response(response: Response, s1sp: Callable[[], Signer] | None = None) -> bytes:
    """The XML of a response or DCC Alert; `dsp` signs the whole of it later.

    What the S1SP says has a signature of the S1SP's in it by the schema: `s1sp` says whose.
    """
    root = _root("Response")
    header = _under(root, sr("Header"))
    if response.request:
        _text(header, sr("RequestID"), str(response.request))
    if response.request and response.from_device:
        _text(header, sr("ResponseID"), str(response.request.swapped()))
    _text(header, sr("ResponseCode"), response.code)
    _text(header, sr("ResponseDateTime"), _date(response.when, "milliseconds"))
    body = _under(root, sr("Body"))
    match response.body:
        case DccAlert(code, alert):
            message = _under(body, sr("DCCAlertMessage"))
            _text(message, sr("DCCAlertCode"), code)
            _write_alert(_under(message, sr("DCCAlert")), alert, s1sp)
        case FirmwareActivated() | FirmwareVersionRead():
            _smets1(body, response, response.body, s1sp)
        case _:
            message = _under(body, sr("ResponseMessage"))
            _text(message, sr("ServiceReference"), response.service)
            _text(message, sr("ServiceReferenceVariant"), response.service_variant)
            if isinstance(response.body, UpdateFirmwareWarning):
                _warning(message, response.body, response.service)
            elif isinstance(response.body, Inventory):
                _inventory(message, response.body)
    return _octets(root)


# -- the bodies of requests


def _write_body(parent: _Parent, body: Body, service: str) -> None:
    match body:
        case UpdateFirmware(image, version, devices):
            name = "UpdatePPMIDFirmware" if service == "11.4" else "UpdateFirmware"
            element = _under(parent, sr(name))
            _text(element, sr("FirmwareImage"), base64.b64encode(image).decode())
            _text(element, sr("FirmwareVersion"), version)
            _text(element, sr("DeviceIDList"), _list(devices))
        case ReadFirmwareVersion(execution):
            _execution(_under(parent, sr("ReadFirmwareVersion")), execution)
        case ActivateFirmware(hash_, execution):
            element = _under(parent, sr("ActivateFirmware"))
            _execution(element, execution)
            _text(element, sr("FirmwareHash"), hash_.hex().upper())
        case TopUpDevice(utrn):
            _text(_under(parent, sr("TopUpDevice")), sr("UTRN"), utrn)
        case ReadInventory(device):
            _text(_under(parent, sr("ReadInventory")), sr("DeviceID"), str(device))
        case DevicePreNotification():
            element = _under(parent, sr("DevicePrenotification"))
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
                    _text(element, sr(name), str(value))
        case UpdateHanDeviceLog(device, add, join_s, install_code, execution):
            element = _under(parent, sr("UpdateHANDeviceLog"))
            _execution(element, execution)
            _texts(element, DeviceID=device, RequestType="Add" if add else "Remove")
            if add:
                how = _under(element, sr("AddDeviceToCHFWhitelist"))
                _texts(how, JoinTimePeriod=join_s, InstallCode=install_code.hex().upper())
        case UpdateSecurityCredentials() | OtherBody():
            raise UsageError(
                f"hanlab reads a {service} and writes none",
                next_step="write it by hand: hanlab request FILE.xml sends it",
            )


def _execution(element: _Parent, when: datetime | None) -> None:
    if when:
        _text(element, sr("ExecutionDateTime"), _date(when, "milliseconds"))


# -- the bodies of responses


def _warning(message: _Parent, warning: UpdateFirmwareWarning, service: str) -> None:
    element = _under(message, sr(WARNINGS[service]))
    for name, field in LISTS:
        if devices := getattr(warning, field):
            _text(element, sr(name), _list(devices))


def _inventory(message: _Parent, inventory: Inventory) -> None:
    element = _under(message, sr("DSPInventory"))
    for device in inventory.devices:
        one = _under(element, sr("Device"))
        for name, field in INVENTORY:
            value = getattr(device, field)
            if isinstance(value, datetime):
                _text(one, sr(name), f"{value.astimezone(UTC):%Y-%m-%d}Z")
            elif value is not None:
                _text(one, sr(name), str(value))


def _smets1(
    body: _Parent,
    response: Response,
    answer: FirmwareActivated | FirmwareVersionRead,
    s1sp: Callable[[], Signer] | None,
) -> None:
    request = response.request
    assert request, "a device answers a request"
    message = _under(body, sr("SMETS1ResponseMessage"))
    _text(message, sr("ServiceReference"), response.service)
    _text(message, sr("ServiceReferenceVariant"), response.service_variant)
    signed = _root("SMETS1SignedResponse")
    inner = _under(signed, sr("SMETS1Response"))
    header = _under(inner, sr("Header"))
    _text(header, ra("BusinessOriginatorID"), str(request.target))
    _text(header, ra("BusinessTargetID"), str(request.originator))
    _text(header, ra("OriginatorCounter"), str(request.counter))
    _text(header, ra("ServiceReference"), response.service)
    _text(header, ra("ServiceReferenceVariant"), response.service_variant)
    _text(header, ra("Timestamp"), _date(response.when, "seconds"))
    payload = _under(_under(inner, sr("Body")), sr("ResponseMessage"))
    data = _under(payload, ra("SMETSData"))
    success = "true" if answer.success else "false"
    if isinstance(answer, FirmwareVersionRead):
        element = _under(data, ra("ReadFirmwareVersionRsp"), MessageSuccess=success)
    else:
        element = _under(data, ra("ActivateFirmwareRsp"), MessageSuccess=success)
        if answer.code is not None and answer.status is not None:
            code = _under(
                element, ra("ActivateImageResponseCode"), ResponseCode=str(int(answer.code))
            )
            _text(code, ra("ASN1Status"), answer.status)
        if answer.debug:
            debug = _under(_under(payload, ra("DebugInfo")), ra("SMETS1Debug"))
            said = _under(debug, ra("SMETS1Response"), ResponseCode="0", Position="1")
            _text(said, ra("Error"), answer.debug[:250])
    if answer.version is not None:
        _text(element, ra("FirmwareVersion"), answer.version)
    message.append(_signed(signed, s1sp))


# -- the bodies of DCC Alerts


def _write_alert(parent: _Parent, alert: AlertBody, s1sp: Callable[[], Signer] | None) -> None:
    match alert:
        case DeviceStatusChanged(device, change):
            element = _under(parent, sr("DeviceStatusChangeEvent"))
            _text(element, sr("DeviceID"), str(device))
            _under(_under(element, sr("DeviceStatusChange")), sr(change))
        case FirmwareVersionMismatch(device, kind, smi, said):
            element = _under(parent, sr("FirmwareVersionMismatch"))
            _texts(
                element,
                DeviceID=device,
                DeviceType=kind,
                FirmwareVersionSMI=smi,
                FirmwareVersionDevice=said,
            )
        case FirmwareDistributionFailure(request, devices):
            element = _under(parent, sr("FirmwareDistributionFailure"))
            _texts(element, UpdateFirmwareRequestID=request, MeterIDs=_list(devices))
        case FirmwareDelivered(request, hub, device, version, when, success):
            _texts(
                _under(parent, sr("CSPFirmwareDeliveryStatus")),
                UpdateFirmwareRequestID=request,
                CommsHubDeviceID=hub,
                TargetDeviceID=device,
                FirmwareVersion=version,
                TimeStamp=_date(when, "seconds"),
                CommsHubTransferStatus="Success" if success else "Failure",
            )
        case FirmwareTransferred():
            element = _under(parent, sr("CommsHubAlert"))
            _texts(
                element,
                CommsHubDeviceID=alert.hub,
                AlertCode=alert.code,
                TimeStamp=_date(alert.when, "seconds"),
            )
            _texts(
                _under(element, sr("FirmwareTransferAlert")),
                UpdateFirmwareRequestID=alert.request,
                OtherDeviceID=alert.device,
                FirmwareVersion=alert.version,
                TransferResponseCode=alert.result,
            )
        case FirmwareUpgradeRequested(kind, version, devices):
            element = _under(parent, sr("FirmwareUpgradeRequested"))
            _texts(element, DeviceType=kind, FirmwareVersion=version, DeviceList=_list(devices))
        case ChFirmwareNotification(device, version, status):
            element = _under(parent, sr("SMETS1CHFirmwareNotification"))
            _texts(
                element,
                DeviceID=device,
                FirmwareVersion=version,
                FirmwareVersionUpdateStatus=status,
            )
        case S1spAlert():
            signed = _root("S1SPAlert")
            if alert.request:
                _text(signed, sr("RequestID"), str(alert.request))
            if alert.device:
                _text(signed, sr("DeviceID"), str(alert.device))
            _text(signed, sr("S1SPAlertCode"), alert.code)
            if alert.text:
                _text(signed, sr("AdditionalInformation"), alert.text)
            _text(signed, sr("DateTime"), _date(alert.when, "seconds"))
            _under(parent, sr("S1SPAlertDSP")).append(_signed(signed, s1sp))


# -- elements


def _signed(element: _Parent, signer: Callable[[], Signer] | None) -> _Parent:
    if signer is None:
        raise UsageError(
            "what the S1SP says has to have its signature, and there is no key",
            next_step="hanlab provision makes test keys",
        )
    return signer().sign(element)


def _root(name: str) -> _Parent:
    return etree.Element(sr(name), {"schemaVersion": SCHEMA_VERSION}, nsmap=NAMESPACES)


def _under(parent: _Parent, name: str, **attributes: str) -> _Parent:
    return etree.SubElement(parent, name, attributes)


def _text(parent: _Parent, name: str, text: str) -> None:
    try:
        etree.SubElement(parent, name).text = text
    except ValueError:  # characters that XML does not have
        etree.SubElement(parent, name).text = ascii(text)


def _texts(parent: _Parent, **texts: object) -> None:
    for name, text in texts.items():
        _text(parent, sr(name), str(text))


def _list(devices: tuple[Eui, ...]) -> str:
    return ",".join(map(str, devices))


def _date(when: datetime, precision: str) -> str:
    return when.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def _octets(root: _Parent) -> bytes:
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")
