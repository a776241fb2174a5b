"""A test's handle of the DSP: Service Requests as a Service User sends them, the SMI, the alerts that went out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from hanlab.dsp.smi import SmiDevice, Status
from hanlab.duis.messages import ActivateFirmware, Body, ReadFirmwareVersion, UpdateFirmware
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.hil.asserts import assert_number, assert_same, listed
from hanlab.hil.boards import Board
from hanlab.images import OtaImage
from hanlab.lab.answers import Answer
from hanlab.lab.config import some
from hanlab.lab.enrolment import product
from hanlab.lab.office import DATABASE

if TYPE_CHECKING:
    from hanlab.dsp.service import Dsp as RealDsp
    from hanlab.dsp.settings import User
    from hanlab.hil.lab import Lab


@dataclass(frozen=True)
class SentAlert:
    """A DCC Alert that went to a Service User (`to`, by name), about a device (by its name) if about one."""

    code: str
    to: str
    device: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S}  {self.code}  to {self.to}  {self.device}".rstrip()


class Dsp:
    """The DSP of the test's lab; `facade` is the `hanlab.dsp.service.Dsp` itself."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._before = 0

    @property
    def facade(self) -> RealDsp:
        return self.lab.facade.dsp

    def begin(self) -> None:
        """Alerts are counted from here."""
        there = (self.lab.facade.folder / DATABASE).exists()
        self._before = self.facade.deliveries.newest() if there else 0

    # -- Service Requests

    def send(self, body: Body, to: Board | Eui | None = None, *, user: str = "") -> Answer:
        """Send a Service Request, and wait for what comes of it; a refusal is an answer as any other.

        `to` is the device it is for, None for one to the DSP itself; `user` sends it, by default
        the one who is responsible for the device.

        Raises:
            UsageError: there is no such user.
        """
        __tracebackhide__ = True
        eui = to.eui if isinstance(to, Board) else to
        report = self.lab.wire.progressed
        return self.lab.run(self.lab.facade.send(body, eui, user=self._user(user), report=report))

    def _user(self, name: str) -> User | None:
        users = self.facade.settings.users
        found = next((user for user in users if user.name == name), None)
        if name and found is None:
            raise UsageError(
                f"this lab has no Service User {name!r}",
                next_step=f"it has {some([user.name for user in users])}",
            )
        return found

    def put_on_cpl(self, image: OtaImage, board: Board) -> None:
        """List the image for the board's Device Model, as its manufacturer does before an 11.1.

        Raises:
            UsageError: its version is listed with another hash.
        """
        __tracebackhide__ = True
        hash_ = image.manufacturer_image_hash
        self.facade.load([product(board.model, image.version, hash_)])

    def withdraw(self, version: str) -> int:
        """Take a version off the CPL; how many devices are Suspended by that."""
        __tracebackhide__ = True
        return sum(map(self.facade.withdraw, self.facade.cpl.of_version(version)))

    def update(self, image: OtaImage, *boards: Board, user: str = "") -> Answer:
        """11.1 Update Firmware to these boards."""
        __tracebackhide__ = True
        euis = tuple(board.eui for board in boards)
        return self.send(UpdateFirmware(image.to_bytes(), image.version, euis), user=user)

    def activate(self, image: OtaImage, board: Board, *, user: str = "") -> Answer:
        """11.3 Activate Firmware."""
        __tracebackhide__ = True
        return self.send(ActivateFirmware(image.manufacturer_image_hash), board, user=user)

    def read_version(self, board: Board, *, user: str = "") -> Answer:
        """11.2 Read Firmware Version."""
        __tracebackhide__ = True
        return self.send(ReadFirmwareVersion(), board, user=user)

    # -- what it knows and what it said

    def smi(self, board: Board) -> SmiDevice:
        """The SMI's record of a board.

        Raises:
            UsageError: it has none.
        """
        __tracebackhide__ = True
        found = self.facade.smi.find(board.eui)
        if found is None:
            raise UsageError(
                f"{board.name} ({board.eui}) is not in the SMI",
                next_step="a 12.2 pre-notifies it: dsp.send(DevicePreNotification(…))",
            )
        return found

    @property
    def alerts(self) -> tuple[SentAlert, ...]:
        """The DCC Alerts that went out since the test began."""
        __tracebackhide__ = True
        names = {board.eui: board.name for board in self.lab.boards}
        users = {user.eui: user.name for user in self.facade.settings.users}
        return tuple(
            SentAlert(
                sent.code,
                users.get(sent.recipient, str(sent.recipient)),
                names.get(sent.device, str(sent.device)) if sent.device else "",
                sent.at,
            )
            for sent in self.facade.deliveries.after(self._before)
            if sent.request is None
        )

    # -- asserts

    def assert_code(self, answer: Answer, code: str) -> None:
        """A Service Request ended with that response code; if not, the DSP's reason and the cause are said."""
        __tracebackhide__ = True
        why = [answer.decision.why] if answer.decision else []
        why += [answer.cause.what] if answer.cause else []
        what = f"the response code of {answer.request.reference}"
        assert_same(what, answer.code, code, listed(why, "no reason is known"))

    def assert_status(self, board: Board, status: Status | str) -> None:
        """The SMI has the board with that DeviceStatus.

        Raises:
            UsageError: it does not have the board, or there is no such status.
        """
        __tracebackhide__ = True
        if str(status) not in list(Status):
            raise UsageError(
                f"there is no DeviceStatus {status!r}", next_step=f"one of {', '.join(Status)}"
            )
        record = self.smi(board)
        besides = f"; it runs {record.version}" if record.version else ""
        assert_same(f"the SMI's status of {board.name}", record.status, status, besides)

    def assert_version(self, board: Board, version: str) -> None:
        """The SMI has the board with that firmware version.

        Raises:
            UsageError: it does not have the board.
        """
        __tracebackhide__ = True
        record = self.smi(board)
        assert_same(
            f"the SMI's version of {board.name}",
            record.version,
            version,
            f"; it is {record.status}",
        )

    def assert_alert(
        self, code: str, board: Board | None = None, *, to: str = "", times: int | None = None
    ) -> None:
        """A DCC Alert with that code went out since the test began: at least once, or so many `times`.

        `board` and `to` (a user's name): about that board, to that user.
        """
        __tracebackhide__ = True
        sent = self.alerts
        about = "" if board is None else board.name
        found = [
            alert
            for alert in sent
            if alert.code == code and about in ("", alert.device) and to in ("", alert.to)
        ]
        said = code + (f" about {about}" if about else "") + (f" to {to}" if to else "")
        bounds = (None, 1) if times is None else (times, None)
        assert_number(f"alerts {said}", len(found), "times", *bounds, besides=_shown(sent))

    def assert_no_alert(self) -> None:
        """Nobody was sent any since the test began."""
        __tracebackhide__ = True
        sent = self.alerts
        assert_number("alerts", len(sent), "sent", 0, besides=_shown(sent))


def _shown(alerts: Iterable[SentAlert]) -> str:
    return listed(map(str, alerts), "none went out")
