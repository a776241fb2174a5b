"""A device comes to a HAN, stays on it, leaves it, and gets onto another one."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from labs import OTHER_PPMID, make_image

from hanlab.bench.flash import Effect, Operation
from hanlab.bench.mac import BEACON, COMMAND, DATA, mac_header
from hanlab.bench.pcap import wireshark_folder
from hanlab.lab import desk
from hanlab.lab.board_json import board_json, install_code
from hanlab.lab.boards import wan_client
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.desk import Desk
from hanlab.s1sp.hub import Hub
from hanlab.wan.client import WanClient
from hanlab.wan.errors import Refused
from hanlab.wan.messages import (
    CountersRead,
    DevicesRead,
    DevicesReadResponse,
    Distribute,
    EventsRead,
    Join,
    Leave,
    NetworkRead,
    ProgressRead,
    StoreRead,
    VersionRead,
)

T = TypeVar("T")
PPMID = DEFAULT["device"][0]
HUB = DEFAULT["comms_hub"]
ONE, TWO = "one/hub", "two/hub"
ASSOCIATION_REQUEST = 1


class Street:
    """Two homes with nobody on their HANs, and a PPMID on the shelf. Only what a test switches on has power."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        pcap: Path | None = None,
        shelf: Sequence[dict[str, Any]] = (PPMID,),
    ) -> None:
        homes = [
            {"name": "one", "comms_hub": HUB},
            {"name": "two", "comms_hub": {**HUB, "eui": "00-DB-12-34-56-78-91-A2"}},
        ]
        self.config = make_lab("street", {"seed": seed, "home": homes, "device": list(shelf)})
        self.desk = Desk(self.config, folder, pcap=pcap)
        self.node = self.config.node("PPMID")
        self.eui = self.node.eui.octets
        self.code = install_code(self.node, self.desk.keys)
        self._clients: dict[str, WanClient] = {}
        self.on_air: list[tuple[int, bytes]] = []
        self.desk.air.capture(lambda when, psdu: self.on_air.append((when, psdu)))

    def on(self, *names: str) -> None:
        for name in names:
            self.desk.boards[name].power_on()

    def off(self, name: str) -> None:
        self.desk.boards[name].power_off()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return self.desk.run(main)

    def client(self, name: str) -> WanClient:
        if name not in self._clients:
            self._clients[name] = wan_client(self.desk, name)
        return self._clients[name]

    def join(self, hub: str, minutes: int = 1, **changed: Any) -> None:
        fields = {"eui": self.eui, "code": self.code, "type": "PPMID", "steps": 2, **changed}
        self.run(self.client(hub).write(Join, minutes=minutes, **fields))

    def leave(self, hub: str, eui: bytes | None = None) -> None:
        self.run(self.client(hub).write(Leave, eui=eui or self.eui))

    def devices(self, hub: str) -> DevicesReadResponse:
        return self.run(self.client(hub).read(DevicesRead))

    def states(self, hub: str) -> list[str]:
        return [d.state for d in self.devices(hub).devices]

    def events(self, board: str) -> list[str]:
        answer = self.run(self.client(board).read(EventsRead, since=0))
        return [" ".join(str(e[k]) for k in ("name", "text")).strip() for e in answer.events]

    def network(self) -> str:
        """What the PPMID says of its network."""
        return self.run(self.client("PPMID").read(NetworkRead)).state

    def dropped(self, board: str) -> dict[str, int]:
        """What a board dropped on the HAN, by why."""
        han = self.run(self.client(board).read(CountersRead)).han
        return {why: n for why, n in han.items() if n and why not in ("rx", "tx", "unsent")}

    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def wait_for(self, is_so: Callable[[], bool], seconds: float = 60) -> None:
        """Until it is so, looked at each second."""
        for _ in range(int(seconds)):
            if is_so():
                return
            self.wait(1)
        on = [name for name, board in self.desk.boards.items() if board.running]
        raise AssertionError("\n".join(f"{name}: {self.events(name)}" for name in on))

    def wait_until_joined(self, hub: str, seconds: float = 60) -> None:
        def is_joined() -> bool:
            (device,) = self.devices(hub).devices
            return device.state == "joined" and device.seen

        self.wait_for(is_joined, seconds)


@pytest.fixture
def open_street(tmp_path: Path) -> Iterator[Callable[..., Street]]:
    """Open the two homes; the same `folder` is the same boards."""
    streets: list[Street] = []

    def open_(folder: str = "street", **fields: Any) -> Street:
        streets.append(Street(tmp_path / folder, **fields))
        return streets[-1]

    yield open_
    for street in streets:
        street.desk.close()


@pytest.fixture
def street(open_street: Callable[..., Street]) -> Street:
    return open_street()


def joined(street: Street, hub: str = ONE) -> Street:
    """The PPMID has joined, and stays there."""
    street.on(hub, "PPMID")
    street.join(hub)
    street.wait_until_joined(hub)
    street.wait(1)
    return street


# -- a join


def test_a_device_joins_where_it_is_on_the_whitelist(street: Street) -> None:
    street.on(ONE, TWO, "PPMID")
    street.wait(3)
    assert street.states(ONE) == []
    street.join(ONE)
    assert street.devices(ONE).open_ms > 59_000
    assert street.states(ONE) == ["whitelisted"]
    street.wait_until_joined(ONE)
    (device,) = street.devices(ONE).devices
    assert (device.eui, device.type, device.address) == (street.eui, "PPMID", 1)
    assert "joined PAN 5331" in street.events("PPMID")
    assert street.states(TWO) == []


def test_it_stays_joined_without_power(street: Street) -> None:
    joined(street)
    for name in (ONE, "PPMID"):
        street.off(name)
    street.on(ONE, "PPMID")
    street.wait_until_joined(ONE, 10)
    assert street.devices(ONE).open_ms == 0, "the window is in RAM"
    assert not any(event.startswith("let in") for event in street.events("PPMID"))


needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None and os.environ.get("CI") != "true",
    reason="tshark is not installed",
)


@needs_tshark
def test_wireshark_reads_the_whole_join_and_leave(
    open_street: Callable[..., Street], tmp_path: Path
) -> None:
    pcap = tmp_path / "join.pcap"
    street = joined(open_street(pcap=pcap))
    street.leave(ONE)
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(wireshark_folder(pcap))}

    def tshark(*options: str) -> list[str]:
        command = ["tshark", "-r", str(pcap), *options]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return run.stdout.splitlines()

    infos = [info for info in tshark("-T", "fields", "-e", "_ws.col.Info") if info != "Ack"]
    shown = [info.split(",")[0] for info in infos]
    at = shown.index("Beacon")
    assert shown[at : at + 6] == [
        "Beacon",
        "Association Request",
        "Data Request",
        "Association Response",
        "Data Request",
        "Transport Key",
    ]
    assert set(shown[:at]) == {"Beacon Request"}
    assert "Device Announcement" in shown
    assert shown.count("Leave") == 2, "to go, and that it goes"
    assert tshark("-Y", "_ws.malformed || _ws.expert || _ws.short") == []
    secured = tshark("-Y", "zbee_nwk.security == 1 || zbee_aps.security == 1")
    opened = tshark("-Y", "zbee.sec.key")
    assert opened == secured != []
    key = street.desk.keys.network(0).octets.hex(":")
    (carried,) = tshark("-Y", "zbee_aps.cmd.id == 5", "-T", "fields", "-e", "zbee_aps.cmd.key")
    assert carried.replace(":", "") == key.replace(":", "")


def test_same_seed_same_join(open_street: Callable[..., Street]) -> None:
    one, two = (joined(open_street(folder)).on_air for folder in ("a", "b"))
    assert one == two != []


def test_who_may_join_is_not_on_the_han_yet(street: Street) -> None:
    """For the S1SP as well, which finds a device by the CH's table."""
    street.on(ONE, "PPMID")
    s1sp = Hub(street.client(ONE), street.config.node(ONE).model)
    street.join(ONE)
    assert street.run(s1sp.devices()) == []
    street.wait_until_joined(ONE)
    assert [device.eui for device in street.run(s1sp.devices())] == [street.eui]


# -- who may not


def test_another_install_code_opens_nothing(street: Street) -> None:
    street.on(ONE, "PPMID")
    street.join(ONE, code=bytes(16))
    street.wait(59)
    assert street.states(ONE) == ["joining"], "it was let in, and got a key that it cannot open"
    street.wait(8)
    assert street.states(ONE) == []
    assert "join refused PAN 5331 has another install code for it" in street.events("PPMID")
    assert "not joined 00-DB-12-34-56-78-90-A4" in street.events(ONE)
    assert not any(event.startswith(("let in", "joined")) for event in street.events("PPMID"))


def test_who_is_not_on_the_whitelist_is_refused(street: Street) -> None:
    """A window that is open for another device is none for this one."""
    other = bytes(8)
    street.on(ONE, "PPMID")
    street.join(ONE, eui=other)
    street.wait(30)
    assert [(d.eui, d.state) for d in street.devices(ONE).devices] == [(other, "whitelisted")]
    assert "join refused PAN 5331, status 0x02" in street.events("PPMID")
    why = "join refused 00-DB-12-34-56-78-90-A4: it may not, or no longer"
    assert street.events(ONE).count(why) == 1, "though it asked more often"


def test_one_window_is_open_while_another_is_closed(street: Street) -> None:
    street.on(ONE, TWO, "PPMID")
    street.join(TWO)
    assert street.devices(ONE).open_ms == 0
    street.wait_until_joined(TWO)
    beacons = {psdu[3:5] for _, psdu in street.on_air if mac_header(psdu).kind == 0}
    assert beacons == {0x5332.to_bytes(2, "little")}


def association(street: Street) -> int:
    """When the PPMID's first Association Request was on the air (µs)."""
    return next(
        when
        for when, psdu in street.on_air
        if mac_header(psdu).command(psdu) == ASSOCIATION_REQUEST
    )


@pytest.mark.rule(52)
@pytest.mark.parametrize("late_s", [-1, 1])
def test_a_second_decides(open_street: Callable[..., Street], late_s: int) -> None:
    """Two minutes are 120 s: one who asks in the second before is in, one in the second after is not."""
    measured = open_street("measured")
    measured.on(ONE)
    measured.join(ONE, 2)
    measured.on("PPMID")
    start = measured.desk.clock_us
    measured.wait_until_joined(ONE)
    asks_after_s = (association(measured) - start) / 1e6
    street = open_street("late")
    street.on(ONE)
    street.join(ONE, 2)
    # another device's window keeps the beacons coming
    street.join(ONE, 3, eui=bytes(8))
    left = next(d for d in street.devices(ONE).devices if d.eui == street.eui)
    assert left.state == "whitelisted"
    street.wait(120 + late_s - asks_after_s)
    street.on("PPMID")
    street.wait(20)
    states = {d.eui: d.state for d in street.devices(ONE).devices}
    assert states.get(street.eui) == ("joined" if late_s < 0 else None)
    assert any(e.startswith("join refused") for e in street.events("PPMID")) is (late_s > 0)


def test_no_minutes_and_too_many_are_bad_requests(street: Street) -> None:
    street.on(ONE)
    wrong: list[dict[str, Any]] = [
        {"minutes": 0},
        {"minutes": 61},
        {"code": bytes(5)},
        {"code": bytes(17)},
        {"type": ""},
        {"steps": 3},
        {"eui": bytes(7)},
        {"eui": street.config.node(ONE).eui.octets},
    ]
    for changed in wrong:
        with pytest.raises(Refused, match="BAD_REQUEST"):
            street.join(ONE, changed.pop("minutes", 1), **changed)
    assert street.states(ONE) == []


# -- leaving and moving


def test_a_device_that_leaves_is_gone_on_both_sides(street: Street) -> None:
    joined(street)
    street.leave(ONE)
    assert street.states(ONE) == []
    street.wait(2)
    assert street.events("PPMID")[-1] == "left"
    for name in (ONE, "PPMID"):
        street.off(name)
    street.on(ONE, "PPMID")
    street.wait(20)
    assert street.states(ONE) == []
    with pytest.raises(Refused, match="NO_DEVICE"):
        street.leave(ONE)


def test_a_device_on_two_whitelists_joins_one_of_them(street: Street) -> None:
    street.on(ONE, TWO)
    for hub in (ONE, TWO):
        street.join(hub)
    street.on("PPMID")
    street.wait(30)
    assert sorted(street.states(ONE) + street.states(TWO)) == ["joined", "whitelisted"]
    street.wait(40)
    assert street.states(ONE) + street.states(TWO) == ["joined"]


def test_a_device_that_is_being_updated_stays_until_the_end(street: Street) -> None:
    joined(street)
    image = make_image(8192)

    async def update() -> None:
        hub = street.client(ONE)
        async with aclosing(hub.upload(image.to_bytes())) as upload:
            async for _ in upload:
                pass
        hash_ = image.manufacturer_image_hash
        await hub.write(Distribute, eui=street.eui, hash=hash_)
        with pytest.raises(Refused, match="BUSY"):
            await hub.write(Leave, eui=street.eui)
        await asyncio.sleep(20)
        assert (await hub.read(ProgressRead)).state == "done"
        assert len((await hub.read(StoreRead)).images) == 1
        await hub.write(Leave, eui=street.eui)
        assert not (await hub.read(StoreRead)).images, "nobody on this HAN waits for it any more"

    street.run(update())
    assert street.states(ONE) == []


def test_a_device_that_was_off_when_it_was_removed_finds_another_home(street: Street) -> None:
    joined(street)
    street.off("PPMID")
    street.leave(ONE)
    assert street.states(ONE) == []
    street.on(TWO, "PPMID")
    street.wait(10)
    assert street.dropped(ONE).keys() <= {"unknown", "foreign"}
    assert street.states(ONE) == [], "it has the key, and is in no table"
    street.join(TWO, 3)
    street.wait_until_joined(TWO, 120)


def nonces(street: Street, pan: int) -> dict[bytes, set[bytes]]:
    """The nonce (EUI-64, counter, level) of each frame under the network key of that PAN, and what was sent with it."""
    sent: dict[bytes, set[bytes]] = {}
    for _, psdu in street.on_air:
        header = mac_header(psdu)
        if header.kind == DATA and header.to_pan == pan and psdu[10] & 2:
            sent.setdefault(psdu[22:30] + psdu[18:22] + psdu[17:18], set()).add(psdu)
    return sent


def no_nonce_comes_twice(street: Street, pan: int) -> bool:
    """But for a frame that is sent again octet for octet."""
    return all(len(frames) == 1 for frames in nonces(street, pan).values())


def test_there_and_back_again(street: Street) -> None:
    """Under no network key a nonce comes twice, whenever the device is back on it."""
    street.on(TWO)
    joined(street)
    for hub, before in ((TWO, ONE), (ONE, TWO), (TWO, ONE)):
        street.leave(before)
        street.join(hub)
        street.wait_until_joined(hub)
        assert street.states(before) == []
        assert not any(e.startswith("frame counters") for e in street.events("PPMID")[-4:])
    for pan in (0x5331, 0x5332):
        assert len(nonces(street, pan)) > 10
        assert no_nonce_comes_twice(street, pan)


def test_a_device_whose_ch_is_gone_for_good_is_taken_in_next_door(street: Street) -> None:
    joined(street)
    street.off(ONE)
    street.on(TWO)
    street.off("PPMID")
    street.on("PPMID")
    street.join(TWO, 5)
    street.wait(40)
    assert street.states(TWO) == ["whitelisted"], "its CH may come back"
    street.wait_until_joined(TWO, 120)


# -- what does not go through


def test_a_recorded_join_leads_nowhere(street: Street) -> None:
    """The CH's half is played to the device, which gives its trial up; the device's half to the CH, which knows it."""
    joined(street)
    from_hub = [psdu for _, psdu in street.on_air if _is_from_hub(psdu)]
    from_device = [psdu for _, psdu in street.on_air if not _is_from_hub(psdu)]
    street.leave(ONE)
    street.off(ONE)
    street.wait(5)
    beacon = next(p for p in from_hub if mac_header(p).kind == BEACON)
    response = next(p for p in from_hub if mac_header(p).command(p) == 2)
    key = next(p for p in from_hub if mac_header(p).kind == DATA and not p[10] & 2)

    def play(when: int, psdu: bytes) -> None:
        answer = {7: beacon, 4: response}.get(mac_header(psdu).command(psdu) or 0)
        if answer == response and isinstance(mac_header(psdu).sender, int):
            answer = key
        if answer:
            street.desk.kernel.at(when + 3000, lambda: street.desk.air.transmit(answer))

    street.desk.air.capture(play)
    street.wait(60)
    events = street.events("PPMID")
    assert events.count("let in PAN 5331") > 1, "it takes a recorded key"
    assert events.count("joined PAN 5331") == 1, "and no CH that proves nothing"
    street.on(TWO)
    street.off("PPMID")
    street.on(ONE)
    street.join(ONE)
    for psdu in from_device:
        street.desk.air.transmit(psdu)
        street.wait(0.05)
    street.wait(1)
    assert street.states(ONE) == ["joining"]
    street.wait(65)
    assert street.states(ONE) == []


def _is_from_hub(psdu: bytes) -> bool:
    header = mac_header(psdu)
    return header.sender in (0, bytes.fromhex("00DB1234567890A2"))


# -- a full table


@pytest.fixture
def small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each CH has a place for one device."""

    def small(*args: Any) -> dict[str, Any]:
        contents = board_json(*args)
        contents["model"]["devices"] = 1
        return contents

    monkeypatch.setattr(desk, "board_json", small)


@pytest.mark.usefixtures("small_tables")
def test_a_full_table_lets_nobody_in(open_street: Callable[..., Street]) -> None:
    """Two may come, and one has: the other one is told so on the air, and over the WAN who wants to let it in again."""
    street = open_street(shelf=(PPMID, OTHER_PPMID))
    other = street.config.node("OTHER")
    code = install_code(other, street.desk.keys)
    street.on(ONE, "PPMID")
    street.join(ONE)
    street.join(ONE, 2, eui=other.eui.octets, code=code)
    street.wait_for(lambda: street.states(ONE) == ["joined", "whitelisted"])
    street.on("OTHER")
    street.wait(30)
    assert street.states(ONE) == ["joined", "whitelisted"]
    assert "join refused PAN 5331, status 0x01" in street.events("OTHER")
    assert "join refused 00-DB-12-34-56-78-90-A5: the device table is full" in street.events(ONE)
    with pytest.raises(Refused, match="FULL"):
        street.join(ONE, eui=other.eui.octets, code=code)
    street.join(ONE)
    street.wait(100)
    assert street.states(ONE) == ["joined"]
    street.leave(ONE)
    street.join(ONE, eui=other.eui.octets, code=code)
    street.wait_until_joined(ONE)


# -- a power cut


class Cuts:
    """Joins of the PPMID to the first home, each cut short, from where the frames and flash work of it begin."""

    def __init__(self, street: Street, side: str) -> None:
        self.street = street
        self.board = street.desk.boards[side]
        self.frames = self.operations = 0
        self.at_frame = self.at_operation = 0
        self.how = Effect.CUT_TORN
        street.on(ONE, "PPMID")
        street.desk.air.capture(self._hear)
        self.board.flash.fault = self._fault

    def _hear(self, when: int, psdu: bytes) -> None:
        header = mac_header(psdu)
        if header.command(psdu) == ASSOCIATION_REQUEST:
            self.frames = self.operations = 0
        if header.kind in (DATA, COMMAND):
            self.frames += 1
            if self.frames == self.at_frame:
                self.at_frame = 0
                self.street.desk.kernel.at(when + 2_000, self.board.cut_power)

    def _fault(self, operation: Operation) -> Effect:
        self.operations += 1
        if self.operations != self.at_operation:
            return Effect.DONE
        self.at_operation = 0
        return self.how

    def join(self, *, frame: int = 0, operation: int = 0) -> tuple[str, str]:
        """What the CH says of the PPMID after it, and the PPMID itself; who has joined is sent away again."""
        street = self.street
        self.at_frame, self.at_operation = frame, operation
        street.wait(1)
        street.join(ONE)
        street.wait(70)
        (state,) = street.states(ONE) or ["none"]
        end = state, street.network()
        self.at_frame = self.at_operation = 0
        if state == "joined":
            street.run(street.client(ONE).read(VersionRead, work_s=6, eui=street.eui))
            street.leave(ONE)
        return end


GOOD_ENDS = {("joined", "joined"), ("none", "none"), ("none", "trial")}
"""A device counts itself in only where the CH has it in its table. A CH that has lost its window forgets whom it let
in; the device is on trial there, and goes on looking around."""


@pytest.mark.parametrize("side", [ONE, "PPMID"])
def test_a_power_cut_leaves_nothing_half_joined(street: Street, side: str) -> None:
    """At each frame of a join from the association's answer on."""
    cuts = Cuts(street, side)
    ends = [cuts.join(frame=frame) for frame in range(3, 11)]
    assert set(ends) <= GOOD_ENDS
    assert ("joined", "joined") in ends
    assert cuts.join() == ("joined", "joined")
    assert no_nonce_comes_twice(street, 0x5331)


@pytest.mark.parametrize("side", [ONE, "PPMID"])
def test_flash_work_that_is_cut_leaves_nothing_half_joined(street: Street, side: str) -> None:
    """A share of it: all of it is 20 operations on the CH, 26 on the PPMID."""
    cuts = Cuts(street, side)
    ends = [cuts.join(operation=operation) for operation in range(1, 21, 3)]
    assert set(ends) <= GOOD_ENDS
    assert cuts.join() == ("joined", "joined")
    assert no_nonce_comes_twice(street, 0x5331)
