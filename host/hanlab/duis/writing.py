"""Messages to XML, in the order and with the names of the schema."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime

from lxml import etree

from hanlab.duis.elements import Parent, date, eui_list, execution_date, root, text, texts, under
from hanlab.duis.joining import write_joining
from hanlab.duis.messages import (
    ActivateFirmware,
    Body,
    OtherBody,
    ReadFirmwareVersion,
    Request,
    TopUpDevice,
    UpdateFirmware,
    UpdateSecurityCredentials,
)
from hanlab.duis.names import INVENTORY, LISTS, WARNINGS, sr
from hanlab.duis.responses import (
    AlertBody,
    ChFirmwareNotification,
    DccAlert,
    DeviceAnswer,
    DeviceStatusChanged,
    FirmwareDelivered,
    FirmwareDistributionFailure,
    FirmwareTransferred,
    FirmwareUpgradeRequested,
    FirmwareVersionMismatch,
    HanDeviceLogResult,
    Inventory,
    Response,
    S1spAlert,
    UpdateFirmwareWarning,
)
from hanlab.duis.signing import Signer
from hanlab.duis.smets1 import write_answer
from hanlab.errors import UsageError


def write_request(request: Request) -> bytes:
    """The XML of a Service Request, not signed.

    Raises:
        UsageError: its body is one that hanlab knows by name only.
    """
    whole = root("Request")
    header = under(whole, sr("Header"))
    text(header, sr("RequestID"), str(request.id))
    text(header, sr("CommandVariant"), str(request.command_variant))
    text(header, sr("ServiceReference"), request.service)
    text(header, sr("ServiceReferenceVariant"), request.service_variant)
    _write_body(under(whole, sr("Body")), request.body, request.service)
    return _octets(whole)


def write_response(response: Response, s1sp: Callable[[], Signer] | None = None) -> bytes:
    """The XML of a response or DCC Alert; `dsp` signs the whole of it later.

    What the S1SP says has a signature of the S1SP's in it by the schema: `s1sp` says whose.
    """
    whole = root("Response")
    header = under(whole, sr("Header"))
    if response.request:
        text(header, sr("RequestID"), str(response.request))
    if response.request and response.from_device:
        text(header, sr("ResponseID"), str(response.request.swapped()))
    text(header, sr("ResponseCode"), response.code)
    text(header, sr("ResponseDateTime"), date(response.when, "milliseconds"))
    body = under(whole, sr("Body"))
    match response.body:
        case DccAlert(code, alert):
            message = under(body, sr("DCCAlertMessage"))
            text(message, sr("DCCAlertCode"), code)
            _write_alert(under(message, sr("DCCAlert")), alert, s1sp)
        case None | UpdateFirmwareWarning() | Inventory():
            message = under(body, sr("ResponseMessage"))
            text(message, sr("ServiceReference"), response.service)
            text(message, sr("ServiceReferenceVariant"), response.service_variant)
            if isinstance(response.body, UpdateFirmwareWarning):
                _warning(message, response.body, response.service)
            elif isinstance(response.body, Inventory):
                _inventory(message, response.body)
        case answer:
            _smets1(body, response, answer, s1sp)
    return _octets(whole)


# -- the bodies of requests


def _write_body(parent: Parent, body: Body, service: str) -> None:
    match body:
        case UpdateFirmware(image, version, devices):
            name = "UpdatePPMIDFirmware" if service == "11.4" else "UpdateFirmware"
            element = under(parent, sr(name))
            text(element, sr("FirmwareImage"), base64.b64encode(image).decode())
            text(element, sr("FirmwareVersion"), version)
            text(element, sr("DeviceIDList"), eui_list(devices))
        case ReadFirmwareVersion(execution):
            execution_date(under(parent, sr("ReadFirmwareVersion")), execution)
        case ActivateFirmware(hash_, execution):
            element = under(parent, sr("ActivateFirmware"))
            execution_date(element, execution)
            text(element, sr("FirmwareHash"), hash_.hex().upper())
        case TopUpDevice(utrn):
            text(under(parent, sr("TopUpDevice")), sr("UTRN"), utrn)
        case UpdateSecurityCredentials() | OtherBody():
            raise UsageError(
                f"hanlab reads a {service} and writes none",
                next_step="write it by hand: hanlab request FILE.xml sends it",
            )
        case _:
            write_joining(parent, body)


# -- the bodies of responses


def _warning(message: Parent, warning: UpdateFirmwareWarning, service: str) -> None:
    element = under(message, sr(WARNINGS[service]))
    for name, field in LISTS:
        if devices := getattr(warning, field):
            text(element, sr(name), eui_list(devices))


def _inventory(message: Parent, inventory: Inventory) -> None:
    element = under(message, sr("DSPInventory"))
    for device in inventory.devices:
        one = under(element, sr("Device"))
        for name, field in INVENTORY:
            value = getattr(device, field)
            if isinstance(value, datetime):
                text(one, sr(name), f"{value.astimezone(UTC):%Y-%m-%d}Z")
            elif value is not None:
                text(one, sr(name), str(value))


def _smets1(
    body: Parent, response: Response, answer: DeviceAnswer, s1sp: Callable[[], Signer] | None
) -> None:
    message = under(body, sr("SMETS1ResponseMessage"))
    text(message, sr("ServiceReference"), response.service)
    text(message, sr("ServiceReferenceVariant"), response.service_variant)
    message.append(_signed(write_answer(response, answer), s1sp))


# -- the bodies of DCC Alerts


def _write_alert(parent: Parent, alert: AlertBody, s1sp: Callable[[], Signer] | None) -> None:
    match alert:
        case DeviceStatusChanged(device, change):
            element = under(parent, sr("DeviceStatusChangeEvent"))
            text(element, sr("DeviceID"), str(device))
            under(under(element, sr("DeviceStatusChange")), sr(change))
        case HanDeviceLogResult(request):
            element = under(parent, sr("UpdateHANDeviceLogResult"))
            texts(element, UpdateHANDeviceLogServiceRequestID=request)
        case FirmwareVersionMismatch(device, kind, smi, said):
            element = under(parent, sr("FirmwareVersionMismatch"))
            texts(
                element,
                DeviceID=device,
                DeviceType=kind,
                FirmwareVersionSMI=smi,
                FirmwareVersionDevice=said,
            )
        case FirmwareDistributionFailure(request, devices):
            element = under(parent, sr("FirmwareDistributionFailure"))
            texts(element, UpdateFirmwareRequestID=request, MeterIDs=eui_list(devices))
        case FirmwareDelivered(request, hub, device, version, when, success):
            texts(
                under(parent, sr("CSPFirmwareDeliveryStatus")),
                UpdateFirmwareRequestID=request,
                CommsHubDeviceID=hub,
                TargetDeviceID=device,
                FirmwareVersion=version,
                TimeStamp=date(when, "seconds"),
                CommsHubTransferStatus="Success" if success else "Failure",
            )
        case FirmwareTransferred():
            element = under(parent, sr("CommsHubAlert"))
            texts(
                element,
                CommsHubDeviceID=alert.hub,
                AlertCode=alert.code,
                TimeStamp=date(alert.when, "seconds"),
            )
            texts(
                under(element, sr("FirmwareTransferAlert")),
                UpdateFirmwareRequestID=alert.request,
                OtherDeviceID=alert.device,
                FirmwareVersion=alert.version,
                TransferResponseCode=alert.result,
            )
        case FirmwareUpgradeRequested(kind, version, devices):
            element = under(parent, sr("FirmwareUpgradeRequested"))
            texts(element, DeviceType=kind, FirmwareVersion=version, DeviceList=eui_list(devices))
        case ChFirmwareNotification(device, version, status):
            element = under(parent, sr("SMETS1CHFirmwareNotification"))
            texts(
                element,
                DeviceID=device,
                FirmwareVersion=version,
                FirmwareVersionUpdateStatus=status,
            )
        case S1spAlert():
            signed = root("S1SPAlert")
            if alert.request:
                text(signed, sr("RequestID"), str(alert.request))
            if alert.device:
                text(signed, sr("DeviceID"), str(alert.device))
            text(signed, sr("S1SPAlertCode"), alert.code)
            if alert.text:
                text(signed, sr("AdditionalInformation"), alert.text)
            text(signed, sr("DateTime"), date(alert.when, "seconds"))
            under(parent, sr("S1SPAlertDSP")).append(_signed(signed, s1sp))


# -- elements


def _signed(element: Parent, signer: Callable[[], Signer] | None) -> Parent:
    if signer is None:
        raise UsageError(
            "what the S1SP says has to have its signature, and there is no key",
            next_step="hanlab provision makes test keys",
        )
    return signer().sign(element)


def _octets(root: Parent) -> bytes:
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")
