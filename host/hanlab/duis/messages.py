"""What Service Users and the DSP say to each other, as dataclasses; `xml.py` reads and writes them.

Shapes, orders and limits are those of the DUIS schema 5.4 and, inside a SMETS1 response, of the MMC
schema 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hanlab.eui import Eui

MAX_IMAGE: Final = 10_240_000
"""Octets of a FirmwareImage in 11.1."""
MAX_DEVICES: Final = 50_000
"""EUI-64s in an 11.1's DeviceIDList."""
MAX_COUNTER: Final = 2**64 - 1
CANCELLED: Final = datetime(3000, 12, 31, tzinfo=UTC)
"""The ExecutionDateTime that cancels a future-dated request."""


@dataclass(frozen=True)
class RequestId:
    """`originator:target:counter`; a response's has originator and target swapped."""

    originator: Eui
    target: Eui
    counter: int

    def swapped(self) -> RequestId:
        return RequestId(self.target, self.originator, self.counter)

    def __str__(self) -> str:
        return f"{self.originator}:{self.target}:{self.counter}"


# -- requests


@dataclass(frozen=True)
class UpdateFirmware:
    """11.1 (and 11.4, as UpdatePPMIDFirmware): `image` is the OTA file."""

    image: bytes
    version: str
    devices: tuple[Eui, ...]


@dataclass(frozen=True)
class ReadFirmwareVersion:
    """11.2, at once or (by the DSP) at a date."""

    execution: datetime | None = None


@dataclass(frozen=True)
class ActivateFirmware:
    """11.3: `hash` is the Manufacturer Image hash, 32 octets."""

    hash: bytes
    execution: datetime | None = None


@dataclass(frozen=True)
class TopUpDevice:
    """2.2."""

    utrn: str


@dataclass(frozen=True)
class UpdateSecurityCredentials:
    """6.23 (CoS). What is in it is checked for its shape only: no credentials are simulated."""


@dataclass(frozen=True)
class ReadInventory:
    """8.2, of one device's HAN."""

    device: Eui


@dataclass(frozen=True)
class DevicePreNotification:
    """12.2."""

    device: Eui
    manufacturer: str
    model: str
    device_type: str
    smets_chts_version: str | None = None
    firmware_version: str | None = None
    esme_variant: str | None = None
    gpf: Eui | None = None


@dataclass(frozen=True)
class CommissionDevice:
    """8.1.1, to a meter: `now` is the time that its clock is to have, within `tolerance_s` seconds."""

    now: datetime
    tolerance_s: int = 60


@dataclass(frozen=True)
class DecommissionDevice:
    """8.3."""

    device: Eui


@dataclass(frozen=True)
class SetStatus:
    """Of 8.4: the device's new DeviceStatus; what an 8.4 may set depends on whether it is a CH."""

    status: str
    of_ch: bool = False


@dataclass(frozen=True)
class SetDetails:
    """Of 8.4: what is known of the device; None: as it is."""

    manufacturer: str | None = None
    model: str | None = None
    smets_chts_version: str | None = None
    firmware_version: str | None = None
    esme_variant: str | None = None


@dataclass(frozen=True)
class DeleteDevice:
    """Of 8.4: the device is in the inventory no longer."""


@dataclass(frozen=True)
class SetMpxn:
    """Of 8.4: `kind` is ImportMPxN, SecondaryImportMPAN or ExportMPAN."""

    kind: str
    mpxn: str


@dataclass(frozen=True)
class UpdateInventory:
    """8.4."""

    device: Eui
    change: SetStatus | SetDetails | DeleteDevice | SetMpxn


@dataclass(frozen=True)
class JoinService:
    """8.7.1 (critical) or 8.7.2: the device addressed and the `other` one may talk to each other."""

    other: Eui
    critical: bool = False


@dataclass(frozen=True)
class UnjoinService:
    """8.8.1 (critical) or 8.8.2: they may not any more."""

    other: Eui
    critical: bool = False


@dataclass(frozen=True)
class ReadDeviceLog:
    """8.9: which devices the one addressed knows; with `security`, what it knows of their keys."""

    execution: datetime | None = None
    security: bool = False


@dataclass(frozen=True)
class UpdateHanDeviceLog:
    """8.11, to a CHF: let a device onto its HAN (`add`), or not any more.

    `join_s` (1 to 3600) and `install_code` (6 to 16 octets) say how long it may try, and with which
    key; only an `add` has them.
    """

    device: Eui
    add: bool = True
    join_s: int = 3600
    install_code: bytes = bytes(16)
    execution: datetime | None = None


@dataclass(frozen=True)
class OtherBody:
    """A Service Request that hanlab knows by its name only: the element's."""

    element: str


Body = (
    UpdateFirmware
    | ReadFirmwareVersion
    | ActivateFirmware
    | TopUpDevice
    | UpdateSecurityCredentials
    | ReadInventory
    | DevicePreNotification
    | CommissionDevice
    | DecommissionDevice
    | UpdateInventory
    | JoinService
    | UnjoinService
    | ReadDeviceLog
    | UpdateHanDeviceLog
    | OtherBody
)


@dataclass(frozen=True)
class Request:
    """A Service Request. `service` is the ServiceReference, e.g. "11.1"."""

    id: RequestId
    command_variant: int
    service: str
    service_variant: str
    body: Body

    @property
    def reference(self) -> str:
        """What tells it from others: the variant of a service that has several (8.7.1 and 8.7.2 of 8.7)."""
        return reference(self.service, self.service_variant)


def service_of(reference: str) -> str:
    """The ServiceReference: 8.7 of 8.7.2."""
    return ".".join(reference.split(".")[:2])


def reference(service: str, service_variant: str) -> str:
    """See `Request.reference`."""
    return service_variant if service_variant.startswith(f"{service}.") else service


# -- responses


@dataclass(frozen=True)
class UpdateFirmwareWarning:
    """DSPUpdateFirmwareWarning of an 11.1 response: which devices are left out, and why."""

    invalid: tuple[Eui, ...] = ()
    not_commissioned: tuple[Eui, ...] = ()
    not_applicable: tuple[Eui, ...] = ()
    other_in_progress: tuple[Eui, ...] = ()
    invalid_gbcs_version: tuple[Eui, ...] = ()


@dataclass(frozen=True)
class FirmwareVersionRead:
    """ReadFirmwareVersionRsp of a SMETS1 device."""

    version: str | None
    success: bool = True


@dataclass(frozen=True)
class FirmwareActivated:
    """ActivateFirmwareRsp of a SMETS1 device.

    `code` is the ActivateImageResponseCode (0 success, 1 noImageHeld, 2 hashMismatch,
    3 activationFailure) with its name `status`; code and version may be missing (rule 95).
    """

    success: bool
    code: int | None = None
    status: str | None = None
    version: str | None = None
    debug: str = ""
    """DebugInfo/SMETS1Debug: at most 250 characters."""


@dataclass(frozen=True)
class HanDeviceLogUpdated:
    """UpdateHANDeviceLogRsp of a SMETS1 CH."""

    success: bool = True


@dataclass(frozen=True)
class DeviceLogEntry:
    """A device that another one knows. A CH says when it last `heard` it, any other its `device_type`."""

    device: Eui
    heard: datetime | None = None
    device_type: str | None = None


@dataclass(frozen=True)
class DeviceLogRead:
    """ReadDeviceLogRsp of a SMETS1 device: at most 16 entries of a CH's (`of_ch`)."""

    entries: tuple[DeviceLogEntry, ...] = ()
    of_ch: bool = True
    success: bool = True


@dataclass(frozen=True)
class ServiceJoined:
    """The response of a SMETS1 device to 8.7.x or 8.8.x (`joined`), `code` and its name `status`."""

    joined: bool
    critical: bool
    code: int = 0
    status: str = "success"
    success: bool = True


@dataclass(frozen=True)
class DeviceCommissioned:
    """CommissionDeviceSynchroniseClockRsp of a SMETS1 device: the `time` that it has now."""

    time: datetime | None = None
    success: bool = True


@dataclass(frozen=True)
class InventoryDevice:
    """A device of a Read Inventory response."""

    device: Eui
    device_type: str
    status: str | None
    manufacturer: str
    model: str
    smets_chts_version: str | None = None
    firmware_version: str | None = None
    firmware_status: str | None = None
    cpl_status: str | None = None
    commissioned: datetime | None = None
    import_mpxn: str | None = None
    s1sp: str | None = None


@dataclass(frozen=True)
class Inventory:
    """What 8.2 answers: 1 to 17 devices of one HAN."""

    devices: tuple[InventoryDevice, ...]


# -- DCC Alerts


@dataclass(frozen=True)
class DeviceStatusChanged:
    """DeviceStatusChangeEvent: `change` is DeviceSuspended (N28) or DeviceRestored (N29)."""

    device: Eui
    change: str


@dataclass(frozen=True)
class HanDeviceLogResult:
    """UpdateHANDeviceLogResult: what has come of the 8.11 `request`, by the alert's code (N24, N25)."""

    request: RequestId


@dataclass(frozen=True)
class FirmwareVersionMismatch:
    """N52: the GSME version that the GPF returned is not the SMI's (rule 105)."""

    device: Eui
    device_type: str
    smi_version: str
    device_version: str


@dataclass(frozen=True)
class FirmwareDistributionFailure:
    """An 11.1 that did not reach these devices."""

    request: RequestId
    devices: tuple[Eui, ...]


@dataclass(frozen=True)
class FirmwareDelivered:
    """CSPFirmwareDeliveryStatus: an image went into the CH, or did not."""

    request: RequestId
    hub: Eui
    device: Eui
    version: str
    when: datetime
    success: bool


@dataclass(frozen=True)
class FirmwareTransferred:
    """FirmwareTransferAlert of a CH about a device: `code` is in hex, `result` e.g. FileTransferSuccess."""

    hub: Eui
    code: str
    request: RequestId
    device: Eui
    version: str
    result: str
    when: datetime


@dataclass(frozen=True)
class FirmwareUpgradeRequested:
    """Somebody has sent an 11.1 for these devices."""

    device_type: str
    version: str
    devices: tuple[Eui, ...]


@dataclass(frozen=True)
class ChFirmwareNotification:
    """SMETS1CHFirmwareNotification: `status` is UpdateRequested or ActivationSuccessful."""

    device: Eui
    version: str
    status: str


@dataclass(frozen=True)
class S1spAlert:
    """S1SPAlertDSP: `code` is free text in the schema, and no public document lists its values."""

    request: RequestId | None
    device: Eui | None
    code: str
    text: str
    when: datetime


AlertBody = (
    DeviceStatusChanged
    | HanDeviceLogResult
    | FirmwareVersionMismatch
    | FirmwareDistributionFailure
    | FirmwareDelivered
    | FirmwareTransferred
    | FirmwareUpgradeRequested
    | ChFirmwareNotification
    | S1spAlert
)


@dataclass(frozen=True)
class DccAlert:
    """A DCC Alert with its code, e.g. N29."""

    code: str
    body: AlertBody


DeviceAnswer = (
    FirmwareVersionRead
    | FirmwareActivated
    | HanDeviceLogUpdated
    | DeviceLogRead
    | ServiceJoined
    | DeviceCommissioned
)
"""What a SMETS1 device answers, as its S1SP writes it."""
ResponseBody = UpdateFirmwareWarning | Inventory | DccAlert | DeviceAnswer


@dataclass(frozen=True)
class Response:
    """A Service Response, an acknowledgement (no body) or, without a request, a DCC Alert.

    `from_device`: it carries a ResponseID, as what a device answered does.
    """

    code: str
    when: datetime
    request: RequestId | None = None
    service: str = ""
    service_variant: str = ""
    body: ResponseBody | None = None
    from_device: bool = False
