"""A DSP for tests, with an S1SP of their own in place of boards: they say what devices answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hanlab.dsp.cpl import CplEntry
from hanlab.dsp.database import Database
from hanlab.dsp.service import Dsp
from hanlab.dsp.settings import DSP, DspSettings
from hanlab.dsp.smi import SmiDevice, Status
from hanlab.duis.messages import (
    ActivateFirmware,
    Body,
    CommissionDevice,
    DecommissionDevice,
    DevicePreNotification,
    ReadDeviceLog,
    ReadFirmwareVersion,
    Request,
    RequestId,
    UpdateFirmware,
    UpdateHanDeviceLog,
    UpdateInventory,
)
from hanlab.duis.responses import (
    DeviceLogEntry,
    DeviceLogRead,
    FirmwareActivated,
    FirmwareVersionRead,
    Response,
)
from hanlab.eui import Eui
from hanlab.images import OtaImage, build, made_body
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Report

SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
OTHER_SUPPLIER = Eui.parse("90-B3-D5-1F-30-02-00-00")
NETWORK = Eui.parse("90-B3-D5-1F-30-03-00-00")
HUB = Eui.parse("00-DB-12-34-56-78-90-A2")
ESME = Eui.parse("00-DB-12-34-56-78-90-A0")
GSME = Eui.parse("00-DB-12-34-56-78-90-A1")
GPF = Eui.parse("00-DB-12-34-56-78-90-A3")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")
OTHER_HUB = Eui.parse("00-DB-12-34-56-78-91-A2")
OTHER_PPMID = Eui.parse("00-DB-12-34-56-78-91-A4")
OLD, NEW = "IHDAE05", "IHDAE06"

IMAGE = build(made_body(512, seed=1), device_type="PPMID", version=NEW, for_ch="Secure")
BOTH_SWITCHES_ON = DspSettings()
BOTH_SWITCHES_OFF = DspSettings(mp105=None, secmp0007=None)


def image_for(device_type: str, version: str, for_ch: str = "Secure") -> OtaImage:
    return build(made_body(512, seed=2), device_type=device_type, version=version, for_ch=for_ch)


def entry(device: SmiDevice, version: str, image: OtaImage | None = None) -> CplEntry:
    return CplEntry(
        device.device_type,
        device.manufacturer,
        device.model,
        version,
        image.manufacturer_image_hash if image else None,
        generation=device.generation,
    )


def device(eui: Eui, device_type: str, version: str | None = OLD, **other: Any) -> SmiDevice:
    given = {"manufacturer": "Secure", "model": f"a {device_type}", **other}
    hub = None if device_type == "CHF" else HUB
    return SmiDevice(
        eui,
        device_type,
        version=version,
        **{"hub": hub, "supplier": SUPPLIER, "network_operator": NETWORK, **given},
    )


@dataclass
class Door:
    """The S1SP of the tests: what each device runs, and what goes wrong."""

    hubs: dict[Eui, Eui] = field(default_factory=dict)
    runs: dict[Eui, str] = field(default_factory=dict)
    fails: dict[Eui, ServiceRequestFailed] = field(default_factory=dict)
    says_version: bool = True
    becomes: str = NEW
    """What a device runs after an 11.3."""
    asked: list[tuple[str, Eui]] = field(default_factory=list)
    takes_s: float = 0.0
    whitelist: dict[Eui, tuple[bytes, int]] = field(default_factory=dict)
    """What 8.11 has let onto a HAN: install code, JoinTimePeriod."""

    def hub_of(self, device: Eui) -> Eui | None:
        return self.hubs.get(device)

    def in_progress(self, devices: Iterable[Eui], waiting: Iterable[Eui]) -> set[Eui]:
        busy = {self.hubs.get(d) for d in waiting} - {None}
        return {d for d in devices if self.hubs.get(d) in busy}

    async def update_firmware(self, image: OtaImage, device: Eui, report: Report) -> Outcome:
        self._ask("11.1", device)
        await asyncio.sleep(self.takes_s)
        return Outcome.DISTRIBUTED

    async def add_device(self, hub: Eui, device: Eui, install_code: bytes, join_s: int) -> None:
        self._ask("8.11 Add", device)
        self.whitelist[device] = (install_code, join_s)

    async def remove_device(self, hub: Eui, device: Eui) -> None:
        self._ask("8.11 Remove", device)
        self.hubs.pop(device, None)

    async def device_log(self, hub: Eui) -> DeviceLogRead:
        self._ask("8.9", hub)
        here = [d for d, at in self.hubs.items() if at == hub]
        return DeviceLogRead(tuple(map(DeviceLogEntry, here)))

    async def read_firmware_version(self, device: Eui) -> FirmwareVersionRead:
        self._ask("11.2", device)
        return FirmwareVersionRead(self.runs[device])

    async def activate_firmware(
        self, hash_: bytes, device: Eui, report: Report
    ) -> FirmwareActivated:
        self._ask("11.3", device)
        self.runs[device] = self.becomes
        version = self.becomes if self.says_version else None
        return FirmwareActivated(True, 0, "success", version)

    def _ask(self, service: str, device: Eui) -> None:
        self.asked.append((service, device))
        if device in self.fails:
            raise self.fails[device]


class Office:
    """A DSP with one HAN (and a second one) in its SMI; `send` sends as the supplier."""

    def __init__(
        self,
        settings: DspSettings = BOTH_SWITCHES_ON,
        path: Path | None = None,
        elsewhere: Callable[[], bool] | None = None,
    ) -> None:
        hubs = dict.fromkeys((HUB, ESME, GSME, GPF, PPMID), HUB)
        self.door = Door({**hubs, OTHER_HUB: OTHER_HUB, OTHER_PPMID: OTHER_HUB})
        self.door.runs = dict.fromkeys(self.door.hubs, OLD)
        self.passed = timedelta()
        self.database = Database(path)
        self.written: list[Response] = []
        self.dsp = Dsp(
            self.database,
            settings,
            self.door,
            clock=lambda: datetime(2026, 1, 1, tzinfo=UTC) + self.passed,
            write=self._write,
            chance=random.Random(1),
            elsewhere=elsewhere,
        )

    def _write(self, response: Response) -> bytes:
        self.written.append(response)
        return b"<Response/>"

    def enrol(self, *devices: SmiDevice) -> None:
        self.dsp.smi.add(*devices)
        for d in devices:
            if d.device_type in ("ESME", "GSME", "PPMID", "HCALCS", "CHF") and d.version:
                made = entry(d, d.version)
                if all(e.version != d.version for e in self.dsp.cpl.of_product(made)):
                    self.dsp.load([made])

    def enrol_as(self, eui: Eui, device_type: str) -> None:
        """A device of that type that has been pre-notified."""
        self.enrol(device(eui, device_type, status=Status.PENDING, hub=None))

    def request(self, body: Body, to: Eui = DSP, **other: Any) -> Request:
        service = other.pop("service", _SERVICES.get(type(body), ""))
        user = other.pop("user", SUPPLIER)
        counter = other.pop("counter", None)
        if counter is None:
            counter = self.dsp.next_counter(user)
        variant = other.pop("variant", 8 if to == DSP else 1)
        family = ".".join(service.split(".")[:2])  # 8.7.2 is a variant of 8.7
        return Request(RequestId(user, to, counter), variant, family, service, body)

    def receive(self, body: Body, to: Eui = DSP, **other: Any) -> str:
        """The code of the acknowledgement."""
        return self.dsp.receive(self.request(body, to, **other)).code

    def send(self, body: Body, to: Eui = DSP, **other: Any) -> tuple[str, Response | None]:
        """The code of the acknowledgement, and the result."""
        request = self.request(body, to, **other)
        acknowledgement = self.dsp.receive(request)
        return acknowledgement.code, run(self.dsp.carry_out(request.id, lambda progress: None))

    def status(self, eui: Eui) -> Status:
        found = self.dsp.smi.find(eui)
        assert found
        return found.status

    def version(self, eui: Eui) -> str | None:
        found = self.dsp.smi.find(eui)
        assert found
        return found.version

    def told(self, code: str) -> list[Eui]:
        """Who got that DCC Alert or response code, in order."""
        return [d.recipient for d in self.dsp.deliveries.last(1000) if d.code == code]

    def rule(self) -> int | None:
        """The row that the newest entry of the audit log names."""
        return self.dsp.audit.read(1)[0].rule


def furnished(settings: DspSettings = BOTH_SWITCHES_ON, path: Path | None = None) -> Office:
    """Two HANs; IHDAE06 is on the CPL for PPMIDs, ESMEs and GSMEs, with the hash of `IMAGE`."""
    office = Office(settings, path)
    office.enrol(
        device(HUB, "CHF", "HUB3F0X"),
        device(ESME, "ESME"),
        device(GSME, "GSME"),
        device(GPF, "GPF", gsme=GSME),
        device(PPMID, "PPMID"),
        device(OTHER_HUB, "CHF", "HUB3F0X"),
        device(OTHER_PPMID, "PPMID", hub=OTHER_HUB),
    )
    for eui in (PPMID, ESME, GSME):
        found = office.dsp.smi.find(eui)
        assert found
        office.dsp.load([entry(found, NEW, IMAGE)])
    return office


_SERVICES: dict[type, str] = {
    UpdateFirmware: "11.1",
    ReadFirmwareVersion: "11.2",
    ActivateFirmware: "11.3",
    CommissionDevice: "8.1.1",
    DecommissionDevice: "8.3",
    UpdateInventory: "8.4",
    ReadDeviceLog: "8.9",
    UpdateHanDeviceLog: "8.11",
    DevicePreNotification: "12.2",
}


def suspend(office: Office, eui: Eui = ESME) -> None:
    """Withdraw what that device runs from the CPL."""
    found = office.dsp.smi.find(eui)
    assert found
    office.dsp.withdraw(entry(found, str(found.version)))
    assert office.status(eui) is Status.SUSPENDED


def run(main: Any) -> Any:
    """Run a coroutine with its sleeps passing at once."""

    async def go() -> Any:
        loop = asyncio.get_running_loop()
        skipped = 0.0
        true_time = loop.time

        async def skip() -> None:
            nonlocal skipped
            while True:
                await asyncio.sleep(0)
                later = [h.when() for h in loop._scheduled if not h.cancelled()]  # type: ignore[attr-defined]  # asyncio has no public way to them
                if later:
                    skipped += max(0.0, min(later) - loop.time())

        loop.time = lambda: true_time() + skipped  # type: ignore[method-assign]  # this loop alone
        skipper = asyncio.ensure_future(skip())
        try:
            return await main
        finally:
            skipper.cancel()

    return asyncio.run(go())


def update(*devices: Eui, image: OtaImage = IMAGE, version: str = NEW) -> UpdateFirmware:
    return UpdateFirmware(image.to_bytes(), version, devices)


ACTIVATE = ActivateFirmware(IMAGE.manufacturer_image_hash)
READ = ReadFirmwareVersion()
