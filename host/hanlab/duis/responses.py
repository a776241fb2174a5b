"""What the DSP answers to Service Users and tells them, as dataclasses: responses and DCC Alerts.

Shapes, orders and limits are those of the DUIS schema 5.4 and, inside a SMETS1 response, of the MMC
schema 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hanlab.duis.messages import RequestId
from hanlab.eui import Eui


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
