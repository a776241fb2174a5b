"""What was acknowledged with I99 is carried out: by the S1SP, and then in the SMI."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hanlab.dsp import alerts, commissioning, joining, updates
from hanlab.dsp.accepted import Accepted
from hanlab.dsp.authorisation import Case, Decision, refusal_by_now
from hanlab.dsp.commissioning import IS_HAN_BODY
from hanlab.dsp.parts import Notice, Parts
from hanlab.dsp.recovery import Effect, effect_of_activation, effect_of_reading
from hanlab.dsp.settings import User
from hanlab.dsp.smi import SmiDevice
from hanlab.dsp.updates import Sorted
from hanlab.duis.messages import ActivateFirmware, Request, RequestId, UpdateFirmware
from hanlab.duis.responses import (
    ChFirmwareNotification,
    DeviceAnswer,
    DeviceStatusChanged,
    FirmwareActivated,
    FirmwareDelivered,
    FirmwareDistributionFailure,
    FirmwareVersionMismatch,
    Response,
    S1spAlert,
)
from hanlab.errors import HanlabError
from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.s1sp.outcome import ACTIVATE_OUTCOME, Outcome, ServiceRequestFailed

if TYPE_CHECKING:
    from hanlab.s1sp.progress import Report

_LOG: Final = logging.getLogger(__name__)
_NO_RESPONSE: Final = "E21"
_NO_CONTACT: Final = "E20"
_OUT_OF_REACH: Final = (Outcome.NO_DEVICE, Outcome.NO_CONTACT)
_RULES: Final = {Outcome.THIRD_PARTY: 25, Outcome.METADATA: 30, Outcome.TOO_LARGE: 4}
FAILED: Final = "failed"
"""The audit log's action where a request failed behind the DSP; its code is the S1SP's `Outcome`."""
_ANSWERS: Final = {outcome: code for code, outcome in ACTIVATE_OUTCOME.items()}
"""What a device itself says to 11.3."""
DEBUG_LIMIT: Final = 250
"""Characters of SMETS1Debug's Error."""


class Execution:
    """Carries accepted requests out, one call each."""

    def __init__(self, parts: Parts, elsewhere: Callable[[], bool] | None) -> None:
        """`elsewhere`: whether another process carries requests out now; None: it is this one that does."""
        self._parts = parts
        self._elsewhere = elsewhere
        self._left = frozenset(parts.accepted.all())
        """What earlier processes have left behind."""
        self._begun: set[RequestId] = set()
        """What is under way, or has met a defect of hanlab's: that is for the next start."""
        self._stopped: set[RequestId] = set()
        """What ended here without an end: it is pending, and keeps nobody off a HAN."""
        if elsewhere is None and (killed := parts.accepted.begun()):
            with parts.database.transaction(lasting=False):
                for request in killed:
                    parts.accepted.begin(request, begun=False)

    @property
    def begun(self) -> set[RequestId]:
        """What is under way: it is not pulled back any more.

        Within a transaction that stays so, also where another process carries out.
        """
        if self._elsewhere is None:
            return self._begun
        begun = self._parts.accepted.begun()
        return begun if begun and self._elsewhere() else set()

    def waiting(self) -> set[Eui]:
        """The devices whose update is under way, or accepted and about to be."""
        return self._parts.accepted.waiting((self._left - self._begun) | self._stopped)

    async def carry_out(self, request: RequestId, report: Report) -> Response | None:
        """Do what was acknowledged with I99; the response, which is in `deliveries` as well.

        What is pending and falls due before it is carried out before it.

        None: there is nothing to say besides I99 (8.2, 12.2, an 11.1 that left nobody out; what
        comes of it for each device is in DCC Alerts), or it was cancelled.
        """
        await self.carry_out_before(request)
        await self._until_due(request)
        return await self._begin(request, report)

    async def carry_out_before(self, request: RequestId) -> None:
        """Carry out what falls due before that request and nobody has begun, one after the other."""
        while first := self._first(request):
            await self._until_due(first)
            await self._meet(first)

    async def resume(self, request: RequestId) -> None:
        """Carry out what an earlier process has left behind, and what falls due before it."""
        await self.carry_out_before(request)
        await self._until_due(request)
        await self._meet(request)

    async def carry_out_due(self) -> None:
        """Carry out what is overdue and nobody has begun, one after the other."""
        while first := self._first(None):
            await self._meet(first)

    def _first(self, request: RequestId | None) -> RequestId | None:
        """The first that nobody has begun, if it falls due before `request`; None: before now."""
        pending = self._parts.accepted.all()
        if request is not None:
            pending = pending[: pending.index(request)] if request in pending else []
        now = self._parts.clock()
        for id_ in pending:
            accepted = self._parts.accepted.find(id_)
            if not accepted or id_ in self._begun:
                continue
            if request is None and accepted.falls_due > now:
                return None
            if accepted.due or id_ in self._left:  # others are about to be begun by who sent them
                return id_
        return None

    async def _until_due(self, request: RequestId) -> None:
        accepted = self._parts.accepted.find(request)
        if accepted and accepted.due:
            await asyncio.sleep(max(0.0, (accepted.due - self._parts.clock()).total_seconds()))

    async def _meet(self, request: RequestId) -> None:
        """Carry out a request that somebody else has sent, or an earlier command."""
        accepted = self._parts.accepted.find(request)
        if accepted is None or request in self._begun:  # cancelled or begun meanwhile
            return
        notices = [Notice(request, accepted.reference, d, "begins") for d in accepted.devices]
        for notice in notices:
            self._parts.notice(notice)
        try:
            response = await self._begin(request, lambda progress: None)
        except HanlabError:
            raise
        except Exception:
            _LOG.exception("%s was not carried out, and waits for the next start", request)
            return
        for notice in notices:
            self._parts.notice(replace(notice, end=response.code if response else "done"))

    async def _begin(self, request: RequestId, report: Report) -> Response | None:
        with self._parts.database.transaction(lasting=False):  # nobody supersedes it meanwhile
            accepted = self._parts.accepted.find(request)
            if accepted is None or request in self._begun:
                return None
            if accepted.due or request in self._left:
                authorised = self._authorise_again(accepted)
                if isinstance(authorised, Decision):
                    self._parts.record(
                        "DSP", request.target, accepted.reference, authorised, request
                    )
                    return self._done(accepted, self._answer(accepted, authorised.code))
                accepted = authorised
            self._parts.accepted.begin(request)
            self._begun.add(request)
            self._stopped.discard(request)
        try:
            response = await self._carry_out(accepted, report)
        except BaseException as e:
            self._stopped.add(request)
            if isinstance(e, HanlabError | asyncio.CancelledError):
                self._begun.discard(request)
                with suppress(HanlabError), self._parts.database.transaction(lasting=False):
                    self._parts.accepted.begin(request, begun=False)
            raise
        self._begun.discard(request)
        end = response.code if response else "done"
        self._parts.log(f"{accepted.reference} {request} has ended: {end}")
        return response

    def _authorise_again(self, accepted: Accepted) -> Accepted | Decision:
        """What is carried out of a request that has a date, or that an earlier process has left; or its refusal.

        Since it came a device may have become Suspended (rules 80, 84), a version withdrawn from the CPL.
        """
        request = Request(accepted.id, 1, accepted.service, accepted.service_variant, accepted.body)
        user = self._parts.settings.user(accepted.id.originator)
        device = self._parts.smi.find(accepted.id.target)
        case = Case(request, user, device, self._parts.settings, self._parts.clock())
        if refusal := refusal_by_now(case) or joining.refusal(self._parts, request):
            return refusal
        if not isinstance(accepted.body, UpdateFirmware):
            return accepted
        assert user, "E1 refuses it else"
        return self._sort_again(accepted, accepted.body, user)

    def _sort_again(
        self, accepted: Accepted, body: UpdateFirmware, user: User
    ) -> Accepted | Decision:
        """An 11.1 without the devices that cannot have it any more; they are in its warning's lists."""
        found = updates.sort(self._parts, accepted.service, body, user)
        if isinstance(found, Sorted) and not found.accepted:
            found = updates.all_left_out(found)
        if isinstance(found, Decision):
            return replace(found, code=updates.code_for(accepted.service, found.code))
        if found.warning is None:
            return accepted
        stay = tuple(device.eui for device in found.accepted)
        accepted = replace(
            accepted,
            body=replace(body, devices=stay),
            warning=updates.together(accepted.warning, found.warning),
        )
        self._parts.accepted.put(accepted)
        for eui, why in found.why.items():
            code = updates.code_for(accepted.service, updates.SOME_LEFT_OUT)
            decision = Decision(code, None, f"{eui} {why}")
            self._parts.record("DSP", eui, accepted.reference, decision, accepted.id)
        return accepted

    async def _carry_out(self, accepted: Accepted, report: Report) -> Response | None:
        match accepted.body:
            case UpdateFirmware():
                return await self._update(accepted, accepted.body, report)
            case ActivateFirmware(hash=hash_):
                return await self._activate(accepted, hash_, report)
            case body if isinstance(body, IS_HAN_BODY):
                return await self._on_han(accepted, body)
            case _:
                return await self._read(accepted)

    async def _update(
        self, accepted: Accepted, body: UpdateFirmware, report: Report
    ) -> Response | None:
        image = OtaImage.from_bytes(body.image)
        hans: dict[Eui | None, list[Eui]] = defaultdict(list)
        for device in body.devices:
            hans[self._parts.s1sp.hub_of(device)].append(device)
        failed = await asyncio.gather(
            *(self._update_han(accepted.id, image, body.version, d, report) for d in hans.values())
        )
        with self._parts.transaction():
            if failures := tuple(device for some in failed for device in some):
                note = FirmwareDistributionFailure(accepted.id, failures)
                self._parts.tell(accepted.id.originator, alerts.DISTRIBUTION_FAILURE, note)
            if accepted.warning is None:
                self._parts.accepted.done(accepted.id)
                return None
            response = Response(
                updates.code_for(accepted.service, updates.SOME_LEFT_OUT),
                self._parts.clock(),
                accepted.id,
                accepted.service,
                accepted.service_variant,
                accepted.warning,
            )
            return self._done(accepted, response)

    async def _update_han(
        self, request: RequestId, image: OtaImage, version: str, devices: list[Eui], report: Report
    ) -> list[Eui]:
        """The devices of one HAN, one after the other; those that did not get it."""
        failed = []
        for device in devices:
            await asyncio.sleep(0)  # with 50,000 devices that fail at once, others have their turn
            why = ""
            try:
                await self._parts.s1sp.update_firmware(image, device, report)
            except ServiceRequestFailed as e:
                failed.append(device)
                why = e.what
                self._failed(request, device, e)
            hub = self._parts.s1sp.hub_of(device)
            if hub:
                now = self._parts.clock()
                note = FirmwareDelivered(request, hub, device, version, now, success=not why)
                kind = alerts.NOT_DELIVERED if why else alerts.DELIVERED
                # the end of the 11.1 is lasting, and with it these
                with self._parts.transaction(lasting=False):
                    if not why:
                        self._parts.unanswered.forget(device)  # an update of its own (rule 87)
                    self._parts.tell(request.originator, kind, note, device)
        return failed

    def _failed(self, request: RequestId, device: Eui, error: ServiceRequestFailed) -> None:
        note = S1spAlert(request, device, str(error.outcome), error.what[:250], self._parts.clock())
        with self._parts.transaction(lasting=False):
            self._parts.tell(request.originator, alerts.S1SP, note, device)
            self._note_cause(request, device, error)

    def _note_cause(self, request: RequestId, device: Eui, error: ServiceRequestFailed) -> None:
        """What a response code does not say of a failure is in the audit log."""
        decision = Decision(str(error.outcome), _RULES.get(error.outcome), error.what)
        self._parts.record("S1SP", device, FAILED, decision, request, error.next_step)

    async def _activate(self, accepted: Accepted, hash_: bytes, report: Report) -> Response:
        """11.3, once: whether it is sent again if no answer comes is its Service User's affair (rule 93)."""
        eui = accepted.id.target
        said_no: ServiceRequestFailed | None = None
        try:
            answer = await self._parts.s1sp.activate_firmware(hash_, eui, report)
        except ServiceRequestFailed as e:
            if e.outcome not in _ANSWERS:
                return self._not_answered(accepted, hash_, e)
            said_no, code = e, _ANSWERS[e.outcome]
            answer = FirmwareActivated(False, code, code.duis, debug=e.what[:DEBUG_LIMIT])
        with self._parts.transaction():
            if said_no:
                self._note_cause(accepted.id, eui, said_no)
            if self._parts.chance.random() < self._parts.settings.lost_responses:
                self._parts.lost += 1
                why = f"the answer of {eui} to 11.3 was lost on its way to the DSP"
                self._parts.record("S1SP", eui, "11.3", Decision("lost", 86, why), accepted.id)
                self._parts.unanswered.add(eui, hash_)
                return self._done(accepted, self._answer(accepted, _NO_RESPONSE))
            if answer.success:
                self._activated(eui, answer, retry=self._parts.unanswered.has(eui, hash_))
            return self._done(accepted, self._answer(accepted, "I0", answer))

    def _not_answered(
        self, accepted: Accepted, hash_: bytes, error: ServiceRequestFailed
    ) -> Response:
        eui = accepted.id.target
        code = _NO_CONTACT if error.outcome in _OUT_OF_REACH else _NO_RESPONSE
        with self._parts.transaction():
            self._failed(accepted.id, eui, error)
            if error.begun:
                self._parts.unanswered.add(eui, hash_)
            return self._done(accepted, self._answer(accepted, code))

    def _activated(self, eui: Eui, answer: FirmwareActivated, *, retry: bool) -> None:
        device = self._parts.device(eui)
        mp105 = self._parts.settings.has_mp105(self._parts.clock())
        active = self._is_active(device, answer.version)
        effect = effect_of_activation(
            device, answer.version, active=active, retry=retry, mp105=mp105
        )
        self._apply(device, effect, "11.3 answered")
        if device.device_type == "CHF" and answer.version:
            note = ChFirmwareNotification(eui, answer.version, "ActivationSuccessful")
            self._parts.alert(alerts.CH_ACTIVATED, note, device)

    async def _on_han(self, accepted: Accepted, body: commissioning.HanBody) -> Response:
        """8.x: by the CH, or a device on its HAN."""
        target = accepted.id.target
        try:
            answer = await commissioning.carry_out(self._parts, target, body)
        except ServiceRequestFailed as e:
            refused = None
            if e.outcome not in (*_OUT_OF_REACH, Outcome.NO_ANSWER):
                refused = commissioning.refused(body)
            code = _NO_CONTACT if e.outcome in _OUT_OF_REACH else _NO_RESPONSE
            with self._parts.transaction():
                self._failed(accepted.id, target, e)
                answered = self._answer(accepted, "I0" if refused else code, refused)
                return self._done(accepted, answered)
        with self._parts.transaction():
            commissioning.settle(self._parts, accepted)
            return self._done(accepted, self._answer(accepted, "I0", answer))

    async def _read(self, accepted: Accepted) -> Response:
        eui = accepted.id.target
        try:
            read = await self._parts.s1sp.read_firmware_version(eui)
        except ServiceRequestFailed as e:
            code = _NO_CONTACT if e.outcome in _OUT_OF_REACH else _NO_RESPONSE
            with self._parts.transaction():
                self._failed(accepted.id, eui, e)
                return self._done(accepted, self._answer(accepted, code))
        with self._parts.transaction():
            if read.version is not None:
                self._version_read(self._parts.device(eui), read.version)
            return self._done(accepted, self._answer(accepted, "I0", read))

    def _version_read(self, device: SmiDevice, version: str) -> None:
        now = self._parts.clock()
        if device.device_type == "GPF":
            gsme = device.gsme and self._parts.smi.find(device.gsme)
            if gsme and gsme.version and gsme.version != version:
                note = FirmwareVersionMismatch(gsme.eui, gsme.device_type, gsme.version, version)
                self._parts.alert(alerts.MISMATCH, note, gsme)
            why = "what a GPF answers changes nothing of its GSME"
            self._parts.record("DSP", device.eui, "11.2 answered", Decision("I0", 104, why))
            return
        effect = effect_of_reading(
            device,
            version,
            active=self._is_active(device, version),
            mp105=self._parts.settings.has_mp105(now),
            secmp0007=self._parts.settings.has_secmp0007(now),
        )
        self._apply(device, effect, "11.2 answered")

    def _is_active(self, device: SmiDevice, version: str | None) -> bool:
        entry = self._parts.cpl.entry(device, version)
        return entry is not None and entry.is_active(self._parts.clock().date())

    def _apply(self, device: SmiDevice, effect: Effect, action: str) -> None:
        """Change the SMI, without any further request (rule 111); N29 where a suspension ends."""
        if effect.version:
            self._parts.smi.set_version(device.eui, effect.version)
            self._parts.unanswered.forget(device.eui)
        code = "unchanged"
        if effect.restore:
            code = self._parts.smi.restore(device.eui)
            note = DeviceStatusChanged(device.eui, alerts.STATUS_CHANGES[alerts.RESTORED.code])
            self._parts.alert(alerts.RESTORED, note, device)
        elif effect.version:
            code = effect.version
        self._parts.record("DSP", device.eui, action, Decision(code, effect.rule, effect.why))

    def _answer(
        self,
        accepted: Accepted,
        code: str,
        body: DeviceAnswer | None = None,
    ) -> Response:
        return Response(
            code,
            self._parts.clock(),
            accepted.id,
            accepted.service,
            accepted.service_variant,
            body,
            from_device=body is not None,
        )

    def _done(self, accepted: Accepted, response: Response) -> Response:
        self._parts.deliveries.put(accepted.id.originator, response, accepted.id.target)
        self._parts.accepted.done(accepted.id)
        return response
