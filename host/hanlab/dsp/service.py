"""The DSP: decides over Service Requests, hands them to the S1SP, keeps SMI and CPL, sends alerts.

```python
acknowledgement = dsp.receive(request)            # I99, or why not; at once
result = await dsp.carry_out(request.id, report)  # what comes of it; also in dsp.deliveries
```

Each decision is one transaction: after a `kill -9` a request was never heard of, or is still there
to be carried out (`unfinished`).
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from hanlab.dsp import alerts, updates
from hanlab.dsp.accepted import Accepted, AcceptedRequests, is_cancellation
from hanlab.dsp.alerts import Alert
from hanlab.dsp.audit import Audit
from hanlab.dsp.authorisation import ACCEPTED, Case, Decision, authorise
from hanlab.dsp.cpl import Cpl, CplEntry, CplStatus
from hanlab.dsp.database import Database
from hanlab.dsp.deliveries import Deliveries, Write
from hanlab.dsp.recovery import Effect, effect_of_activation, effect_of_reading
from hanlab.dsp.service_requests import SUPPLIERS, WebService
from hanlab.dsp.settings import DspSettings, User
from hanlab.dsp.smi import SMETS1, SMETS2, SUSPENDABLE, Smi, SmiDevice, Status
from hanlab.duis.messages import (
    ActivateFirmware,
    AlertBody,
    ChFirmwareNotification,
    DccAlert,
    DevicePreNotification,
    DeviceStatusChanged,
    FirmwareActivated,
    FirmwareDelivered,
    FirmwareDistributionFailure,
    FirmwareVersionMismatch,
    FirmwareVersionRead,
    Inventory,
    InventoryDevice,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    RequestId,
    Response,
    S1spAlert,
    UpdateFirmware,
)
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.service import Report

RETRY_S: Final = 60.0
"""How long the DSP waits for an answer to 11.3 before it sends it again (s); illustrative."""
MANUFACTURER: Final = "manufacturer"
"""The party that lists its products on the CPL (rule 18)."""
MOST_ON_HAN: Final = 17
"""Devices in a Read Inventory response."""
SMETS1_VERSIONS: Final = ("SMETS V1.0", "SMETS V1.1", "SMETS V1.2")
_NO_RESPONSE: Final = "E21"
_NO_CONTACT: Final = "E20"


class S1spDoor(Protocol):
    """What the DSP needs of the S1SP; see `s1sp.installations.Installations`."""

    def hub_of(self, device: Eui) -> Eui | None: ...
    def in_progress(self, device: Eui) -> bool: ...
    def begin(self, devices: Iterable[Eui]) -> None: ...
    def end(self, devices: Iterable[Eui]) -> None: ...
    async def update_firmware(self, image: OtaImage, device: Eui, report: Report) -> Outcome: ...
    async def read_firmware_version(self, device: Eui) -> FirmwareVersionRead: ...
    async def activate_firmware(
        self, hash_: bytes, device: Eui, report: Report
    ) -> FirmwareActivated: ...


class ReplayError(UsageError):
    """A RequestID's counter is not above the last one of its originator."""


class Dsp:
    """`clock` says the civil time, `write` makes the XML of deliveries, `chance` decides over losses."""

    def __init__(
        self,
        database: Database,
        settings: DspSettings,
        s1sp: S1spDoor,
        *,
        clock: Callable[[], datetime],
        write: Write,
        chance: random.Random,
    ) -> None:
        self.settings = settings
        self.cpl = Cpl(database)
        self.smi = Smi(database)
        self.audit = Audit(database)
        self.deliveries = Deliveries(database, write)
        self._accepted = AcceptedRequests(database)
        self._database = database
        self._s1sp = s1sp
        self._clock = clock
        self._chance = chance
        self.lost = 0
        """11.3 responses that never came here (rule 94)."""

    # -- the CPL

    def load(self, entries: Collection[CplEntry], by: str = MANUFACTURER) -> None:
        """Add entries to the CPL, all or none.

        Raises:
            UsageError: `by` is not the manufacturer (rule 18), or an entry is wrong.
        """
        if by != MANUFACTURER:
            raise UsageError(
                f"a {by} cannot list products on the CPL",
                next_step="manufacturers list their own products (rule 18)",
            )
        with self._database.transaction():
            self.cpl.add(*entries)
            for entry in entries:
                self._audit(by, entry, "CPL add", Decision(entry.status, 18, "listed"))

    def withdraw(self, entry: CplEntry, status: CplStatus = CplStatus.WITHDRAWN) -> int:
        """Take an entry off the CPL; how many devices are Suspended with it (rule 78), each with N28."""
        with self._database.transaction():
            self.deliveries.put_for_covered(alerts.SUSPENDED, entry, self._clock())
            suspended = self.cpl.end(entry, status)
            why = f"{updates.counted(suspended)} Suspended"
            self._audit("CPL", entry, "CPL remove", Decision(status, 78, why))
        return suspended

    def expire(self) -> int:
        """Take off the CPL whose last day has passed; how many devices are Suspended with that."""
        due = self.cpl.due(self._clock())
        return sum(self.withdraw(entry, CplStatus.EXPIRED) for entry in due)

    def remember_time(self) -> None:
        """Civil time goes on from here when the DSP is opened again."""
        self.smi.remember_time(self._clock())

    def commission(self, eui: Eui) -> None:
        """Take a device as commissioned: the requests that bring it there are not simulated."""
        with self._database.transaction():
            self.smi.set_status(eui, Status.COMMISSIONED)
            decision = Decision(Status.COMMISSIONED, None, "commissioning is not simulated")
            self._audit("lab", eui, "commissioned", decision)

    # -- a Service Request comes

    def next_counter(self, originator: Eui) -> int:
        """A counter above the last one of that user."""
        return self._last_counter(originator) + 1

    def receive(self, request: Request, service: WebService | None = None) -> Response:
        """Decide over a Service Request; at once.

        Returns I99 if it goes on (then `carry_out` it), I0 with the answer if the DSP has it, or the
        code that refuses it.

        Raises:
            ReplayError: its counter is not above the originator's last one.
            UsageError: the inventory cannot take what a 12.2 says.
        """
        with self._database.transaction():
            user = self.settings.user(request.id.originator)
            if user:
                self._take_counter(request.id)
            device = self.smi.find(request.id.target)
            case = Case(request, user, device, self.settings, self._clock(), service)
            decision = authorise(case)
            body: Inventory | None = None
            if decision.accepted and user:
                decision, body = self._accept(request, user, decision)
            self._audit(request.id.originator, request.id.target, request.service, decision)
        return Response(
            decision.code, case.now, request.id, request.service, request.service_variant, body
        )

    def _accept(
        self, request: Request, user: User, decision: Decision
    ) -> tuple[Decision, Inventory | None]:
        match request.body:
            case ReadInventory(device):
                return self._read_inventory(device)
            case DevicePreNotification():
                self._pre_notify(request.body, user)
            case UpdateFirmware():
                decided = self._accept_update(request, request.body, user)
                code = updates.code_for(request.service, decided.code)
                return replace(decided, code=code), None
            case ReadFirmwareVersion(execution) | ActivateFirmware(execution=execution):
                if is_cancellation(execution):
                    number = self._accepted.cancel(request)
                    why = f"{number} future-dated {request.service} cancelled"
                    return Decision(ACCEPTED, None, why), None
                self._accepted.add(_accepted(request, execution))
            case _:
                self._not_simulated(request)
        return decision, None

    def _accept_update(self, request: Request, body: UpdateFirmware, user: User) -> Decision:
        image = updates.check_image(body, self.cpl)
        if isinstance(image, Decision):
            return image
        devices = updates.sort_devices(
            body,
            user,
            self.smi.find_all(body.devices),
            self.cpl,
            image.manufacturer_image_hash,
            service=request.service,
            secmp0007=self.settings.has_secmp0007(self._clock()),
        )
        busy = [d for d in devices.accepted if self._s1sp.in_progress(d.eui)]
        devices.accepted = [d for d in devices.accepted if d not in busy]
        devices.other_in_progress = [d.eui for d in busy]
        if not devices.accepted:
            return updates.all_left_out(devices)
        wanted = tuple(d.eui for d in devices.accepted)
        self._accepted.add(
            Accepted(
                request.id,
                request.service,
                request.service_variant,
                UpdateFirmware(body.image, body.version, wanted),
                warning=devices.warning,
            )
        )
        self._s1sp.begin(wanted)
        for device in devices.accepted:
            if device.device_type == "CHF":
                note = ChFirmwareNotification(device.eui, body.version, "UpdateRequested")
                self._alert(alerts.CH_REQUESTED, note, device)
        return updates.accepted(devices)

    def _read_inventory(self, eui: Eui) -> tuple[Decision, Inventory | None]:
        device = self.smi.find(eui)
        if device is None:
            return Decision("E19", None, f"{eui} is not in the inventory"), None
        hub = device.hub or (device.eui if device.device_type == "CHF" else None)
        found = self.smi.on_han(hub)[:MOST_ON_HAN] if hub else [device]
        inventory = Inventory(tuple(map(self._inventory_device, found)))
        return Decision("I0", 112, updates.counted(len(found))), inventory

    def _inventory_device(self, device: SmiDevice) -> InventoryDevice:
        entry = self.cpl.entry_of(device)
        return InventoryDevice(
            device=device.eui,
            device_type=device.device_type,
            status=device.status,
            manufacturer=device.manufacturer[:30],
            model=device.model[:30],
            smets_chts_version=device.smets_chts_version,
            firmware_version=device.version,
            cpl_status=entry.status if entry else None,
            import_mpxn=device.import_mpxn,
            s1sp=device.smso,
        )

    def _pre_notify(self, body: DevicePreNotification, user: User) -> None:
        """12.2: the device is in the inventory from now on, Pending (rule 24)."""
        generation = _generation(body)
        listed = [
            e
            for e in self.cpl.of_version(body.firmware_version or "")
            if (e.device_type, e.manufacturer, e.model, e.generation, e.status)
            == (body.device_type, body.manufacturer, body.model, generation, CplStatus.ACTIVE)
        ]
        if body.device_type in SUSPENDABLE and not listed:
            raise UsageError(
                f"{body.manufacturer} {body.model} {body.firmware_version or 'without a version'} is "
                f"not on the CPL as a {generation} {body.device_type}",
                next_step="a bilingual model needs an entry for each generation (rule 15): hanlab cpl",
            )
        self.smi.add(
            SmiDevice(
                eui=body.device,
                device_type=body.device_type,
                manufacturer=body.manufacturer,
                model=body.model,
                hardware=listed[0].hardware if listed else "",
                version=body.firmware_version,
                generation=generation,
                status=Status.PENDING,
                hub=self._s1sp.hub_of(body.device),
                supplier=user.eui if user.roles & SUPPLIERS else None,
                smets_chts_version=body.smets_chts_version,
            )
        )

    def _not_simulated(self, request: Request) -> None:
        """2.2 and 6.23: authorised as they would be, but no board has a prepayment meter or credentials."""
        alert = S1spAlert(
            request.id,
            request.id.target,
            "not simulated",
            f"authorised; hanlab's boards do not carry out {request.service}",
            self._clock(),
        )
        self._tell(request.id.originator, alerts.S1SP, alert, request.id.target)

    # -- and is carried out

    def unfinished(self) -> list[RequestId]:
        """What was acknowledged and is not done: also what an earlier process left behind."""
        return self._accepted.all()

    async def carry_out(self, request: RequestId, report: Report) -> Response | None:
        """Do what was acknowledged with I99; the response, which is in `deliveries` as well.

        None: there is nothing to say besides I99 (8.2, 12.2, an 11.1 that left nobody out; what
        comes of it for each device is in DCC Alerts), or it was cancelled.
        """
        accepted = self._accepted.find(request)
        if accepted is None:
            return None
        if accepted.due:
            await asyncio.sleep(max(0.0, (accepted.due - self._clock()).total_seconds()))
            if self._accepted.find(request) is None:  # cancelled meanwhile
                return None
        match accepted.body:
            case UpdateFirmware():
                return await self._update(accepted, accepted.body, report)
            case ActivateFirmware(hash=hash_):
                return await self._activate(accepted, hash_, report)
            case _:
                return await self._read(accepted)

    async def _update(
        self, accepted: Accepted, body: UpdateFirmware, report: Report
    ) -> Response | None:
        image = OtaImage.from_bytes(body.image)
        self._s1sp.begin(body.devices)
        hans: dict[Eui | None, list[Eui]] = defaultdict(list)
        for device in body.devices:
            hans[self._s1sp.hub_of(device)].append(device)
        try:
            failed = await asyncio.gather(
                *(
                    self._update_han(accepted.id, image, body.version, d, report)
                    for d in hans.values()
                )
            )
        finally:
            self._s1sp.end(body.devices)
        with self._database.transaction():
            if failures := tuple(device for some in failed for device in some):
                note = FirmwareDistributionFailure(accepted.id, failures)
                self._tell(accepted.id.originator, alerts.DISTRIBUTION_FAILURE, note)
            if accepted.warning is None:
                self._accepted.done(accepted.id)
                return None
            response = Response(
                updates.code_for(accepted.service, updates.SOME_LEFT_OUT),
                self._clock(),
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
            why = ""
            try:
                await self._s1sp.update_firmware(image, device, report)
            except ServiceRequestFailed as e:
                failed.append(device)
                why = e.what
                self._failed(request, device, e)
            hub = self._s1sp.hub_of(device)
            if hub:
                now = self._clock()
                note = FirmwareDelivered(request, hub, device, version, now, success=not why)
                kind = alerts.NOT_DELIVERED if why else alerts.DELIVERED
                with self._database.transaction():
                    self._tell(request.originator, kind, note, device)
        return failed

    def _failed(self, request: RequestId, device: Eui, error: ServiceRequestFailed) -> None:
        note = S1spAlert(request, device, str(error.outcome), error.what[:250], self._clock())
        with self._database.transaction():
            self._tell(request.originator, alerts.S1SP, note, device)
            rule = {Outcome.THIRD_PARTY: 25, Outcome.METADATA: 30, Outcome.TOO_LARGE: 4}.get(
                error.outcome
            )
            decision = Decision(str(error.outcome), rule, error.what)
            self._audit("S1SP", device, "failed", decision)

    async def _activate(self, accepted: Accepted, hash_: bytes, report: Report) -> Response:
        """11.3, and again if no answer came: about one in five is lost (rules 86, 91 to 94)."""
        eui = accepted.id.target
        code, answer = _NO_RESPONSE, None
        for attempt in range(self.settings.retries + 1):
            if attempt:
                await asyncio.sleep(RETRY_S)
            try:
                came = await self._s1sp.activate_firmware(hash_, eui, report)
            except ServiceRequestFailed as e:
                code = _NO_CONTACT if e.outcome is Outcome.NO_DEVICE else _NO_RESPONSE
                self._failed(accepted.id, eui, e)
                if e.outcome is not Outcome.NO_ANSWER:
                    break
                continue
            if self._chance.random() < self.settings.lost_responses:
                self.lost += 1
                why = f"the answer of {eui} to 11.3 was lost on its way to the DSP"
                with self._database.transaction():
                    self._audit("S1SP", eui, "11.3", Decision("lost", 86, why))
                continue
            answer = came
            break
        with self._database.transaction():
            if answer is None:
                return self._done(accepted, self._answer(accepted, code))
            if answer.success:
                self._activated(eui, answer, retry=attempt > 0)
            return self._done(accepted, self._answer(accepted, "I0", answer))

    def _activated(self, eui: Eui, answer: FirmwareActivated, *, retry: bool) -> None:
        device = self._device(eui)
        mp105 = self.settings.has_mp105(self._clock())
        entry = self.cpl.entry(device, answer.version)
        effect = effect_of_activation(device, answer.version, entry, retry=retry, mp105=mp105)
        self._apply(device, effect, "11.3 answered")
        if device.device_type == "CHF" and answer.version:
            note = ChFirmwareNotification(eui, answer.version, "ActivationSuccessful")
            self._alert(alerts.CH_ACTIVATED, note, device)

    async def _read(self, accepted: Accepted) -> Response:
        eui = accepted.id.target
        try:
            read = await self._s1sp.read_firmware_version(eui)
        except ServiceRequestFailed as e:
            code = _NO_CONTACT if e.outcome is Outcome.NO_DEVICE else _NO_RESPONSE
            with self._database.transaction():
                self._failed(accepted.id, eui, e)
                return self._done(accepted, self._answer(accepted, code))
        with self._database.transaction():
            if read.version is not None:
                self._version_read(self._device(eui), read.version)
            return self._done(accepted, self._answer(accepted, "I0", read))

    def _version_read(self, device: SmiDevice, version: str) -> None:
        now = self._clock()
        if device.device_type == "GPF":
            gsme = device.gsme and self.smi.find(device.gsme)
            if gsme and gsme.version and gsme.version != version:
                note = FirmwareVersionMismatch(gsme.eui, gsme.device_type, gsme.version, version)
                self._alert(alerts.MISMATCH, note, gsme)
            why = "what a GPF answers changes nothing of its GSME"
            self._audit("DSP", device.eui, "11.2 answered", Decision("I0", 104, why))
            return
        effect = effect_of_reading(
            device,
            version,
            self.cpl.entry(device, version),
            mp105=self.settings.has_mp105(now),
            secmp0007=self.settings.has_secmp0007(now),
        )
        self._apply(device, effect, "11.2 answered")

    def _apply(self, device: SmiDevice, effect: Effect, action: str) -> None:
        """Change the SMI, without any further request (rule 111); N29 where a suspension ends."""
        if effect.version:
            self.smi.set_version(device.eui, effect.version)
        code = "unchanged"
        if effect.restore:
            code = self.smi.restore(device.eui)
            note = DeviceStatusChanged(device.eui, alerts.STATUS_CHANGES[alerts.RESTORED.code])
            self._alert(alerts.RESTORED, note, device)
        elif effect.version:
            code = effect.version
        self._audit("DSP", device.eui, action, Decision(code, effect.rule, effect.why))

    # -- saying it

    def _answer(
        self,
        accepted: Accepted,
        code: str,
        body: FirmwareActivated | FirmwareVersionRead | None = None,
    ) -> Response:
        return Response(
            code,
            self._clock(),
            accepted.id,
            accepted.service,
            accepted.service_variant,
            body,
            from_device=body is not None,
        )

    def _done(self, accepted: Accepted, response: Response) -> Response:
        self.deliveries.put(accepted.id.originator, response, accepted.id.target)
        self._accepted.done(accepted.id)
        return response

    def _alert(
        self,
        alert: Alert,
        body: AlertBody,
        device: SmiDevice,
    ) -> None:
        """Once to each party that the alert's routing names (rule 115)."""
        parties: Iterable[Eui | None] = (getattr(device, party) for party in alert.to)
        for recipient in dict.fromkeys(parties):
            if recipient:
                self._tell(recipient, alert, body, device.eui)

    def _tell(
        self,
        recipient: Eui,
        alert: Alert,
        body: AlertBody,
        device: Eui | None = None,
    ) -> None:
        response = Response("I0", self._clock(), body=DccAlert(alert.code, body))
        self.deliveries.put(recipient, response, device)

    def _audit(self, actor: object, subject: object, action: str, decision: Decision) -> None:
        self.audit.write(
            self._clock(), actor, subject, action, decision.code, decision.rule, decision.why
        )

    def _device(self, eui: Eui) -> SmiDevice:
        device = self.smi.find(eui)
        assert device, "nothing leaves the inventory"
        return device

    # -- counters

    def _take_counter(self, request: RequestId) -> None:
        last = self._last_counter(request.originator)
        if request.counter <= last:
            raise ReplayError(
                f"the counter of {request} is not above {last}, the last one of {request.originator}",
                next_step="each Service Request has a counter of its own, above the one before",
            )
        self._database.sql.execute(
            "INSERT INTO counters VALUES (?1, ?2)"
            " ON CONFLICT (originator) DO UPDATE SET last = excluded.last",
            (request.originator.octets, request.counter.to_bytes(8, "big")),
        )

    def _last_counter(self, originator: Eui) -> int:
        row = self._database.sql.execute(
            "SELECT last FROM counters WHERE originator = ?", (originator.octets,)
        ).fetchone()
        return int.from_bytes(row[0], "big") if row else 0


def _generation(body: DevicePreNotification) -> str:
    """SMETS1 up to "SMETS V1.2", and where 12.2 does not say; which numbers are whose is recalled."""
    return SMETS1 if body.smets_chts_version in (None, *SMETS1_VERSIONS) else SMETS2


def _accepted(request: Request, execution: datetime | None) -> Accepted:
    return Accepted(request.id, request.service, request.service_variant, request.body, execution)
