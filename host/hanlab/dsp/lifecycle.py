"""From pre-notification to decommissioning: which DeviceStatus a device has after each step.

The statuses are the schema's, and so is what 8.4 may set. From which status to which a step leads is in no
public document: what stands here is recalled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hanlab.dsp.service_requests import METERS
from hanlab.dsp.smi import SmiDevice, Status
from hanlab.duis.names import STATUSES


@dataclass(frozen=True)
class Step:
    """What takes a device on: a Service Request that has succeeded, or what its CH reports."""

    name: str
    to: Status
    begins: frozenset[Status]
    """The statuses from which it leads anywhere."""

    def leads_on(self, device: SmiDevice) -> bool:
        """A Suspended device stays so; it is taken on from what it was before."""
        return actual(device) in self.begins


def actual(device: SmiDevice) -> Status:
    """The status, and that before its suspension if it is Suspended."""
    if device.status is Status.SUSPENDED:
        return device.status_before or Status.COMMISSIONED
    return device.status


_EVERY: Final = frozenset(Status) - {Status.SUSPENDED}
_NEW: Final = frozenset({Status.PENDING, Status.WHITELISTED, Status.INSTALLED_NOT_COMMISSIONED})
_GONE: Final = frozenset({Status.DECOMMISSIONED, Status.WITHDRAWN})

ADDED: Final = Step("8.11 Add", Status.WHITELISTED, frozenset({Status.PENDING}))
"""The CH has taken the device onto its whitelist."""
JOINED: Final = Step("joined", Status.INSTALLED_NOT_COMMISSIONED, frozenset({Status.WHITELISTED}))
"""The CH has it on its HAN."""
COMMISSIONED: Final = Step(
    "commissioned", Status.COMMISSIONED, frozenset({Status.INSTALLED_NOT_COMMISSIONED})
)
"""8.1.1 has succeeded for a meter, 8.7.x for any other device."""
REMOVED: Final = Step("8.11 Remove", Status.PENDING, _EVERY - _GONE)
"""It is on no CH's whitelist, and another CH may have it."""
DECOMMISSIONED: Final = Step("8.3", Status.DECOMMISSIONED, _EVERY - _GONE)

_SET_BY_8_4: Final = {
    (False, Status.PENDING): _NEW | {Status.DECOMMISSIONED},
    (False, Status.INSTALLED_NOT_COMMISSIONED): frozenset({Status.COMMISSIONED}),
    (True, Status.COMMISSIONED): frozenset(
        {Status.INSTALLED_NOT_COMMISSIONED, Status.PENDING, Status.WITHDRAWN}
    ),
    (True, Status.INSTALLED_NOT_COMMISSIONED): frozenset({Status.COMMISSIONED, Status.PENDING}),
    (True, Status.WITHDRAWN): _EVERY - {Status.WITHDRAWN},
}
"""By whether it is a CH, and the status that an 8.4 sets: from which ones."""
DELETABLE: Final = frozenset({Status.PENDING, Status.DECOMMISSIONED})
"""What 8.4 takes out of the inventory: what is on no HAN."""

assert {ch: {s for c, s in _SET_BY_8_4 if c == ch} for ch in STATUSES} == {
    ch: {Status(s) for s in some} for ch, some in STATUSES.items()
}


def set_by_8_4(status: Status, *, of_ch: bool) -> Step:
    """The step of an 8.4 that sets that status."""
    return Step("8.4", status, _SET_BY_8_4[of_ch, status])


def commissioned_by(reference: str, device: SmiDevice) -> bool:
    """Whether that Service Request, where it succeeds, commissions a device of that type."""
    if reference == "8.1.1":
        return device.device_type in METERS
    return reference in ("8.7.1", "8.7.2") and device.device_type not in METERS
