"""May this Service Request be sent? The DSP's checks, in the order of their response codes.

That E19 comes before E4 is the one exception: who answers for a device, and its status, can only be
looked up of a device that exists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hanlab.dsp.service_requests import (
    EMERGENCY_CREDIT,
    SERVICE_REQUESTS,
    WEB_SERVICE,
    ServiceRequest,
    WebService,
)
from hanlab.dsp.settings import DSP, DspSettings, User
from hanlab.dsp.smi import SMETS1, SmiDevice, Status
from hanlab.duis.messages import Request

ACCEPTED: Final = "I99"
_NEVER_VERSION: Final = frozenset({"HCALCS", "PPMID"})
"""Device Types for which 11.2 (and, for an HCALCS, firmware as a whole) is SECMP0007's (rule 108)."""


@dataclass(frozen=True)
class Decision:
    """A response code, the row of the rule table behind it (None: DUIS alone), and why."""

    code: str
    rule: int | None
    why: str

    @property
    def accepted(self) -> bool:
        return self.code == ACCEPTED

    @property
    def refused(self) -> bool:
        """It is an error's code: neither accepted nor answered already."""
        return self.code.startswith("E")


@dataclass(frozen=True)
class Case:
    """What a decision rests on. `service` is the web service it came in by, None where by none."""

    request: Request
    user: User | None
    device: SmiDevice | None
    settings: DspSettings
    now: datetime
    service: WebService | None = None

    @property
    def known(self) -> ServiceRequest | None:
        return SERVICE_REQUESTS.get(self.request.reference)


def authorise(case: Case) -> Decision:
    """The first check that fails; else I99."""
    for check in _CHECKS:
        if decision := check(case):
            return decision
    return Decision(ACCEPTED, _why_accepted(case), "authorised")


def _e1(case: Case) -> Decision | None:
    if case.user is None:
        return Decision("E1", None, f"{case.request.id.originator} is no Service User")
    return None


def _e2(case: Case) -> Decision | None:
    assert case.user
    if case.known is None:
        return Decision("E2", None, f"{case.request.service} is not offered here")
    if not case.user.roles & case.known.roles:
        roles = ", ".join(sorted(case.user.roles))
        return Decision("E2", None, f"{case.known.reference} is not for the role {roles}")
    return None


def _e3(case: Case) -> Decision | None:
    assert case.user
    return None if case.user.active else Decision("E3", None, f"{case.user.name} is not active")


def _e19(case: Case) -> Decision | None:
    assert case.known
    if case.known.non_device:
        if case.request.id.target != DSP:
            return Decision("E19", None, f"{case.known.reference} is sent to the DSP, {DSP}")
        return None
    if case.device is None:
        return Decision("E19", None, f"{case.request.id.target} is not in the inventory")
    return None


def _e4(case: Case) -> Decision | None:
    if (
        case.device
        and case.user
        and case.known
        and not answers_for(case.user, case.device, case.known)
    ):
        return Decision("E4", 115, f"{case.user.name} does not answer for {case.device.eui}")
    return None


def answers_for(user: User, device: SmiDevice, request: ServiceRequest) -> bool:
    """Whether one of the user's roles that may send the request is responsible for the device."""
    responsible: Mapping[str, object] = {
        "IS": device.supplier,
        "GS": device.supplier,
        "ED": device.network_operator,
        "GT": device.network_operator,
    }
    return any(responsible.get(role, user.eui) == user.eui for role in user.roles & request.roles)


def _e5(case: Case) -> Decision | None:
    device, request = case.device, case.known
    if device is None or request is None:
        return None
    if device.status is Status.SUSPENDED:
        if suspended_rule(case) is None:
            return Decision("E5", _refusing_rule(case), f"{device.eui} is Suspended")
        return None
    if device.status not in _STATUSES and request.reference not in _ALWAYS.get(device.status, ()):
        return Decision("E5", None, f"{device.eui} is {device.status}")
    return None


_STATUSES: Final = frozenset({Status.COMMISSIONED, Status.RECOVERED})
_ALWAYS: Final[Mapping[Status, tuple[str, ...]]] = {
    Status.INSTALLED_NOT_COMMISSIONED: (
        "6.23",
        "8.1.1",
        "8.7.1",
        "8.7.2",
        "8.8.1",
        "8.8.2",
        "8.9",
        "11.2",
    ),
    Status.RECOVERY: ("6.23",),
}
"""What a device of another status takes. No public document lists it; what is here is recalled."""


def suspended_rule(case: Case) -> int | None:
    """The rule by which a Suspended device takes this request; None: it does not."""
    request, device = case.known, case.device
    assert request
    assert device
    if request.reference in EMERGENCY_CREDIT and not case.settings.suspended_credit:
        return None
    if request.critical:
        return 79
    if request.reference == "6.23":
        return 82
    if request.reference == "2.2" and case.request.command_variant == 2:
        return 83 if device.generation == SMETS1 else None
    if request.reference == "11.2" and case.settings.has_mp105(case.now):
        return 85
    return None


def _refusing_rule(case: Case) -> int:
    return _REFUSING.get(case.request.service, 80)


_REFUSING: Final = {"2.2": 109, "11.2": 84, **dict.fromkeys(EMERGENCY_CREDIT, 109)}


def _e11(case: Case) -> Decision | None:
    device, request = case.device, case.known
    if device is None or request is None:
        return None
    if request.device_types and device.device_type not in request.device_types:
        rule = 118 if device.device_type == "IHD" else None
        return Decision(
            "E11", rule, f"{request.reference} is not for a device of type {device.device_type}"
        )
    if request.reference in ("11.2", "11.3") and not case.settings.has_secmp0007(case.now):
        no_version = request.reference == "11.2" and device.device_type in _NEVER_VERSION
        if no_version or device.device_type == "HCALCS":
            return Decision(
                "E11", 108, f"{request.reference} for a {device.device_type} needs SECMP0007"
            )
    return None


def _e12(case: Case) -> Decision | None:
    request = case.known
    assert request
    generation = case.device.generation if case.device else SMETS1
    variants = request.smets1 if generation == SMETS1 else request.smets2
    if case.request.command_variant not in variants:
        allowed = " or ".join(map(str, sorted(variants)))
        return Decision(
            "E12",
            None,
            f"{request.reference} to a {generation} device has Command Variant {allowed}, not "
            f"{case.request.command_variant}",
        )
    return None


def _e13(case: Case) -> Decision | None:
    wanted = WEB_SERVICE.get(case.request.command_variant)
    if case.service and case.service is not wanted:
        return Decision(
            "E13",
            None,
            f"Command Variant {case.request.command_variant} is for service{wanted}, not "
            f"service{case.service}",
        )
    return None


_CHECKS: Final[tuple[Callable[[Case], Decision | None], ...]] = (
    _e1, _e2, _e3, _e19, _e4, _e5, _e11, _e12, _e13,
)  # fmt: skip


def refusal_by_now(case: Case) -> Decision | None:
    """What refuses a request when its turn comes, though it was accepted when it came."""
    for check in (_e1, _e2, _e3, _e19, _e4, _e5, _e11):
        if decision := check(case):
            return decision
    return None


def _why_accepted(case: Case) -> int | None:
    if case.device and case.device.status is Status.SUSPENDED:
        return suspended_rule(case)
    return None
