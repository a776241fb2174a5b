"""Strangers: on the HAN, on the WAN, and with half an authorisation. They change nothing, and it shows."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import signal
import struct
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cbor2
import pytest
from intruder import body, inject, session_of
from labs import OpenDesk, OpenLab, in_vm, make_image
from smp.error import MGMT_ERR
from smp.header import Header
from smp.image_management import ImageUploadWriteRequest
from smpclient import SMPClient
from smpclient.exceptions import SMPUploadError
from smpclient.generics import error_v1, success
from smpclient.requests.image_management import ImageErase, ImageStatesRead, ImageUploadWrite
from smpclient.requests.os_management import EchoWrite, MCUMgrParametersRead, ResetWrite
from smpclient.transport.serial import SMPSerialTransport
from test_smp_client import BOOT_S, BenchSerial

from hanlab.bench.board import HAN
from hanlab.bench.radio import cobs_encode, fcs16
from hanlab.cli import main
from hanlab.keys import LabKeys, Secret
from hanlab.lab import Lab, Outcome
from hanlab.lab.boards import DualControl, s1sp_on, wan_client
from hanlab.lab.config import DEFAULT
from hanlab.lab.desk import Desk
from hanlab.s1sp.authority import Authorisation, OriginatorCounter
from hanlab.s1sp.dco import Dco, activation
from hanlab.s1sp.outcome import ServiceRequestFailed
from hanlab.s1sp.service import S1sp
from hanlab.s1sp.target import Target
from hanlab.wan.auth import TRIES, Credentials
from hanlab.wan.client import Refused, WanClient
from hanlab.wan.errors import AccessDenied, FalseBoard
from hanlab.wan.framing import FRAMINGS
from hanlab.wan.messages import (
    Activate,
    CountersRead,
    Distribute,
    EventsRead,
    HanError,
    LimitsReadResponse,
    StoreRead,
)

EUI = bytes.fromhex("00db1234567890a4")
"""The PPMID's."""
T = TypeVar("T")
IDLE_S = 61.0
"""After so long without a write a login has run out."""


# -- WAN: a client that knows nothing of hanlab


def converse(
    monkeypatch: pytest.MonkeyPatch,
    desk: Desk,
    conversation: Callable[[SMPClient], Awaitable[None]],
    board: str = "hub",
) -> None:
    """Run `conversation` with an unmodified SMP client on that board's UART."""
    monkeypatch.setattr(
        "smpclient.transport.serial.common.Serial", lambda **_: BenchSerial(desk, board)
    )

    async def connected() -> None:
        await asyncio.sleep(BOOT_S)
        async with SMPClient(SMPSerialTransport(), board) as client:
            await conversation(client)

    desk.run(connected())


@pytest.mark.parametrize("board", ["hub", "PPMID"])
def test_standard_client_may_read_and_echo_on_a_closed_wan(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch, board: str
) -> None:
    desk = open_desk()
    before = in_vm(desk.boards[board]).steps

    async def attempt(client: SMPClient) -> None:
        assert success(await client.request(MCUMgrParametersRead()))
        echo = await client.request(EchoWrite(d="Hello"))
        assert success(echo)
        assert echo.r == "Hello"
        refused = await client.request(ResetWrite())
        assert error_v1(refused)
        assert refused.rc is MGMT_ERR.EACCESSDENIED
        await asyncio.sleep(1)
        assert success(await client.request(EchoWrite(d="it has not restarted")))
        if board == "hub":
            await attempt_images(client)

    async def attempt_images(client: SMPClient) -> None:
        refused = await client.request(ImageErase(slot=1))
        assert error_v1(refused)
        assert refused.rc is MGMT_ERR.EACCESSDENIED
        with pytest.raises(SMPUploadError) as failed:
            async for _ in client.upload(make_image().to_bytes()):
                pass
        assert f"rc={MGMT_ERR.EACCESSDENIED:d}" in str(failed.value)
        state = await client.request(ImageStatesRead())
        assert success(state)
        assert state.images == []

    converse(monkeypatch, desk, attempt, board)
    assert in_vm(desk.boards[board]).steps > before


def test_standard_client_may_upload_where_the_lab_declares_it(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_image()

    async def upload(client: SMPClient) -> None:
        async for _ in client.upload(image.to_bytes()):
            pass
        state = await client.request(ImageStatesRead())
        assert success(state)
        assert [i.hash for i in state.images] == [image.file_hash]
        assert success(await client.request(ResetWrite()))

    converse(monkeypatch, open_desk(wan_open=True), upload)


# -- WAN: keys


def stranger(desk: Desk, key: Secret | None = None, board: str = "hub") -> WanClient:
    """A client with another key than the board's, or with none."""
    eui = desk.config.node(board).eui.octets
    return WanClient(
        desk.ports[board], credentials=key and Credentials(eui, key, desk.entropy.randbytes)
    )


async def _alone(
    client: WanClient, attempt: Callable[[WanClient], Awaitable[T]], other: WanClient | None = None
) -> T:
    """Let `client` try something; nobody else, such as `other`, takes its answers from the wire."""
    if other:
        await other.close()
    try:
        return await attempt(client)
    finally:
        await client.close()


def test_client_without_a_key_is_told_what_to_do(open_desk: OpenDesk) -> None:
    desk = open_desk()
    client = stranger(desk)
    assert desk.run(client.read(StoreRead)).used == 0
    octets = make_image().to_bytes()
    for attempt in (
        lambda: client.write(ImageErase, slot=1),
        lambda: client.write(Distribute, eui=EUI, hash=bytes(32)),
        lambda: _all(client.upload(octets)),
    ):
        with pytest.raises(AccessDenied) as denied:
            desk.run(attempt())
        assert "EACCESSDENIED" in denied.value.what
        assert "wan_open = true" in denied.value.next_step
    wan = desk.run(client.read(CountersRead)).wan
    assert (wan["wrong_key"], wan["logins"], wan["denied"]) == (0, 0, 3)
    store = desk.run(client.read(StoreRead))
    assert (store.used, store.reserved, store.partial) == (0, 0, None)


def test_wrong_key_is_refused_and_counted(open_desk: OpenDesk) -> None:
    desk = open_desk()
    for wrong in (
        Secret(bytes(32)),
        desk.keys.dco,
        desk.keys.wan(EUI),  # another board's
        LabKeys(2).wan(desk.config.hub.eui.octets),  # another lab's
    ):
        with pytest.raises(AccessDenied, match="provisioned with another key"):
            desk.run(_alone(stranger(desk, wrong), WanClient.connect))
    right = wan_client(desk, "hub")
    wan = desk.run(right.read(CountersRead)).wan
    assert (wan["wrong_key"], wan["logins"], wan["denied"]) == (4 * TRIES, 1, 0)
    assert desk.run(right.write(ImageErase, slot=_uploaded(desk, right))) is not None


def _uploaded(desk: Desk, client: WanClient) -> int:
    desk.run(_all(client.upload(make_image().to_bytes())))
    return desk.run(client.read(StoreRead)).images[0].id


async def _all(offsets: Any) -> list[int]:
    return [off async for off in offsets]


class FalseHub:
    """A board that answers whatever is wanted, and does not know the key."""

    octets_s = 10_000.0

    def __init__(self, *, claims_open: bool, mac: bytes = bytes(32)) -> None:
        self._claims_open = claims_open
        self._mac = mac
        self._framing = FRAMINGS["cobs"]()
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.asked: list[tuple[int, int]] = []

    def write(self, octets: bytes) -> None:
        self._framing.feed(octets)
        while (message := self._framing.take()) is not None:
            group, command = struct.unpack_from(">HxB", message, 4)
            self.asked.append((group, command))
            body = cbor2.dumps(
                {
                    (0, 6): {"buf_size": 512, "buf_count": 1},
                    (0x5331, 7): dict.fromkeys(LimitsReadResponse.__annotations__, 1000),
                    (0x5331, 10): {"nonce": bytes(16), "open": self._claims_open},
                    (0x5331, 11): {"mac": self._mac},
                }.get((group, command), {})
            )
            head = bytes((message[0] + 1, 0)) + struct.pack(">H", len(body)) + message[4:8]
            for part in self._framing.encode(head + body):
                self._answers.put_nowait(part)

    async def read(self) -> bytes:
        return await self._answers.get()


@pytest.mark.parametrize("claims_open", [False, True])
def test_false_board_is_found_out_before_anything_is_sent_to_it(claims_open: bool) -> None:
    """Also one that says its WAN is open: what the lab says counts."""
    key = Secret(bytes(range(32)))
    hub = FalseHub(claims_open=claims_open)
    client = WanClient(hub, credentials=Credentials(EUI, key))

    async def attempt() -> None:
        try:
            with pytest.raises(
                FalseBoard, match="does not know the key of 00-DB-12-34-56-78-90-A4"
            ):
                await client.write(ImageErase, slot=1)
        finally:
            await client.close()

    asyncio.run(attempt())
    assert hub.asked == [(0, 6), (0x5331, 10), (0x5331, 11)]


def test_false_board_cannot_send_back_what_it_got() -> None:
    """A reflected MAC is none: the two sides' labels differ."""

    class Mirror(FalseHub):
        def write(self, octets: bytes) -> None:
            framing = FRAMINGS["cobs"]()
            framing.feed(octets)
            message = framing.take()
            assert message is not None
            if message[7] == 11:
                self._mac = cbor2.loads(message[Header.SIZE :])["mac"]
            super().write(octets)

    client = WanClient(Mirror(claims_open=False), credentials=Credentials(EUI, Secret(bytes(32))))

    async def attempt() -> None:
        try:
            with pytest.raises(FalseBoard):
                await client.connect()
        finally:
            await client.close()

    asyncio.run(attempt())


# -- WAN: a login that has ended


def test_login_that_has_run_out_is_renewed(open_desk: OpenDesk) -> None:
    desk = open_desk()
    client = wan_client(desk, "hub")
    slot = _uploaded(desk, client)
    desk.run(asyncio.sleep(IDLE_S))
    with pytest.raises(AccessDenied):
        desk.run(_alone(stranger(desk), lambda s: s.write(ImageErase, slot=slot), client))
    desk.run(client.write(ImageErase, slot=slot))
    assert desk.run(client.read(StoreRead)).used == 0


def test_login_is_gone_after_a_restart_and_renewed(open_desk: OpenDesk) -> None:
    desk = open_desk()
    client = wan_client(desk, "hub")
    slot = _uploaded(desk, client)
    desk.boards["hub"].power_off()
    desk.boards["hub"].power_on()
    desk.run(asyncio.sleep(BOOT_S))
    with pytest.raises(AccessDenied):
        desk.run(_alone(stranger(desk), lambda s: s.write(ImageErase, slot=slot), client))
    desk.run(client.write(ImageErase, slot=slot))


def test_upload_goes_on_when_the_hub_restarts_in_it(open_desk: OpenDesk) -> None:
    desk = open_desk()
    client = wan_client(desk, "hub")
    image = make_image(64 * 1024)
    octets = image.to_bytes()

    async def upload() -> list[int]:
        offsets: list[int] = []
        async for off in client.upload(octets):
            if off > 40_000 and max(offsets, default=0) <= 40_000:
                desk.boards["hub"].power_off()
                desk.boards["hub"].power_on()
            offsets.append(off)
        return offsets

    assert desk.run(upload())[-1] == len(octets)
    assert [i.sha for i in desk.run(client.read(StoreRead)).images] == [image.file_hash]


# -- 11.3: dual control


@dataclasses.dataclass
class House:
    """A lab whose CH has handed an image to its PPMID: all but 11.3 is done."""

    desk: Desk
    folder: Path
    wan: WanClient
    s1sp: S1sp
    hash: bytes

    def activate(self, authorisation: Authorisation, eui: bytes = EUI, **fields: Any) -> str:
        """What the CH says to an 11.3: "" or why it refused."""
        given = vars(authorisation) | fields
        with pytest.raises(Refused) as refused:
            self.desk.run(self.wan.write(Activate, eui=eui, hash=self.hash, **given))
        assert (refused.value.group, refused.value.rc) == (0x5331, HanError.REFUSED)
        event = self.desk.run(self.wan.read(EventsRead, since=0)).events[-1]
        assert event["name"] == "11.3 refused"
        return str(event["text"])

    def signed(self, counter: int, eui: bytes = EUI, hash_: bytes | None = None) -> Authorisation:
        """An authorisation that both have signed."""
        covered = activation(eui, hash_ or self.hash, counter)
        key = self.desk.keys.wan(self.desk.config.hub.eui.octets)
        return Authorisation(counter, key.mac(covered), self.desk.keys.dco.mac(covered))

    @property
    def target(self) -> Target:
        node = self.desk.config.devices[0]
        return Target(node.name, node.eui.octets, node.model)

    def version(self) -> str:
        return self.desk.run(self.s1sp.wait_until_back(self.target)).firmware

    def run_11_3(self) -> Outcome:
        return self.desk.run(self.s1sp.activate_firmware(self.hash, self.target, lambda _: None))


@pytest.fixture
def house(open_desk: OpenDesk, tmp_path: Path) -> House:
    desk = open_desk()
    return _house(desk, tmp_path / "lab")


def _house(desk: Desk, folder: Path) -> House:
    wan = wan_client(desk, "hub")
    s1sp = s1sp_on(wan, desk.config.hub, DualControl(desk.keys, folder))
    image = make_image(2000)
    made = House(desk, folder, wan, s1sp, image.manufacturer_image_hash)
    desk.run(s1sp.wait_until_back(made.target))
    desk.run(s1sp.update_firmware(image, made.target, lambda _: None))
    return made


def test_either_mac_alone_is_refused_and_logged(house: House) -> None:
    good = house.signed(1)
    assert house.activate(good, dco_mac=bytes(32)) == "the DCO's MAC is wrong"
    assert house.activate(good, dco_mac=good.mac) == "the DCO's MAC is wrong"
    assert house.activate(good, mac=bytes(32)) == "the S1SP's MAC is wrong"
    assert house.activate(good, mac=good.dco_mac) == "the S1SP's MAC is wrong"
    assert house.version() == "IHDAE05"
    assert house.run_11_3() is Outcome.ACTIVATED
    assert house.version() == "IHDAE06"


def test_mac_that_is_missing_is_refused_and_logged(house: House) -> None:
    good = house.signed(1)
    for mac, who in (("mac", "S1SP"), ("dco_mac", "DCO")):
        fields = {k: v for k, v in vars(good).items() if k != mac}
        message = cbor2.dumps({"eui": EUI, "hash": house.hash, **fields})
        head = struct.pack(">BBHHBB", 0x0A, 0, len(message), 0x5331, 200, 4)
        octets = session_of(house.wan).seal(head + message)
        (answer,) = house.desk.run(inject(house.desk, house.wan, octets))
        assert body(answer) == {"err": {"group": 0x5331, "rc": HanError.REFUSED}}
        event = house.desk.run(house.wan.read(EventsRead, since=0)).events[-1]
        assert event["text"] == f"the {who}'s MAC is missing"
    assert house.version() == "IHDAE05"


def test_another_devices_or_images_authorisation_is_refused(house: House) -> None:
    other = bytes.fromhex("00db1234567890ff")
    assert house.activate(house.signed(1, eui=other)) == "the S1SP's MAC is wrong"
    assert house.activate(house.signed(1, hash_=bytes(32))) == "the S1SP's MAC is wrong"
    assert house.activate(house.signed(1), counter=2) == "the S1SP's MAC is wrong"
    for mixed in (house.signed(1, eui=other), house.signed(1, hash_=bytes(32)), house.signed(2)):
        half = house.signed(1)
        assert house.activate(half, dco_mac=mixed.dco_mac) == "the DCO's MAC is wrong"
    assert house.version() == "IHDAE05"


def test_authorisation_is_good_once_also_after_a_restart(house: House) -> None:
    used = house.signed(5)
    house.desk.run(house.wan.write(Activate, eui=EUI, hash=house.hash, **vars(used)))
    house.desk.run(asyncio.sleep(5))
    assert house.version() == "IHDAE06"
    assert house.activate(used) == "counter 5 is not above 5"
    assert house.activate(house.signed(4)) == "counter 4 is not above 5"
    house.desk.boards["hub"].power_off()
    house.desk.boards["hub"].power_on()
    house.desk.run(asyncio.sleep(BOOT_S))
    assert house.activate(used) == "counter 5 is not above 5"


def test_dual_control_holds_on_an_open_wan_as_well(open_desk: OpenDesk, tmp_path: Path) -> None:
    house = _house(open_desk(wan_open=True), tmp_path / "lab")
    good = house.signed(1)
    assert house.activate(good, dco_mac=bytes(32)) == "the DCO's MAC is wrong"
    assert house.activate(good, mac=bytes(32)) == "the S1SP's MAC is wrong"
    assert house.version() == "IHDAE05"
    assert house.run_11_3() is Outcome.ACTIVATED


def test_user_is_told_which_check_failed(house: House) -> None:
    authority = house.s1sp._authority
    authority._dco = Dco(Secret(bytes(32)))
    with pytest.raises(ServiceRequestFailed) as failed:
        house.run_11_3()
    assert failed.value.outcome is Outcome.NOT_AUTHORISED
    assert "the DCO's MAC is wrong" in failed.value.what
    assert house.version() == "IHDAE05"


def test_dco_keeps_its_own_log(house: House) -> None:
    house.run_11_3()
    line = f"11.3 {EUI.hex('-').upper()} counter 1 hash {house.hash.hex()}\n"
    assert (house.folder / "dco.log").read_text() == line


def test_counters_grow_over_sessions_and_survive_their_loss(house: House) -> None:
    """A CH that another laptop has used knows a higher counter; a new CH knows none."""
    assert house.run_11_3() is Outcome.ACTIVATED
    house.version()
    counter = house.folder / "originator_counter"
    assert counter.read_text() == "1\n"
    house.desk.run(house.wan.write(Activate, eui=EUI, hash=house.hash, **vars(house.signed(70))))
    house.desk.run(asyncio.sleep(5))
    s1sp = s1sp_on(house.wan, house.desk.config.hub, DualControl(house.desk.keys, house.folder))
    house.desk.run(s1sp.activate_firmware(house.hash, house.target, lambda _: None))
    assert counter.read_text() == "71\n"
    far = ("9" * 18, "9" * 19, str(2**63 - 1), str(2**64 - 1), "9" * 5000, "-5", "\u0663", "7 8")
    for content in ("", "x", "\xff", *far[1:]):
        counter.write_text(content)
        assert OriginatorCounter(counter).after(71) == 72
        assert counter.read_text() == "72\n"
    counter.write_text(far[0])
    assert OriginatorCounter(counter).after(71) == 10**18
    counter.write_text("72\n")
    assert OriginatorCounter(counter).after(0) == 73, "what was authorised once never counts again"
    counter.unlink()
    assert OriginatorCounter(counter).after(71) == 72


@pytest.mark.parametrize("accepted", [2**63 - 1, 2**64 - 1, 2**70, -1])
def test_no_counter_is_above_the_last_one(accepted: int) -> None:
    """On an open WAN anybody may say for the CH what it has accepted."""
    with pytest.raises(ServiceRequestFailed, match="none above") as failed:
        OriginatorCounter().after(accepted)
    assert failed.value.outcome is Outcome.NOT_AUTHORISED
    assert OriginatorCounter().after(2**63 - 2) == 2**63 - 1


# -- HAN


@pytest.fixture
def heard(open_desk: OpenDesk) -> list[bytes]:
    """What a stranger has recorded of another HAN with the same PAN, addresses and EUI-64s."""
    frames: list[bytes] = []
    other = open_desk(folder="other", seed=2)
    other.air.capture(lambda _, psdu: frames.append(psdu))
    house = _house(other, other.boards["hub"].flash.path.parent)
    house.run_11_3()
    return _data_frames(frames)


COUNTER, EUI_AT = 18, 22  # of a frame's NWK frame counter and of the EUI-64 behind it
BY_LOT = 1 << 31
"""From here on counters are those of challenges, which prove nothing by their counter (test_counters.py)."""
HIGH = 1 << 30
"""Above all that a board comes to."""


def _data_frames(frames: list[bytes]) -> list[bytes]:
    return [f for f in frames if len(f) > 40 and struct.unpack_from("<I", f, COUNTER)[0] < BY_LOT]


MAC_SOURCE, NWK_SOURCE = 7, 13


def _with(frame: bytes, at: int, octets: bytes) -> bytes:
    changed = frame[:at] + octets + frame[at + len(octets) : -2]
    return changed + struct.pack("<H", fcs16(changed))


def _inject(desk: Desk, frame: bytes) -> None:
    """On the air, for everyone to hear."""

    def land() -> None:
        for board in desk.boards.values():
            in_vm(board).deliver(HAN, cobs_encode(frame) + b"\0")

    desk.kernel.at(desk.kernel.now + 1000, land)
    desk.run(asyncio.sleep(0.05))


def _counters(house: House) -> dict[str, dict[str, int]]:
    """What each board has counted on its HAN; `house` has the CH's UART to itself again after it."""
    read = {}
    house.desk.run(house.wan.close())
    for name in house.desk.boards:
        client = stranger(house.desk, board=name)
        read[name] = house.desk.run(_alone(client, lambda c: c.read(CountersRead))).han
    return read


def _dropped(house: House, frame: bytes) -> list[str]:
    """Why each board dropped the frame; nothing was accepted or sent because of it."""
    before = _counters(house)
    _inject(house.desk, frame)
    reasons = []
    for name, after in _counters(house).items():
        changed = {k: after[k] - n for k, n in before[name].items() if after[k] != n}
        assert len(changed) == 1, changed
        reason, count = changed.popitem()
        assert count == 1
        assert reason not in ("rx", "tx")
        reasons.append(reason)
    return reasons


def _to(address: int, frames: list[bytes]) -> list[bytes]:
    return [f for f in frames if struct.unpack_from("<H", f, 5)[0] == address]


def test_frames_under_another_key_are_dropped_and_counted(house: House, heard: list[bytes]) -> None:
    """Their counters are high enough, everything else in them is right."""
    tried = 0
    for frame in heard[-20:]:
        high = struct.pack("<I", HIGH | tried)
        reasons = _dropped(house, _with(frame, COUNTER, high))
        assert "mic" in reasons, "the addressee checks it"
        assert set(reasons) <= {"mic", "foreign", "unknown"}
        tried += 1
    assert tried == 20
    assert house.version() == "IHDAE05"


def test_replayed_frames_are_dropped_and_counted(open_desk: OpenDesk, tmp_path: Path) -> None:
    """Octet for octet what was sent before, also the 11.3 itself, and also after a restart."""
    desk = open_desk()
    frames: list[bytes] = []
    desk.air.capture(lambda _, psdu: frames.append(psdu))
    house = _house(desk, tmp_path / "lab")
    recorded = _data_frames(frames)
    for frame in (recorded[0], *recorded[-20:]):
        assert set(_dropped(house, frame)) <= {"replay", "foreign", "unknown"}
    assert any("replay" in _dropped(house, frame) for frame in _to(1, recorded)[-3:])
    assert house.run_11_3() is Outcome.ACTIVATED
    assert house.version() == "IHDAE06"
    for frame in _to(1, _data_frames(frames))[-30:]:
        assert sorted(_dropped(house, frame)) == ["foreign", "replay"], "the PPMID has restarted"
    assert house.version() == "IHDAE06"


def test_replay_after_a_power_cut_changes_nothing(open_desk: OpenDesk, tmp_path: Path) -> None:
    """A board may have forgotten the newest counters then; what it takes again does nothing."""
    desk = open_desk()
    frames: list[bytes] = []
    desk.air.capture(lambda _, psdu: frames.append(psdu))
    house = _house(desk, tmp_path / "lab")
    recorded = _data_frames(frames)
    store = house.desk.run(house.wan.read(StoreRead))
    for board in desk.boards.values():
        board.power_off()
        board.power_on()
    desk.run(asyncio.sleep(BOOT_S))
    for frame in recorded:
        _inject(desk, frame)
    assert house.version() == "IHDAE05"
    again = house.desk.run(house.wan.read(StoreRead))
    assert (again.images, again.free) == (store.images, store.free)
    assert house.run_11_3() is Outcome.ACTIVATED
    assert house.version() == "IHDAE06"


def test_forged_sources_are_dropped_and_counted(house: House) -> None:
    frames: list[bytes] = []
    house.desk.air.capture(lambda _, psdu: frames.append(psdu))
    house.version()
    genuine = _to(1, _data_frames(frames))[-1]
    fresh = _with(genuine, COUNTER, struct.pack("<I", HIGH))
    stranger_eui = bytes.fromhex("00db1234567890ff")[::-1]
    assert sorted(_dropped(house, _with(fresh, EUI_AT, stranger_eui))) == ["foreign", "forged"]
    unknown = _with(_with(fresh, MAC_SOURCE, b"\x77\x00"), NWK_SOURCE, b"\x77\x00")
    assert sorted(_dropped(house, unknown)) == ["foreign", "unknown"]
    assert sorted(_dropped(house, fresh)) == ["foreign", "mic"], "the MIC covers the counter"
    for at in range(30, len(genuine) - 2, 7):
        altered = _with(fresh, at, bytes((fresh[at] ^ 1,)))
        assert set(_dropped(house, altered)) <= {"foreign", "mic", "malformed", "forged"}
    # a bit that flipped on the air: the FCS
    broken = bytearray(fresh)
    broken[40] ^= 1
    assert _dropped(house, bytes(broken)) == ["fcs", "fcs"]
    assert house.version() == "IHDAE05"
    assert house.run_11_3() is Outcome.ACTIVATED


def test_update_completes_among_strangers(
    open_desk: OpenDesk, tmp_path: Path, heard: list[bytes]
) -> None:
    """Every frame of another HAN, and every one of its own again, while the image is on its way."""
    desk = open_desk()
    own: list[bytes] = []
    hostile = iter(heard * 100)

    def interfere(_: int, psdu: bytes) -> None:
        if not _data_frames([psdu]):
            return
        own.append(psdu)
        replayed = own[len(own) // 2]
        foreign = _with(next(hostile), COUNTER, struct.pack("<I", HIGH + len(own)))
        for frame in (replayed, foreign):
            for board in desk.boards.values():
                in_vm(board).deliver(HAN, cobs_encode(frame) + b"\0")

    desk.air.capture(lambda when, psdu: desk.kernel.at(when, lambda: interfere(when, psdu)))
    house = _house(desk, tmp_path / "lab")
    for name, counters in _counters(house).items():
        assert counters["mic"] > 20, name
        assert counters["replay"] > 20, name
    assert house.run_11_3() is Outcome.ACTIVATED
    assert house.version() == "IHDAE06"


# -- keys are nowhere


def _forms(key: bytes) -> Iterator[bytes]:
    """How a key could be written."""
    yield key
    for text in (
        key.hex(),
        key.hex(":"),
        key.hex("-"),
        key.hex(" "),
        base64.b64encode(key).decode(),
    ):
        yield text.encode()
        yield text.upper().encode()
    yield repr(key)[2:-1].encode()
    yield ", ".join(str(octet) for octet in key).encode()


def _keys(seed: int, *euis: bytes) -> list[bytes]:
    keys = LabKeys(seed)
    secrets = [keys.network(0), keys.dco, *(keys.wan(eui) for eui in euis)]
    return [form for secret in secrets for form in _forms(secret.octets)]


def _found(octets: bytes, forms: list[bytes]) -> list[bytes]:
    return [form for form in forms if form in octets]


Hanlab = Callable[..., str]


@pytest.fixture
def hanlab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Hanlab:
    """Run a command; what it printed."""

    def run(*command: str) -> str:
        monkeypatch.setattr(sys, "argv", ["hanlab", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (0, 1, None)
        return "".join(capsys.readouterr())

    return run


def test_keys_are_in_no_file_and_on_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanlab: Hanlab
) -> None:
    """All that the commands of an update print and leave, but for the flash and Wireshark's profile."""
    image = make_image(2000)
    (tmp_path / "image.ota").write_bytes(image.to_bytes())
    (tmp_path / "other.ota").write_bytes(make_image(2000, for_ch="Elster").to_bytes())
    said = ""
    monkeypatch.chdir(tmp_path)
    for command in (
        "push image.ota --to PPMID --pcap push.pcap",
        "push image.ota --to PPMID --json",
        "push other.ota --to PPMID --json",  # fails
        "activate PPMID --hash " + "00" * 32,  # fails
        "activate PPMID --image image.ota --pcap activate.pcap",
        "version PPMID --json",
        "devices --json",
        "store",
    ):
        said += hanlab(*command.split())
    assert "IHDAE06" in said
    euis = [bytes.fromhex(text) for text in ("00db1234567890a2", "00db1234567890a4")]
    forms = _keys(1, *euis)
    assert _found(said.encode(), forms) == []
    read = []
    flashes = b""
    for file in sorted(tmp_path.rglob("*")):
        if not file.is_file():
            continue
        if file.suffix == ".flash":
            flashes += file.read_bytes()
        elif file.parent.suffix != ".wireshark":
            assert _found(file.read_bytes(), forms) == [], file
            read.append(file.name)
    assert {"push.pcap", "activate.pcap", "hub.log", "PPMID.log", "dco.log"} <= set(read)
    assert len(_found(flashes, forms)) >= 4, "this test finds keys where they are"


def test_keys_are_not_on_the_wire(open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = open_desk()
    port = desk.ports["hub"]
    wire = bytearray()
    write, feed = port.write, port.feed

    def recorded(pass_on: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def record(octets: bytes) -> None:
            wire.extend(octets)
            pass_on(octets)

        return record

    monkeypatch.setattr(port, "write", recorded(write))
    monkeypatch.setattr(port, "feed", recorded(feed))
    house = _house(desk, desk.boards["hub"].flash.path.parent)
    assert house.run_11_3() is Outcome.ACTIVATED
    desk.run(_ask_for_everything(house.wan))
    euis = [node.eui.octets for node in (desk.config.hub, *desk.config.devices)]
    assert len(wire) > 5000
    assert _found(bytes(wire), _keys(1, *euis)) == []


async def _ask_for_everything(client: WanClient) -> None:
    """Every command of every group, as a read."""
    for group in (0, 1, 0x5331):
        for command in range(16):
            head = struct.pack(">BBHHBB", 0x08, 0, 1, group, command, command)
            for part in FRAMINGS["cobs"]().encode(head + b"\xa0"):
                client._exchange._link.write(part)
    await asyncio.sleep(20)


def test_keys_are_in_no_text_of_an_object(open_lab: OpenLab, open_desk: OpenDesk) -> None:
    lab = open_lab()
    desk = open_desk(folder="other")
    hub, ppmid = desk.config.hub.eui.octets, desk.config.devices[0].eui.octets
    credentials = Credentials(hub, desk.keys.wan(hub))
    objects: list[object] = [desk.keys, desk.keys.dco, credentials, lab, lab.config, lab.s1sp]
    objects += [in_vm(board)._provision for board in desk.boards.values()]
    for thing in objects:
        for text in (repr(thing), str(thing)):
            assert _found(text.encode(), _keys(1, hub, ppmid)) == [], type(thing)


def test_keys_are_in_no_traceback(open_desk: OpenDesk) -> None:
    """Not even in one that shows every local variable, as some log them."""
    desk = open_desk()
    with pytest.raises(AccessDenied) as denied:
        desk.run(_alone(stranger(desk, desk.keys.dco), WanClient.connect))
    told = traceback.TracebackException.from_exception(denied.value, capture_locals=True)
    shown = "".join(told.format())
    assert "credentials = " in shown
    assert _found(shown.encode(), _keys(1, desk.config.hub.eui.octets)) == []


def test_open_wan_shows_in_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanlab: Hanlab
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open.toml").write_text(
        "wan_open = true\n[comms_hub]\n"
        + "".join(f'{k} = "{v}"\n' for k, v in DEFAULT["comms_hub"].items())
        + "[[device]]\n"
        + "".join(f'{k} = "{v}"\n' for k, v in DEFAULT["device"][0].items())
    )
    for command in ("devices", "store"):
        for lab, is_open in ((("--lab", "open.toml"), True), ((), False)):
            assert ("WAN open: any SMP client may upload" in hanlab(command, *lab)) is is_open
            assert json.loads(hanlab(command, "--json", *lab))["wan_open"] is is_open


@pytest.mark.parametrize("options", [(), ("--open-wan",)])
def test_up_says_whether_it_is_open(tmp_path: Path, options: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", "from hanlab.cli import main; main()", "up", "--json"]
    with subprocess.Popen(
        [*command, *options], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["wan_open"] is bool(options)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0


def test_lab_opened_for_all_by_an_argument(tmp_path: Path) -> None:
    with Lab.open(None, state=tmp_path / "lab", open_wan=True) as lab:
        assert lab.config.wan_open
        client = WanClient(lab.desk.ports["hub"])
        lab.run(_all(client.upload(make_image(1000).to_bytes())))
        assert len(lab.run(lab.store()).images) == 1


def test_upload_request_shape_is_the_standard_one() -> None:
    """What the gate refuses is what standard clients send: op WRITE, group 1, command 1."""
    message = ImageUploadWrite(off=0, data=b"x", len=1, image=0)
    assert isinstance(message, ImageUploadWriteRequest)
    assert (message.header.op, message.header.group_id, message.header.command_id) == (2, 1, 1)
