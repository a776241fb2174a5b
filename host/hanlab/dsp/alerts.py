"""DCC Alerts: which code says what, and who gets it (rules 90, 105, 115).

The codes of the documents are marked `stated`; the others are recalled, and no public document gives
their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RESPONSIBLE: Final = ("supplier", "network_operator")
"""The parties that answer for a device, by their columns in the SMI."""


@dataclass(frozen=True)
class Alert:
    """A DCC Alert: `to` names columns of the SMI, or is empty where only the requester is told.

    `han`: it goes to those parties of everything on the CHF's HAN.
    """

    code: str
    meaning: str
    to: tuple[str, ...]
    stated: bool
    han: bool = False


JOINED: Final = Alert("N24", "device of an 8.11 has joined its CH's HAN", (), stated=False)
NOT_JOINED: Final = Alert("N25", "device of an 8.11 has not joined in its time", (), stated=False)
SUSPENDED: Final = Alert("N28", "device suspended", RESPONSIBLE, stated=False)
RESTORED: Final = Alert("N29", "device restored from suspension", RESPONSIBLE, stated=True)
MISMATCH: Final = Alert("N52", "GSME firmware version mismatch", RESPONSIBLE, stated=True)
DISTRIBUTION_FAILURE: Final = Alert("N22", "firmware distribution failed", (), stated=False)
S1SP: Final = Alert("N55", "alert of the S1SP", (), stated=False)
CH_ACTIVATED: Final = Alert(
    "N56", "SMETS1 CH firmware activated", RESPONSIBLE, stated=False, han=True
)
CH_REQUESTED: Final = Alert(
    "N57", "SMETS1 CH update requested", RESPONSIBLE, stated=False, han=True
)
DELIVERED: Final = Alert("N60", "image delivered to the CH", (), stated=False)
NOT_DELIVERED: Final = Alert("N61", "image not delivered to the CH", (), stated=False)

ALERTS: Final = {
    alert.code: alert
    for alert in (
        JOINED,
        NOT_JOINED,
        SUSPENDED,
        RESTORED,
        MISMATCH,
        DISTRIBUTION_FAILURE,
        S1SP,
        CH_ACTIVATED,
        CH_REQUESTED,
        DELIVERED,
        NOT_DELIVERED,
    )
}
STATUS_CHANGES: Final = {SUSPENDED.code: "DeviceSuspended", RESTORED.code: "DeviceRestored"}
"""The alerts whose body follows from code and device alone."""
