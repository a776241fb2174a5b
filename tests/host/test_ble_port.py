"""The host's BLE port: what is wrong with this computer's Bluetooth, and the thread that its radio lives in."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import bleak
import pytest
from bleak.args import SizedBuffer
from bleak.backends.adapter import BaseBleakAdapter
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakError,
)
from smp.header import Header
from smp.os_management import MCUMgrParametersReadResponse
from smpclient.requests.os_management import EchoWrite, MCUMgrParametersRead

from hanlab.errors import UsageError
from hanlab.lab.boards import wan_client
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.desk import Desk
from hanlab.wan import ble_port, bluetooth
from hanlab.wan.ble_port import CHARACTERISTIC, SERVICE, BlePort, find_ble, is_ble, open_ble
from hanlab.wan.framing import Raw

LOOP = asyncio.new_event_loop()
"""That of a port which gets no further."""


class Scanner(BaseBleakScanner):
    """Hears one board, or fails."""

    wrong: ClassVar[BaseException | None] = None
    there: ClassVar[bool] = True

    def __init__(
        self, detection_callback: Any, service_uuids: list[str] | None, *_: Any, **__: Any
    ) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        if self.wrong:
            raise self.wrong
        asyncio.get_running_loop().call_later(0.001, self._hear)

    def _hear(self) -> None:
        if not self.there:
            return
        data = AdvertisementData("hanlab-90A2", {}, {}, [SERVICE], None, -40, ())
        device = self.create_or_update_device("F0", "F0", "hanlab-90A2", None, data)
        self.call_detection_callbacks(device, data)

    async def stop(self) -> None:
        pass


class Adapter(BaseBleakAdapter):
    """Has a connection to a board that somebody who was killed left behind, or none."""

    left: ClassVar[list[BLEDevice]] = []

    @classmethod
    async def get(cls, **_: Any) -> Adapter:
        return cls()

    async def get_connected_devices(self, service_uuids: frozenset[str]) -> list[BLEDevice]:
        assert service_uuids == {SERVICE}
        return self.left


class Client(BaseBleakClient):
    """A board that answers each write with its octets in reverse."""

    made: ClassVar[list[Client]] = []

    def __init__(self, address_or_ble_device: BLEDevice | str, **options: Any) -> None:
        super().__init__(
            address_or_ble_device,
            timeout=options["timeout"],
            disconnected_callback=options["disconnected_callback"],
        )
        self.parts: list[bytes] = []
        self._up = False
        self._loop: asyncio.AbstractEventLoop
        self._notify: NotifyCallback
        self.made.append(self)

    @property
    def mtu_size(self) -> int:
        return 23  # as BlueZ's says, whatever it is

    @property
    def is_connected(self) -> bool:
        return self._up

    async def connect(self, pair: bool, **_: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._up = True
        self.services = BleakGATTServiceCollection()
        service = BleakGATTService(None, 1, SERVICE)
        self.services.add_service(service)
        self.services.add_characteristic(
            BleakGATTCharacteristic(None, 2, CHARACTERISTIC, [], lambda: 244, service)
        )

    async def disconnect(self) -> None:
        self._up = False

    def lose(self) -> None:
        """The link, as another thread sees it."""

        def lost() -> None:
            self._up = False
            if self._disconnected_callback:
                self._disconnected_callback()

        self._loop.call_soon_threadsafe(lost)

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        if not self._up:
            raise BleakError("not connected")
        assert not response
        self.parts.append(bytes(data))
        self._notify(bytearray(reversed(bytes(data))))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_: Any
    ) -> None:
        self._notify = callback

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None: ...
    async def pair(self, *_: Any, **__: Any) -> None: ...
    async def unpair(self) -> None: ...
    async def read_gatt_char(self, *_: Any, **__: Any) -> bytearray:
        raise NotImplementedError

    async def read_gatt_descriptor(self, *_: Any, **__: Any) -> bytearray:
        raise NotImplementedError

    async def write_gatt_descriptor(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever uses bleak has these."""
    monkeypatch.setattr(bleak, "get_platform_adapter_backend_type", lambda: (Adapter, "test"))
    monkeypatch.setattr(bleak, "get_platform_scanner_backend_type", lambda: (Scanner, "test"))
    monkeypatch.setattr(bleak, "get_platform_client_backend_type", lambda: (Client, "test"))
    monkeypatch.setattr(ble_port, "SCAN_S", 0.05)
    monkeypatch.setattr(ble_port, "REOPEN_S", 0.01)
    Client.made.clear()
    yield
    Scanner.wrong = None
    Scanner.there = True
    Adapter.left = []


def unavailable(reason: str) -> BleakBluetoothNotAvailableError:
    return BleakBluetoothNotAvailableError(
        "as bleak says", BleakBluetoothNotAvailableReason[reason]
    )


def by_dbus(name: str) -> BleakDBusError:
    return BleakDBusError(name, ["as D-Bus says"])


WRONG: dict[str, tuple[BaseException, str, str]] = {
    "no adapter": (unavailable("NO_BLUETOOTH"), "has no Bluetooth adapter", "plug one in"),
    "classic": (unavailable("NO_BLE_CENTRAL_ROLE"), "cannot do BLE", "plug in one for"),
    "off": (unavailable("POWERED_OFF"), "switched off", "switch it on: rfkill unblock"),
    "user": (unavailable("DENIED_BY_USER"), "may not use", "Linux: sudo usermod -aG bluetooth"),
    "system": (unavailable("DENIED_BY_SYSTEM"), "may not use", "Linux: sudo usermod"),
    "unknown": (unavailable("UNKNOWN"), "does not work here", "bluetoothctl show"),
    "denied": (by_dbus("org.freedesktop.DBus.Error.AccessDenied"), "may not use", "Linux: sudo"),
    "no bluez": (
        by_dbus("org.freedesktop.DBus.Error.ServiceUnknown"),
        "no Bluetooth service answers here",
        "sudo apt install bluez; sudo systemctl start bluetooth",
    ),
    "no bus": (FileNotFoundError(2, "No such file"), "no Bluetooth service", "sudo apt install"),
    "bus denied": (PermissionError(13, "Permission denied"), "may not use", "Linux: sudo usermod"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_bluetooth_and_what_helps(wrong: str) -> None:
    error, what, next_step = WRONG[wrong]
    Scanner.wrong = error
    uses: tuple[Callable[[], object], ...] = (
        lambda: find_ble(0.01),
        lambda: open_ble("ble:hanlab-90A2", LOOP, print),
    )
    for use in uses:
        with pytest.raises(UsageError, match=what) as told:
            use()
        assert told.value.next_step.startswith(next_step)
        assert told.value.exit_code == 2


def test_this_computers_own_bluetooth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real bleak: it scans, or what it says has a next step."""
    monkeypatch.undo()
    try:
        boards = find_ble(0.1)
    except UsageError as e:
        if not e.next_step:
            raise
        pytest.skip(f"no radio here: {e.what}")
    assert all(board.port.startswith("ble:") for board in boards)


def test_without_bleak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bluetooth, "find_spec", lambda _: None)
    for use in (lambda: find_ble(0.01), lambda: BlePort("ble:x", LOOP, print)):
        with pytest.raises(UsageError, match="needs the package bleak") as wrong:
            use()
        assert wrong.value.next_step == "pip install 'hanlab[ble]'"
    assert importlib.util.find_spec("bleak"), "and with it all is well"


@pytest.mark.parametrize("url", ["ble:", "ble: ", "/dev/ttyUSB0"])
def test_a_port_without_a_name(url: str) -> None:
    with pytest.raises(UsageError, match="has no name") as wrong:
        BlePort(url, LOOP, print)
    assert wrong.value.next_step.startswith('port = "ble:hanlab-90A2"')
    assert BlePort("ble:hanlab-90A2", LOOP, print).url


def test_which_ports_are_ble() -> None:
    assert is_ble("ble:x")
    assert not is_ble("/dev/ttyUSB0")
    assert not is_ble(None)


def test_boards_in_reach() -> None:
    (board,) = find_ble(0.05)
    assert (board.port, board.address, board.rssi) == ("ble:hanlab-90A2", "F0", -40)


def test_a_port_in_a_thread_of_its_own() -> None:
    """Octets there and back while the loop that has the port does other things, in pieces of what the link carries."""
    before = threading.active_count()
    octets = bytes(range(250)) * 2
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        arrived: asyncio.Queue[bytes] = asyncio.Queue()

        async def answered() -> bytes:
            got = b""
            while len(got) < len(octets):
                got += await arrived.get()
            return got

        port = open_ble("ble:HANLAB-90a2", loop, arrived.put_nowait)
        port.from_host(octets)
        answer = loop.run_until_complete(asyncio.wait_for(answered(), 30))
        assert answer == octets[243::-1] + octets[487:243:-1] + octets[:487:-1]
        (client,) = Client.made
        assert [len(part) for part in client.parts] == [244, 244, 12]
        port.close()
        assert not client.is_connected
    assert threading.active_count() == before


def test_a_connection_that_a_killed_program_left_behind() -> None:
    """BlueZ keeps it, and the board does not advertise: no scan finds it."""
    Scanner.there = False
    Adapter.left = [BLEDevice("F1", None, None), BLEDevice("F0", "hanlab-90A2", None)]
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        open_ble("ble:hanlab-90A2", loop, print).close()
        open_ble("ble:f1", loop, print).close()
        assert [client.address for client in Client.made] == ["F0", "F1"]
        with pytest.raises(UsageError, match="no board hanlab-FFFF was heard"):
            open_ble("ble:hanlab-FFFF", loop, print)


def test_a_link_that_is_lost_and_found_again() -> None:
    """What is written meanwhile is lost."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        port = open_ble("ble:hanlab-90A2", loop, arrived.put_nowait)
        Scanner.there = False
        Client.made[0].lose()

        async def asked() -> bytes:
            """As a client does that asks until it is answered."""
            while True:
                port.from_host(b"abc")
                try:
                    return await asyncio.wait_for(arrived.get(), 0.02)
                except TimeoutError:
                    Scanner.there = True

        assert loop.run_until_complete(asyncio.wait_for(asked(), 30)) == b"cba"
        assert len(Client.made) == 2
        port.close()


def test_raw_finds_the_next_answer() -> None:
    """Half an answer, as a lost link leaves it, then whole ones."""
    answers = [EchoWrite(d=text * 30).BYTES for text in ("one", "two", "three")]
    answers = [bytes((answer[0] | 1,)) + answer[1:] for answer in answers]
    raw = Raw()
    raw.feed(answers[0][40:])
    raw.feed(answers[1] + answers[2][:20])
    assert raw.take() == answers[1]
    assert raw.take() is None
    raw.feed(answers[2][20:])
    assert (raw.take(), raw.take()) == (answers[2], None)
    raw.feed(answers[0][:20])
    raw.reset()
    raw.feed(answers[1])
    assert raw.take() == answers[1]
    assert list(raw.encode(answers[0])) == [answers[0]]


class SmpBoard(Client):
    """Has the parameters of a board, and nothing else."""

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        head = bytes(data)[: Header.SIZE]
        request = Header.loads(head)
        if request.group_id:
            body = b"\xa1\x62rc\x08"  # {"rc": ENOTSUP}
            head = bytes((head[0] + 1, 0, 0, len(body))) + head[4:]
            self._notify(bytearray(head + body))
            return
        answer = MCUMgrParametersReadResponse(sequence=request.sequence, buf_size=976, buf_count=5)
        self._notify(bytearray(answer.BYTES))


def test_a_lab_whose_ch_is_reached_by_ble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`port = "ble:…"` in lab.toml: on the wall clock, raw messages, by whatever radio bleak finds."""
    monkeypatch.setattr(bleak, "get_platform_client_backend_type", lambda: (SmpBoard, "test"))
    hub = DEFAULT["comms_hub"] | {"port": "ble:hanlab-90A2", "wired": True}
    desk = Desk(make_lab("ble", {**DEFAULT, "wan_open": True, "comms_hub": hub}), tmp_path)
    try:
        client = wan_client(desk, "hub")
        answer = desk.run(client.read(MCUMgrParametersRead))
        assert (answer.buf_size, answer.buf_count) == (976, 5)
        assert desk.ports["hub"].framing == "raw"
    finally:
        desk.close()
    assert not Client.made[0].is_connected
