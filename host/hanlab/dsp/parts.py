"""What the DSP's parts share: its stores, its settings, and how it tells users what happened."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from hanlab.dsp.accepted import AcceptedRequests
from hanlab.dsp.alerts import S1SP, Alert
from hanlab.dsp.audit import Audit
from hanlab.dsp.authorisation import Decision
from hanlab.dsp.awaited import AwaitedJoins
from hanlab.dsp.cpl import Cpl
from hanlab.dsp.database import Database
from hanlab.dsp.deliveries import Deliveries
from hanlab.dsp.settings import DspSettings
from hanlab.dsp.smi import Smi, SmiDevice
from hanlab.dsp.unanswered import UnansweredActivations
from hanlab.duis.messages import RequestId
from hanlab.duis.responses import (
    AlertBody,
    DccAlert,
    DeviceLogRead,
    FirmwareActivated,
    FirmwareVersionRead,
    Response,
    S1spAlert,
)
from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.s1sp.outcome import Outcome

if TYPE_CHECKING:
    from hanlab.s1sp.progress import Report

_REQUESTS: Final = logging.getLogger("hanlab.requests")


class S1spDoor(Protocol):
    """What the DSP needs of the S1SP; see `s1sp.installations.Installations`."""

    def hub_of(self, device: Eui) -> Eui | None: ...
    def in_progress(self, devices: Iterable[Eui], waiting: Iterable[Eui]) -> set[Eui]: ...
    async def update_firmware(self, image: OtaImage, device: Eui, report: Report) -> Outcome: ...
    async def add_device(self, hub: Eui, device: Eui, install_code: bytes, join_s: int) -> None: ...
    async def remove_device(self, hub: Eui, device: Eui) -> None: ...
    async def device_log(self, hub: Eui) -> DeviceLogRead: ...
    async def read_firmware_version(self, device: Eui) -> FirmwareVersionRead: ...
    async def activate_firmware(
        self, hash_: bytes, device: Eui, report: Report
    ) -> FirmwareActivated: ...


SUPERSEDED: Final = "superseded"
"""How a request ends that a newer one has made void."""


@dataclass(frozen=True)
class Notice:
    """What becomes of a pending request at one of its devices because another one came.

    `end`: "begins" (it falls due first), then its response code; or "superseded", "cancelled", or "E4" after a
    change of supplier.
    """

    request: RequestId
    service: str
    device: Eui
    end: str


@dataclass
class Parts:
    """`clock` says the civil time, `chance` decides over losses."""

    database: Database
    settings: DspSettings
    cpl: Cpl
    smi: Smi
    audit: Audit
    deliveries: Deliveries
    accepted: AcceptedRequests
    unanswered: UnansweredActivations
    awaited: AwaitedJoins
    s1sp: S1spDoor
    clock: Callable[[], datetime]
    chance: random.Random
    notice: Callable[[Notice], None] = lambda _: None
    """Told of what becomes of pending requests, for whoever sent the next one."""
    lost: int = 0
    """11.3 responses that never came to the DSP (rule 94)."""

    @contextmanager
    def transaction(self, *, lasting: bool = True) -> Iterator[None]:
        """See `Database.transaction`; with it stands the time, so that no later one is before it."""
        with self.database.transaction(lasting=lasting):
            yield
            self.smi.remember_time(self.clock())

    def log(self, what: str) -> None:
        """A line for whoever watches requests come and go (`hanlab serve`)."""
        _REQUESTS.info("%s  %s", f"{self.clock():%Y-%m-%d %H:%M:%S}", what)

    def device(self, eui: Eui) -> SmiDevice:
        device = self.smi.find(eui)
        assert device, "what is on a HAN does not leave the inventory"
        return device

    def alert(
        self,
        alert: Alert,
        body: AlertBody,
        device: SmiDevice,
    ) -> None:
        """Once to each party that the alert's routing names (rule 115)."""
        about = self.smi.on_han(device.eui) if alert.han else [device]
        parties: Iterable[Eui | None] = (getattr(d, party) for d in about for party in alert.to)
        for recipient in dict.fromkeys(parties):
            if recipient:
                self.tell(recipient, alert, body, device.eui)

    def tell(
        self,
        recipient: Eui,
        alert: Alert,
        body: AlertBody,
        device: Eui | None = None,
    ) -> None:
        response = Response("I0", self.clock(), body=DccAlert(alert.code, body))
        self.deliveries.put(recipient, response, device)

    def record(
        self,
        actor: object,
        subject: object,
        action: str,
        decision: Decision,
        request: RequestId | None = None,
        next_step: str | None = None,
    ) -> None:
        """Write it into the audit log; see `Entry`."""
        what = (decision.code, decision.rule, decision.why)
        self.audit.write(self.clock(), actor, subject, action, *what, request, next_step)

    def ended(self, request: RequestId, service: str, device: Eui, end: str, why: str) -> None:
        """A request ends before it is carried out; no response code says that, so its user gets an alert."""
        decision = Decision(end, None, f"{request}: {why}")
        self.record("DSP", device, service, decision, request)
        alert = S1spAlert(request, device, end, why[:250], self.clock())
        self.tell(request.originator, S1SP, alert, device)
        self.notice(Notice(request, service, device, end))
