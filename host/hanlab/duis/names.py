"""The XML names of DUIS 5.4: namespaces, elements of requests, device lists, alert bodies."""

from __future__ import annotations

from typing import Final

SR: Final = "http://www.dccinterface.co.uk/ServiceUserGateway"
RA: Final = "http://www.dccinterface.co.uk/ResponseAndAlert"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"
NAMESPACES: Final = {"sr": SR, "ra": RA, "ds": DS}
PUBLISHED: Final = ("3.0", "3.1", "4.0", "5.0", "5.1", "5.2", "5.3", "5.4")
"""The versions of DUIS that know SMETS1; what hanlab reads is the same in all of them.

The schemas of 5.0, 5.1, 5.3 and 5.4 and the text of 3.1 are public; the others are recalled."""
SCHEMA_VERSION: Final = PUBLISHED[-1]
DEVICE_TYPES: Final = ("ESME", "GSME", "GPF", "CHF", "HCALCS", "PPMID", "IHD", "CAD")
SIGNATURE: Final = f"{{{DS}}}Signature"

WARNINGS: Final = {"11.1": "DSPUpdateFirmwareWarning", "11.4": "DSPUpdatePPMIDFirmwareWarning"}
"""What a response to these says of devices that are left out."""
LISTS: Final = (
    ("InvalidDeviceIDList", "invalid"),
    ("NotCommissionedDeviceIDList", "not_commissioned"),
    ("NotApplicableFirmwareDeviceIDList", "not_applicable"),
    ("OtherRequestInProgressList", "other_in_progress"),
    ("InvalidGBCSVersionList", "invalid_gbcs_version"),
)
"""The lists of DSPUpdateFirmwareWarning in their order, with the fields of UpdateFirmwareWarning."""

INVENTORY: Final = (
    ("DeviceID", "device"),
    ("DeviceType", "device_type"),
    ("DeviceStatus", "status"),
    ("DeviceManufacturer", "manufacturer"),
    ("DeviceModel", "model"),
    ("SMETSCHTSVersion", "smets_chts_version"),
    ("DeviceFirmwareVersion", "firmware_version"),
    ("DeviceFirmwareVersionStatus", "firmware_status"),
    ("CPLStatus", "cpl_status"),
    ("DateCommissioned", "commissioned"),
    ("ImportMPxN", "import_mpxn"),
    ("S1SP", "s1sp"),
)
"""What hanlab says of a device in a Read Inventory response, in the schema's order."""
INVENTORY_SKIPPED: Final = frozenset(
    {
        "SecondaryImportMPAN",
        "ExportMPAN",
        "ESMEVariant",
        "UPRN",
        "PropertyFilter",
        "CSPRegion",
        "DeviceGBCSVersion",
        "HANVariant",
        "Connectivity",
    }
)
"""What others say besides; it is read over."""


def sr(name: str) -> str:
    return f"{{{SR}}}{name}"


def ra(name: str) -> str:
    return f"{{{RA}}}{name}"


STATUSES: Final = {
    False: ("Pending", "InstalledNotCommissioned"),
    True: ("Commissioned", "Withdrawn", "InstalledNotCommissioned"),
}
"""The DeviceStatus that 8.4 may set, by whether it is a CH's."""
