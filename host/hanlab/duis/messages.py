"""What Service Users ask of the DSP, as dataclasses; `responses.py` has what they hear of it.

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
