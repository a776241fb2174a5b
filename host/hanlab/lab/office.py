"""The office of a lab: its DSP with the database, with the boards beside it or without them.

`hanlab inventory`, `cpl` and `alerts` need no board; a `Lab` opens its office with its boards' S1SP.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanlab.dsp.database import Database
from hanlab.dsp.service import Dsp
from hanlab.dsp.settings import DSP, NEW_YEAR, User
from hanlab.duis.messages import (
    ActivateFirmware,
    Body,
    CommissionDevice,
    DecommissionDevice,
    DevicePreNotification,
    JoinService,
    ReadDeviceLog,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    RequestId,
    TopUpDevice,
    UnjoinService,
    UpdateFirmware,
    UpdateHanDeviceLog,
    UpdateInventory,
    UpdateSecurityCredentials,
    service_of,
)
from hanlab.duis.responses import Response
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.lab.config import LabConfig
from hanlab.lab.enrolment import enrol
from hanlab.lab.state import is_in_use
from hanlab.s1sp.installations import Installations

if TYPE_CHECKING:
    from hanlab.duis.pki import Pki

DATABASE: Final = "dsp.sqlite"
PKI: Final = "pki"
"""The folder of a lab's test keys."""

_SERVICES: Final = {
    UpdateFirmware: "11.1",
    ReadFirmwareVersion: "11.2",
    ActivateFirmware: "11.3",
    TopUpDevice: "2.2",
    UpdateSecurityCredentials: "6.23",
    CommissionDevice: "8.1.1",
    ReadInventory: "8.2",
    DecommissionDevice: "8.3",
    UpdateInventory: "8.4",
    JoinService: "8.7.2",
    UnjoinService: "8.8.2",
    ReadDeviceLog: "8.9",
    UpdateHanDeviceLog: "8.11",
    DevicePreNotification: "12.2",
}
"""By the body, the service or its variant; one that is critical is of the variant before."""
_TO_DSP: Final = frozenset({"8.2", "8.3", "8.4", "11.1", "12.2"})


@dataclass
class Office:
    """A DSP and its database; close it, so that the lab's civil time goes on from here."""

    dsp: Dsp
    database: Database
    remember: Callable[[], None]

    def close(self) -> None:
        try:
            self.remember()
        finally:
            self.database.close()


def open_office(
    config: LabConfig,
    folder: Path,
    installations: Installations | None = None,
    clock_us: Callable[[], int] = lambda: 0,
    *,
    paced: bool = False,
) -> Office:
    """The DSP of the lab whose state is in `folder`, its devices enrolled.

    `clock_us` is the lab's clock (µs since it was opened): civil time goes on with it from where the
    last command of this lab left it. With real boards, and where an emulated lab is `paced` by the wall
    clock, it is the computer's, unless lab.toml has another `start` or the lab is ahead of it already.
    """

    @cache
    def pki() -> Pki:  # as soon as something has to be signed
        return open_pki(folder / PKI, config)

    def write(response: Response) -> bytes:  # lists write none, and start without lxml
        from hanlab.duis.pki import S1SP_NAME
        from hanlab.duis.writing import write_response

        return write_response(response, lambda: pki().signers[S1SP_NAME])

    folder.mkdir(parents=True, exist_ok=True)
    database = Database(folder / DATABASE)
    opened = datetime.now(UTC) - timedelta(microseconds=clock_us())
    began = config.dsp.start or (opened if config.is_real or paced else NEW_YEAR)
    dsp = Dsp(
        database,
        config.dsp,
        installations or Installations([]),
        clock=lambda: began + timedelta(microseconds=clock_us()),
        write=write,
        chance=random.Random(f"{config.seed} lost responses"),
        elsewhere=None if installations else partial(is_in_use, folder),
    )
    began = max(began, dsp.smi.last_time() or began)
    enrol(dsp, config)
    dsp.expire()
    return Office(dsp, database, dsp.remember_time)


def open_pki(folder: Path, config: LabConfig) -> Pki:
    """The lab's test keys; made if there are none yet, all of them or none."""
    from hanlab.duis.pki import provision, read_pki

    if not folder.exists():
        aside = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            provision(aside, parties(config))
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return read_pki(folder)


def parties(config: LabConfig) -> list[tuple[str, Eui]]:
    """Who signs messages in a lab."""
    from hanlab.duis.pki import DSP_NAME, S1SP, S1SP_NAME

    users = [(user.name, user.eui) for user in config.dsp.users]
    return [*users, (DSP_NAME, DSP), (S1SP_NAME, S1SP)]


def service_request(
    dsp: Dsp, body: Body, to: Eui | None = None, user: User | None = None
) -> Request:
    """A Service Request as a SMETS1 Service User sends it, with the next counter of that user.

    Raises:
        UsageError: nobody is named who could send it.
    """
    reference = _SERVICES[type(body)]
    if isinstance(body, JoinService | UnjoinService) and body.critical:
        reference = reference.replace(".2", ".1")
    service = service_of(reference)
    about = to or _about(body)
    sender = user or _responsible(dsp, about)
    target = DSP if service in _TO_DSP or to is None else to
    variant = 8 if service in _TO_DSP else 1
    id_ = RequestId(sender.eui, target, dsp.next_counter(sender.eui))
    return Request(id_, variant, service, reference, body)


def _about(body: Body) -> Eui | None:
    match body:
        case UpdateFirmware(devices=devices) if devices:
            return devices[0]
        case (
            ReadInventory(device)
            | DevicePreNotification(device=device)
            | DecommissionDevice(device)
            | UpdateInventory(device)
        ):
            return device
        case _:
            return None


def _responsible(dsp: Dsp, about: Eui | None) -> User:
    """Who is responsible for that device; a supplier, if the SMI does not say."""
    device = about and dsp.smi.find(about)
    eui = (device and device.supplier) or dsp.settings.with_role("IS")
    user = eui and dsp.settings.user(eui)
    if not user:
        raise UsageError(
            "no Service User of this lab is a supplier", next_step='[[user]] with roles = ["IS"]'
        )
    return user


def named_user(dsp: Dsp, name: str) -> User:
    """The Service User with that name or EUI-64.

    Raises:
        UsageError: there is none.
    """
    for user in dsp.settings.users:
        if name.lower() == user.name.lower() or name.upper() == str(user.eui):
            return user
    known = ", ".join(u.name for u in dsp.settings.users)
    raise UsageError(f"this lab has no Service User {name!r}", next_step=f"it has {known}")
