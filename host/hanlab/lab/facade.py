"""A `Lab`: the boards on the desk and the Service Requests that reach them.

```python
with Lab.open() as lab:                                  # or Lab.open("lab.toml")
    ppmid = lab.device("PPMID")
    lab.run(lab.update_firmware(image, ppmid))           # 11.1
    lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))     # 11.3
    print(lab.run(lab.read_firmware_version(ppmid)).firmware)               # 11.2
```

Emulated boards are powered on when a lab is opened and off when it is closed; their flash lasts in the
lab's state folder, as a real board's does. Real ones (`port` in lab.toml) are as they are.
"""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from smp.os_management import MemoryPoolStatisticsReadResponse
from smpclient.requests.os_management import MemoryPoolStatisticsRead

from hanlab.bench.board import OFF_US
from hanlab.bench.boards import BenchBoard
from hanlab.dsp.accepted import SUPERSEDING
from hanlab.dsp.deliveries import Delivery
from hanlab.dsp.parts import Notice
from hanlab.dsp.service import Dsp
from hanlab.dsp.settings import User
from hanlab.dsp.smi import Status
from hanlab.duis.messages import Body, Request
from hanlab.errors import HanlabError, UsageError
from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.lab.answers import RETRY_S, Answer, Automation, answered
from hanlab.lab.board_json import install_code
from hanlab.lab.boards import DualControl, lab_keys, network_keys, s1sp_on, wan_client
from hanlab.lab.cables import explain_cable
from hanlab.lab.config import LabConfig, read_lab
from hanlab.lab.counters import BoardReport, Counters, LaneReport, sum_of
from hanlab.lab.desk import Desk
from hanlab.lab.home import Device, Home
from hanlab.lab.homes import HomeConfig
from hanlab.lab.office import DATABASE, Office, open_office, service_request
from hanlab.lab.own_clock import not_in_a_loop, on_its_clock, refuse_unrun
from hanlab.lab.silence import explain_silence
from hanlab.lab.state import lock, state_folder
from hanlab.s1sp.installations import Installation, Installations
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Progress, Report
from hanlab.s1sp.rules import is_tested
from hanlab.s1sp.service import S1sp
from hanlab.s1sp.target import Target
from hanlab.wan.client import NoAnswer, WanClient
from hanlab.wan.errors import WanError
from hanlab.wan.messages import (
    CountersRead,
    EventsRead,
    HanDevice,
    StoreRead,
    StoreReadResponse,
    VersionReadResponse,
)

__all__ = ["Device", "Home", "Lab", "Outcome", "Progress"]

_BOOT_POLL_S: Final = 0.05
_JOIN_POLL_S: Final = 1.0
"""How often a CH is asked whether a device has joined (s); by whom nothing else waits for it, the next."""
_WATCH_S: Final = 3.0
T = TypeVar("T")


def _no_report(progress: Progress) -> None:
    pass


@dataclass(frozen=True)
class Heap:
    """Octets of a board's heap: all of it, free now, and the least that was ever free."""

    total: int
    free: int
    lowest: int


class Lab:
    """Open one with `Lab.open`; use it as a context manager."""

    def __init__(
        self,
        config: LabConfig,
        folder: Path,
        *,
        pcap: Path | None = None,
        firmware: Path | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.pcap = pcap
        self.unrun: list[str] = []
        """Coroutines of it that were made and that nobody ever ran; `run` and the end of a `with` refuse that."""
        self._office: Office | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock(folder)
            try:
                self._opened = self._open_boards(pcap, firmware)
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as e:
            raise _not_writable(e, folder) from None
        dual_control = DualControl(self._boards.keys, folder)
        self.homes = tuple(self._home(home, dual_control) for home in config.homes)
        self.shelf = tuple(map(Device, config.shelf))
        """Devices in no home."""
        self._knows_places = len(config.nodes) == len(config.homes[0].nodes) and all(
            node.joined for node in config.nodes
        )
        self.paced = False
        """Set before the DSP is first asked: an emulated lab keeps the wall clock's time."""
        self.notices: list[Notice] = []
        """What became of requests that earlier commands had left pending."""
        self.while_it_runs: AbstractContextManager[object] = nullcontext()
        """Entered by each `run`; it may be the same one each time."""
        self.on_notice: Callable[[Notice], None] | None = None
        """Called with each of them as it comes."""
        atexit.register(self.close)  # for who did not

    def _home(self, home: HomeConfig, dual_control: DualControl) -> Home:
        wan = wan_client(self._boards, home.hub.name)
        s1sp = s1sp_on(wan, home.hub, dual_control, self.config.join_rounding)
        return Home(home.name, Device(home.hub), tuple(map(Device, home.devices)), s1sp, wan)

    def _open_boards(self, pcap: Path | None, firmware: Path | None) -> Desk:
        keys = lab_keys(self.config, self.folder)
        if pcap and all(home.hub.wired for home in self.config.homes):
            raise UsageError(
                "the boards' HAN is a wire between them, and hanlab hears the air alone that it carries itself",
                next_step="leave --pcap out, or wired = true, with each board on its own cable",
            )
        desk = Desk(self.config, self.folder, keys=keys, pcap=pcap, firmware=firmware)
        desk.power_on()
        return desk

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        state: str | Path | None = None,
        pcap: str | Path | None = None,
        open_wan: bool = False,
        impair: str = "",
    ) -> Self:
        """Open the lab that `path` (a lab.toml) describes; None: one emulated CH with one PPMID.

        `state` is the folder for the boards' flash files and the DSP's memory (default: in `.hanlab`
        beside the file), `pcap` captures the HAN, `open_wan` lets any
        SMP client do everything, as `wan_open = true` in the file does; `impair` spoils wires as
        `--impair` does, e.g. "wan.loss=0.2,han.loss=0.2".

        Raises:
            UsageError: the file is wrong, or another command has the lab.
        """
        file = Path(path) if path is not None else None
        config = read_lab(file).impaired(impair)
        if open_wan:
            config = dataclasses.replace(config, wan_open=True)
        folder = Path(state) if state else state_folder(file, config)
        lab = cls(config, folder, pcap=Path(pcap) if pcap else None)
        if config.is_real and lab.desk.boards:  # real ones do not wait for who is still starting
            try:
                lab.run(lab.all_on())
            except BaseException:
                lab.close()
                raise
        return lab

    @property
    def _boards(self) -> Desk:
        if self._lock < 0:
            raise UsageError(
                "the lab is closed: its boards are off", next_step="Lab.open() opens it again"
            )
        return self._opened

    @property
    def is_open(self) -> bool:
        return self._lock >= 0

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop:
        """The one that its coroutines run on."""
        return self._boards.loop

    def close(self) -> None:
        """Power emulated boards off; their flash stays. Log out at real ones, which stay on."""
        if self._lock < 0:
            return
        not_in_a_loop("close()")
        atexit.unregister(self.close)
        try:
            if self._office:
                self._office.close()
            for home in self.homes:
                if self.config.node(home.hub.name, any_board=True).is_real:
                    self.run(home.wan.close())
            self._opened.close()
        finally:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.close()
        if kind is None:
            refuse_unrun(self)

    def run(self, request: Coroutine[Any, Any, T]) -> T:
        """Run one of the lab's coroutines to its end, on the lab's clock.

        Raises:
            UsageError: the lab is closed, this is called by a coroutine (also of `asyncio.run`), or another one
                of its coroutines was called before and never run.
        """
        try:
            boards = self._boards
            not_in_a_loop("run()")
            refuse_unrun(self)
        except UsageError:
            request.close()  # it will never run, and Python need not say so as well
            raise
        with self.while_it_runs:
            try:
                return boards.run(request)
            except WanError as e:
                explain_silence(e, self.config, self.folder)
                for home in self.homes:  # at a CH's port may be another board
                    explain_cable(e, boards, home.hub.eui)
                raise

    def serve(
        self, ready: Callable[[dict[str, str]], None], tcp: tuple[str, int] | None = None
    ) -> None:
        """Keep the boards up on the wall clock until Ctrl-C, each one's WAN UART on a PTY for any tool.

        `ready` is called as soon as every board answers, with the PTYs' paths by the boards' names. With
        `tcp` they are TCP ports, as `Desk.serve` says.

        Raises:
            UsageError: a TCP port is not to be had.
            BenchError: a board died, or does not answer.
        """
        if self.config.is_real:
            raise UsageError(
                "the lab has real boards, which are up as long as they have power",
                next_step="without port in lab.toml the same lab is emulated",
            )
        with suppress(KeyboardInterrupt):
            desk = self.desk
            self.run(self._everyone_answers())
            desk.serve(ready, tcp)

    @property
    def is_impaired(self) -> bool:
        """Something goes wrong on its wires, as lab.toml or `--impair` wants it."""
        return self.config.wan.any or self.config.han.any

    @property
    def frames_on_air(self) -> int:
        """How many frames the HANs have carried, acknowledgements not counted."""
        return self.desk.air.frames

    @property
    def clock_us(self) -> int:
        """The lab's time in µs: the bench's, which has nothing to do with the wall clock, if it is emulated."""
        return self._boards.clock_us

    # -- its boards

    @property
    def hub(self) -> Device:
        """The CH of a lab of one home.

        Raises:
            UsageError: it has several.
        """
        return self.home().hub

    @property
    def s1sp(self) -> S1sp:
        """The S1SP at the CH of a lab of one home; see `hub`."""
        return self.home().s1sp

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """Every board but the CHs, home by home; those on the shelf last."""
        return (*(device for home in self.homes for device in home.devices), *self.shelf)

    @cached_property
    def boards(self) -> tuple[Device, ...]:
        """Every board, home by home, in each the CH first; those on the shelf last."""
        return (*(d for home in self.homes for d in (home.hub, *home.devices)), *self.shelf)

    def home(self, name: str | None = None) -> Home:
        """The home with that name; without a name the only one.

        Raises:
            UsageError: there is none, or there are several and no name.
        """
        return self.homes[self.config.homes.index(self.config.home(name))]

    def home_of(self, device: Device) -> Home | None:
        """The home on whose HAN the S1SP knows the device to be, its CH among them; None: on none."""
        hub = self.installations.hub_of(device.eui)
        return next((home for home in self.homes if home.hub.eui == hub), None)

    def home_holding(self, device: Device) -> Home:
        """The home whose CH holds images for the device.

        Raises:
            ServiceRequestFailed: it is on no HAN.
        """
        installation, _ = self.installations.find(device.eui)
        return next(h for h in self.homes if h.hub.eui.octets == installation.hub.eui)

    def device(self, name: str) -> Device:
        """The board with that name or EUI-64, or where there is one alone that name without HOME/, or type.

        Raises:
            UsageError: there is none, or there are several.
        """
        wanted = self.config.node(name, any_board=True).name
        return next(d for d in self.boards if d.name == wanted)

    @property
    def untested(self) -> list[Device]:
        """The devices that were never tested together with their CH; they work as they can (rule 149)."""
        homes = [(device, self.home_of(device)) for device in self.devices]
        return [d for d, home in homes if home and not is_tested(d.model, home.hub.model)]

    # -- Service Requests through the DSP

    @property
    def office(self) -> Office:
        """The lab's DSP with what it remembers in `dsp.sqlite`; the lab's boards are enrolled."""
        boards = self._boards
        if self._office is None:
            self._office = open_office(
                self.config,
                self.folder,
                self.installations,
                lambda: boards.clock_us,
                paced=self.paced,
            )
            self._office.dsp.parts.notice = self._notice
        return self._office

    def _notice(self, notice: Notice) -> None:
        self.notices.append(notice)
        if self.on_notice:
            self.on_notice(notice)

    @property
    def dsp(self) -> Dsp:
        return self.office.dsp

    @cached_property
    def installations(self) -> Installations:
        """What the DSP's S1SP serves: this lab's CHs with their HANs."""
        installations = []
        away = {device.eui: device.target for device in self.shelf}
        for home, config in zip(self.homes, self.config.homes, strict=True):
            here = {home.hub.eui: home.hub.target}
            for device, node in zip(home.devices, config.devices, strict=True):
                (here if node.joined else away)[device.eui] = device.target
            if config.gpf and config.gsme:
                here[config.gpf] = Target("GPF", config.gpf.octets, config.gsme.model)
            installations.append(Installation(home.hub.target, home.s1sp, here))
        return Installations(installations, away)

    async def _look_around(self) -> None:
        """Before the first request of a lab in which a device may be elsewhere than lab.toml has it."""
        if not self._knows_places:
            self._knows_places = True
            await self.installations.look()

    @on_its_clock
    async def send(
        self,
        body: Body,
        to: Eui | None = None,
        *,
        user: User | None = None,
        report: Report = _no_report,
    ) -> Answer:
        """Send a Service Request to the DSP as a Service User does, and wait for what comes of it.

        `to` is the device that it is for, None for one to the DSP itself; `user` sends it, by
        default the one who is responsible for the device. A user with `retries` sends an 11.3 that
        nobody answered again, as its system would; the answer is the last one's then.
        """
        automation = Automation(self.dsp.settings)
        sent: list[Delivery] = []
        while True:
            answer = await self._send_once(service_request(self.dsp, body, to, user), report)
            sent += answer.deliveries
            if not automation.sends_again(answer):
                return dataclasses.replace(answer, deliveries=sent)
            await asyncio.sleep(RETRY_S)

    @on_its_clock
    async def send_request(self, request: Request, report: Report = _no_report) -> Answer:
        """Send a Service Request as it is."""
        return await self._send_once(request, report)

    async def _send_once(self, request: Request, report: Report) -> Answer:
        """What is pending and falls due before it is met first, and what has fallen due meanwhile after it."""
        await self._look_around()
        self.dsp.see_joined()
        if request.service not in SUPERSEDING:
            await self.meet_pending()  # not before the others: what they undo is never done
        async with self._due_after():
            return await self._carry_out(request, report)

    async def _carry_out(self, request: Request, report: Report) -> Answer:
        before, audited = self.dsp.deliveries.newest(), self.dsp.audit.newest()
        acknowledgement = self.dsp.receive(request)
        sent = self.dsp.deliveries.after(before)
        await self.dsp.carry_out_before(request.id)
        before = self.dsp.deliveries.newest()
        result = await self.dsp.carry_out(request.id, report)
        sent += self.dsp.deliveries.after(before)
        answer = answered(
            self.dsp, self.config, self.folder, request, acknowledgement, result, sent, audited
        )
        if answer.cause:
            explain_cable(answer.cause, self.desk, request.id.target)
        return answer

    async def watch_joins(self) -> None:
        """Note which whitelisted devices have joined, for as long as it runs: for whoever serves the lab."""
        while True:
            await asyncio.sleep(_WATCH_S)
            waiting = self.dsp.smi.of_status(Status.WHITELISTED)
            for hub in {device.hub for device in waiting if device.hub}:
                await self.installations.look(hub)
            self.dsp.see_joined()

    def install_code(self, device: Device) -> bytes:
        """What stands on a device's label, for 8.11 (its CRC left out)."""
        return install_code(self.config.node(device.name), self._boards.keys)

    @on_its_clock
    async def wait_until_joined(
        self, device: Device, within_s: float, report: Callable[[float], None] = lambda _: None
    ) -> bool:
        """Wait until the CH whose whitelist has the device has it on its HAN; False: it has not come.

        `report` hears the seconds that are left of `within_s`, the time that 8.11 gave it.
        """
        until = asyncio.get_running_loop().time() + within_s
        while (left := until - asyncio.get_running_loop().time()) > 0:
            report(left)
            found = self.dsp.smi.find(device.eui)
            if found is None or found.hub is None:
                return False
            await self.installations.look(found.hub)
            self.dsp.see_joined()
            if self.installations.hub_of(device.eui) == found.hub:
                return True
            await asyncio.sleep(_JOIN_POLL_S)
        self.dsp.see_joined()  # its time is over
        return False

    @on_its_clock
    async def meet_pending(self) -> None:
        """Carry out what is pending and overdue by now, in the order in which it fell due.

        Everything that goes to a device does so first, and once more at its end; `notices` says what
        became of it.
        """
        await self._look_around()
        if self._office or (self.folder / DATABASE).exists():
            await self.dsp.carry_out_due()

    @asynccontextmanager
    async def _due_before_and_after(self, device: Device) -> AsyncIterator[None]:
        await self.meet_pending()
        async with self._due_after():
            try:
                yield
            except ServiceRequestFailed as e:
                explain_silence(e, self.config, self.folder, device.name)
                explain_cable(e, self.desk, device.eui)
                raise

    @asynccontextmanager
    async def _due_after(self) -> AsyncIterator[None]:
        """At the end of this block, also where it failed, what has fallen due meanwhile is met."""
        try:
            yield
        except HanlabError:
            await self.meet_pending()
            raise
        await self.meet_pending()

    # -- Service Requests straight to the S1SP, past the DSP; its own rules hold as they do behind the DSP

    @on_its_clock
    async def update_firmware(
        self, image: OtaImage, device: Device, report: Report = _no_report
    ) -> Outcome:
        """11.1 Update Firmware; see `S1sp.update_firmware`."""
        async with self._due_before_and_after(device):
            return await self._s1sp_of(device).update_firmware(image, device.target, report)

    @on_its_clock
    async def read_firmware_version(self, device: Device) -> VersionReadResponse:
        """11.2 Read Firmware Version: what the device answers."""
        async with self._due_before_and_after(device):
            return await self._s1sp_of(device).read_firmware_version(device.target)

    @on_its_clock
    async def activate_firmware(
        self, hash_: bytes, device: Device, report: Report = _no_report
    ) -> Outcome:
        """11.3 Activate Firmware; see `S1sp.activate_firmware`."""
        async with self._due_before_and_after(device):
            return await self._s1sp_of(device).activate_firmware(hash_, device.target, report)

    @on_its_clock
    async def wait_until_back(self, device: Device) -> VersionReadResponse:
        """The version of a device that restarts, as soon as it answers again."""
        async with self._due_before_and_after(device):
            return await self._s1sp_of(device).wait_until_back(device.target)

    def _s1sp_of(self, device: Device) -> S1sp:
        installation, _ = self.installations.find(device.eui)
        return installation.s1sp

    # -- the Communications Hub

    @on_its_clock
    async def store(self, home: str | None = None) -> StoreReadResponse:
        """What the image store of the CH holds, in a lab of several homes of the CH of that one."""
        return await self.home(home).s1sp.store()

    @on_its_clock
    async def evict(self, image_id: int, home: str | None = None) -> None:
        """Remove an image from the store of the CH (of that home)."""
        await self.home(home).s1sp.evict(image_id)

    @on_its_clock
    async def han_devices(self, home: str | None = None) -> list[HanDevice]:
        """The devices that the CH (of that home) knows on its HAN."""
        return await self.home(home).s1sp.devices()

    # -- the boards

    @property
    def desk(self) -> Desk:
        """The boards with their wires and their air, for whoever wants to disturb them."""
        return self._boards

    def board(self, device: Device) -> BenchBoard:
        """The emulated board itself: its flash, and the faults that it can have.

        Raises:
            UsageError: it is a real one.
        """
        board = self.desk.boards.get(device.name)
        if board is None:
            raise UsageError(
                f"{device.name} is a real board, whose power and flash are out of hanlab's reach",
                next_step="without its port in lab.toml it is emulated",
            )
        return board

    def power_cycle(self, *devices: Device, off_s: float = OFF_US / 1e6, in_s: float = 0.0) -> None:
        """The power of these boards fails in `in_s`, wherever they are, and is back `off_s` later."""
        kernel = self.desk.kernel
        for device in devices:
            cut = partial(self.board(device).cut_power, round(off_s * 1e6))
            kernel.at(kernel.now + round(in_s * 1e6), cut)

    @on_its_clock
    async def all_on(self) -> None:
        """Wait until every emulated board has started."""
        while True:
            if all(board.running for board in self.desk.boards.values()):
                return
            await asyncio.sleep(_BOOT_POLL_S)

    @on_its_clock
    async def store_of(self, device: Device, *, verify: bool = False) -> StoreReadResponse:
        """What a board's own image store holds, asked over that board's own UART.

        `verify` has every image hashed afresh.
        """
        async with self._client(device) as client:
            return await client.read_all(StoreRead, "images", verify=verify or None)

    @on_its_clock
    async def events(self, device: Device) -> list[dict[str, int | str | bytes]]:
        """A board's event log since its start, asked over its own UART: `n`, `t` (ms), `name`, `text` each."""
        events: list[dict[str, int | str | bytes]] = []
        more = True
        async with self._client(device) as client:
            while more:
                answer = await client.read(EventsRead, since=events[-1]["n"] if events else 0)
                events += answer.events
                more = answer.more and bool(answer.events)
        return events

    @on_its_clock
    async def heap(self, device: Device) -> Heap:
        """What MicroPython's heap on a board holds, asked over that board's own UART."""
        async with self._client(device) as client:
            return _heap(await client.read(MemoryPoolStatisticsRead))

    @on_its_clock
    async def counters(self) -> Counters:
        """What happened on the wires and in the boards so far; each board is asked over its own UART.

        Real boards' wires are not counted, nor boards that have no port.
        """
        desk = self.desk
        boards = []
        for device in self.boards:
            if device.name not in desk.ports:
                continue
            async with self._client(device) as client:
                try:
                    read = await client.read(CountersRead)
                    han, wan = read.han, read.wan
                except NoAnswer:
                    han, wan = {}, {}
            board = desk.boards.get(device.name)
            lost = board.lost if board else None
            boards.append(BoardReport(device.name, han, wan, lost))
        lanes = [lane for wire in desk.wires for lane in (wire.to_board, wire.to_host)]
        air = desk.air.lanes.values()
        return Counters(
            lanes=tuple(
                LaneReport(lane.wire, lane.source, lane.sink, dataclasses.replace(lane.counters))
                for lane in (*lanes, *air)
            ),
            client=sum_of([home.wan.counters for home in self.homes]),
            boards=tuple(boards),
        )

    async def _everyone_answers(self) -> None:
        for device in self.boards:
            # without a login, which would let in whoever attaches to the same link next
            client = WanClient(self._boards.ports[device.name])
            await client.connect()
            await client.close()

    @asynccontextmanager
    async def _client(self, device: Device) -> AsyncIterator[WanClient]:
        """A client on that board's own UART."""
        for home in self.homes:
            if device is home.hub:
                yield home.wan
                return
        client = wan_client(self._boards, device.name)
        try:
            yield client
        finally:
            await client.close()

    # -- for captures

    @property
    def network_keys(self) -> dict[str, bytes]:
        """Each HAN's network key, for a capture's key file."""
        return network_keys(self._boards)


def _heap(answer: MemoryPoolStatisticsReadResponse) -> Heap:
    pools = answer.model_dump(exclude={"header", "version", "sequence", "smp_data"})
    pool = pools["heap"]
    octets = pool["blksize"]
    return Heap(pool["nblks"] * octets, pool["nfree"] * octets, pool["min"] * octets)


def _not_writable(error: OSError, folder: Path) -> UsageError:
    in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
    reason = "a file is where a folder has to be" if in_the_way else error.strerror
    return UsageError(
        f"{error.filename or folder} cannot be written: {reason}",
        next_step="check that its folder is there, may be written to and has room",
    )
