"""The Service Requests that hanlab knows, as DUIS describes them: critical, roles, Command Variants.

From the DUIS request matrix; which Command Variants a SMETS1 device takes follows from there being no
Transform step for SMETS1 (recalled, not read in a public document).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ALL_ROLES: Final = frozenset({"IS", "ES", "GS", "RSA", "ED", "GT", "OU"})
"""User roles: import, export and gas supplier, registered supplier agent, electricity distributor,
gas transporter, other user."""
SUPPLIERS: Final = frozenset({"IS", "GS"})
FIRMWARE_TARGETS: Final = frozenset({"ESME", "GSME", "PPMID", "HCALCS", "CHF"})
"""Device Types whose firmware DUIS can update; an IHD's cannot be (rule 118)."""


class WebService(StrEnum):
    """The three DUIS web services, by the last letter of their path."""

    NON_DEVICE = "D"
    SEND_COMMAND = "S"
    TRANSFORM = "T"


@dataclass(frozen=True)
class ServiceRequest:
    """One row, by `Request.reference`: `smets1` and `smets2` are the Command Variants that it may carry."""

    reference: str
    name: str
    critical: bool
    roles: frozenset[str]
    smets1: frozenset[int]
    smets2: frozenset[int]
    device_types: frozenset[str] = frozenset()
    """Empty: any, or no device at all."""

    @property
    def non_device(self) -> bool:
        return self.smets1 == _NON_DEVICE


_NON_DEVICE: Final = frozenset({8})
_COMMAND: Final = frozenset({1, 2, 3})
_CRITICAL: Final = frozenset({4, 5, 6, 7})
_JOINERS: Final = SUPPLIERS | {"OU"}
METERS: Final = frozenset({"ESME", "GSME"})

EMERGENCY_CREDIT: Final = frozenset({"2.1", "2.5"})
"""Critical to DUIS, and yet what a Suspended prepayment consumer is said not to get (rule 109)."""

_ROWS: Final = (
    ServiceRequest(
        "2.1",
        "Update Prepay Configuration",
        True,
        SUPPLIERS,
        frozenset({1}),
        _CRITICAL,
        METERS,
    ),
    ServiceRequest("2.2", "Top Up Device", False, SUPPLIERS, _COMMAND, _COMMAND, METERS),
    ServiceRequest(
        "2.5", "Activate Emergency Credit", True, SUPPLIERS, frozenset({1}), _CRITICAL, METERS
    ),
    ServiceRequest(
        "6.23", "Update Security Credentials (CoS)", False, SUPPLIERS, frozenset({1}), _COMMAND
    ),
    ServiceRequest(
        "8.1.1", "Commission Device", True, SUPPLIERS, frozenset({1}), _CRITICAL, METERS
    ),
    ServiceRequest("8.2", "Read Inventory", False, ALL_ROLES, _NON_DEVICE, _NON_DEVICE),
    ServiceRequest("8.3", "Decommission Device", False, SUPPLIERS, _NON_DEVICE, _NON_DEVICE),
    ServiceRequest("8.4", "Update Inventory", False, ALL_ROLES, _NON_DEVICE, _NON_DEVICE),
    ServiceRequest("8.7.1", "Join Service (Critical)", True, SUPPLIERS, frozenset({1}), _CRITICAL),
    ServiceRequest(
        "8.7.2", "Join Service (Non-Critical)", False, _JOINERS, frozenset({1}), _COMMAND
    ),
    ServiceRequest(
        "8.8.1", "Unjoin Service (Critical)", True, SUPPLIERS, frozenset({1}), _CRITICAL
    ),
    ServiceRequest(
        "8.8.2", "Unjoin Service (Non-Critical)", False, _JOINERS, frozenset({1}), _COMMAND
    ),
    ServiceRequest("8.9", "Read Device Log", False, _JOINERS, frozenset({1}), _COMMAND),
    ServiceRequest(
        "8.11",
        "Update HAN Device Log",
        False,
        _JOINERS,
        frozenset({1}),
        _COMMAND,
        frozenset({"CHF"}),
    ),
    ServiceRequest("11.1", "Update Firmware", False, SUPPLIERS, _NON_DEVICE, _NON_DEVICE),
    ServiceRequest(
        "11.2",
        "Read Firmware Version",
        False,
        ALL_ROLES,
        frozenset({1}),
        _COMMAND,
        FIRMWARE_TARGETS | {"GPF"},
    ),
    ServiceRequest(
        "11.3",
        "Activate Firmware",
        True,
        SUPPLIERS,
        frozenset({1}),
        _CRITICAL,
        FIRMWARE_TARGETS,
    ),
    ServiceRequest("11.4", "Update PPMID Firmware", False, SUPPLIERS, _NON_DEVICE, _NON_DEVICE),
    ServiceRequest("12.2", "Device Pre-notification", False, ALL_ROLES, _NON_DEVICE, _NON_DEVICE),
)

SERVICE_REQUESTS: Final = {row.reference: row for row in _ROWS}

WEB_SERVICE: Final = {
    1: WebService.SEND_COMMAND,
    2: WebService.NON_DEVICE,
    3: WebService.SEND_COMMAND,
    4: WebService.TRANSFORM,
    5: WebService.SEND_COMMAND,
    6: WebService.NON_DEVICE,
    7: WebService.SEND_COMMAND,
    8: WebService.NON_DEVICE,
}
"""Command Variant to web service, as the DUIS schema's notes on CommandVariant say."""
