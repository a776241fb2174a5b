"""A board's BLE: MCUmgr's SMP service, by bleak, which has a radio on each system."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanlab.errors import UsageError
from hanlab.wan.bluetooth import Broken, at_the_radio, need_bleak, unavailable

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.device import BLEDevice

BLE: Final = "ble:"
"""How such a port is written in lab.toml; a name or an address follows."""
SERVICE: Final = "8d53dc1d-1db7-4cd3-868b-8a527460aa84"
CHARACTERISTIC: Final = "da2e7828-fbce-4e01-ae9e-261174997c48"
OCTETS_S: Final = 5000.0
"""One packet of 244 octets in a connection event of 48.75 ms: the slowest that a system is likely to choose."""
SCAN_S: Final = 10.0
"""How long a board is looked for: it advertises ten times a second."""
CONNECT_S: Final = 15.0
REOPEN_S: Final = 1.0
"""How soon (s) after it was not found a board whose link was lost is looked for again."""
_TRIES: Final = 3
"""Of the first connection: BlueZ's first one is often broken off by the controller."""
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class BleBoard:
    """A board that advertises SMP's service; its `port` is what lab.toml takes."""

    name: str
    address: str
    rssi: int
    """dBm."""

    @property
    def port(self) -> str:
        return BLE + (self.name or self.address)


def is_ble(port: str | None) -> bool:
    """Whether that port of lab.toml is a board's BLE."""
    return port is not None and port.startswith(BLE)


def find_ble(seconds: float = SCAN_S / 2) -> list[BleBoard]:
    """The boards around that nobody is connected to, the nearest first. Not for coroutines: they have `scan`.

    Raises:
        UsageError: this computer's Bluetooth is not to be had.
    """
    return asyncio.run(scan(seconds))


async def scan(seconds: float) -> list[BleBoard]:
    """As `find_ble`."""
    need_bleak()
    from bleak import BleakScanner

    try:
        found = await at_the_radio(
            BleakScanner.discover(seconds, return_adv=True, service_uuids=[SERVICE])
        )
    except Broken as e:
        raise unavailable("UNKNOWN", e) from None
    boards = [
        BleBoard(heard.local_name or device.name or "", device.address, heard.rssi)
        for device, heard in found.values()
    ]
    return sorted(boards, key=lambda board: (-board.rssi, board.port))


class BlePort:
    """Octets to and from the board of `url` (`ble:NAME`); `feed` takes in `loop` what has arrived.

    A link that is lost is a wire that carries nothing: what is written meanwhile is lost, and the board is looked for
    until it is back. Whoever waits for an answer has his own patience.

    `keep` runs on a loop that has the radio: `open_ble` gives it a thread with one.
    """

    framing: Final = "raw"
    octets_s: Final = OCTETS_S

    def __init__(
        self, url: str, loop: asyncio.AbstractEventLoop, feed: Callable[[bytes], None]
    ) -> None:
        """Raises UsageError for a URL without a name."""
        self.url = url
        self._wanted = url.removeprefix(BLE).strip()
        if not is_ble(url) or not self._wanted:
            raise UsageError(
                f"the port {url} has no name",
                next_step='port = "ble:hanlab-90A2", as it advertises',
            )
        need_bleak()
        self._loop = loop
        self._radio: asyncio.AbstractEventLoop | None = None
        self._feed = feed
        self._unsent: asyncio.Queue[bytes] | None = None  # None: there is no link
        self._end: Callable[[], None] = lambda: None

    def from_host(self, octets: bytes) -> None:
        """Queue octets for sending: one SMP message."""
        if self._radio:
            _call(self._radio, self._queue, octets)

    def close(self) -> None:
        """Disconnect."""
        self._end()

    # -- on the loop that has the radio

    def _queue(self, octets: bytes) -> None:
        if self._unsent:
            self._unsent.put_nowait(octets)

    async def keep(self, up: Callable[[], None] = lambda: None) -> None:
        """Connect, call `up`, and stay connected until this is cancelled.

        Raises:
            UsageError: it could not be connected to in the first place, and why.
        """
        self._radio = asyncio.get_running_loop()
        link = await self._first()
        up()
        while True:
            try:
                await self._carry(link)
            finally:
                await _drop(link.client)
            _LOG.warning("%s is out of reach", self.url)
            link = await self._found_again()
            _LOG.warning("%s is back", self.url)

    async def _first(self) -> _BleLink:
        tries = _TRIES
        while True:
            tries -= 1
            try:
                return await at_the_radio(self._connect())
            except Broken as e:
                if not tries:
                    raise UsageError(
                        f"{self.url} was found, and the connection failed: {e}",
                        next_step="bring the board nearer, or restart it; bluetoothctl remove ADDRESS makes BlueZ "
                        "forget what it believes of it",
                    ) from None

    async def _found_again(self) -> _BleLink:
        while True:
            try:
                return await at_the_radio(self._connect())
            except (UsageError, Broken):
                await asyncio.sleep(REOPEN_S)

    async def _connect(self) -> _BleLink:
        from bleak import BleakClient

        device = await self._find()
        lost = asyncio.Event()
        client = BleakClient(device, lambda _: lost.set(), services=[SERVICE], timeout=CONNECT_S)
        try:
            await client.connect()
            characteristic = client.services.get_characteristic(CHARACTERISTIC)
            if characteristic is None:
                raise UsageError(
                    f"{self.url} has no SMP service: it is no board of hanlab's",
                    next_step="those advertise hanlab- and the last four digits of their EUI-64",
                )
            await client.start_notify(characteristic, self._notified)
        except BaseException:
            await _drop(client)
            raise
        return _BleLink(client, characteristic, lost)

    async def _find(self) -> BLEDevice:
        from bleak import BleakScanner

        for device in await _left_connected():
            if self._is_wanted(device, device.name):
                return device
        others: set[str] = set()
        async with BleakScanner(service_uuids=[SERVICE]) as scanner:
            with suppress(TimeoutError):
                async with asyncio.timeout(SCAN_S):
                    async for device, heard in scanner.advertisement_data():
                        name = heard.local_name or device.name
                        if self._is_wanted(device, name):
                            return device
                        others.add(name or device.address)
        there = f"in reach: {', '.join(sorted(others))}" if others else "no board is in reach"
        raise UsageError(
            f"no board {self._wanted} was heard over BLE within {SCAN_S:.0f} s",
            next_step=f"{there}; it needs power, ble = true in the lab.toml that it was provisioned from, and nobody "
            "else may be connected to it",
        )

    def _is_wanted(self, device: BLEDevice, name: str | None) -> bool:
        return self._wanted.casefold() in ((name or "").casefold(), device.address.casefold())

    def _notified(self, _: object, octets: bytearray) -> None:
        with suppress(RuntimeError):  # the loop is closed
            _call(self._loop, self._feed, bytes(octets))

    async def _carry(self, link: _BleLink) -> None:
        """Send what is written, until the link is lost."""
        self._unsent = asyncio.Queue()
        work = [
            asyncio.ensure_future(task)
            for task in (self._send(link, self._unsent), link.lost.wait())
        ]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._unsent = None
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _send(self, link: _BleLink, unsent: asyncio.Queue[bytes]) -> None:
        step = link.characteristic.max_write_without_response_size
        while True:
            octets = await unsent.get()
            for at in range(0, len(octets), step):
                part = octets[at : at + step]
                await link.client.write_gatt_char(link.characteristic, part, response=False)


@dataclass(frozen=True)
class _BleLink:
    """A connection to a board whose answers are subscribed to."""

    client: BleakClient
    characteristic: BleakGATTCharacteristic
    lost: asyncio.Event


def open_ble(url: str, loop: asyncio.AbstractEventLoop, feed: Callable[[bytes], None]) -> BlePort:
    """The port of `url`, connected; its radio lives in a thread, so that it does not matter what `loop` is busy with.

    Raises:
        UsageError: it cannot be reached, and why.
    """
    port = BlePort(url, loop, feed)
    opened: Future[None] = Future()
    work: Future[asyncio.Task[None]] = Future()

    async def main() -> None:
        work.set_result(asyncio.ensure_future(port.keep(lambda: opened.set_result(None))))
        try:
            await work.result()
        except asyncio.CancelledError:
            pass
        except BaseException as e:
            if opened.done():
                raise
            opened.set_exception(e)

    thread = threading.Thread(target=asyncio.run, args=(main(),), name=url, daemon=True)

    def end() -> None:
        task = work.result()
        with suppress(RuntimeError):  # it has ended by itself
            task.get_loop().call_soon_threadsafe(task.cancel)
        thread.join()

    port._end = end
    thread.start()
    opened.result()
    return port


def _call(
    loop: asyncio.AbstractEventLoop, function: Callable[[bytes], None], octets: bytes
) -> None:
    """Call it on that loop, which may be this thread's or another's."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        function(octets)
    else:
        loop.call_soon_threadsafe(function, octets)


async def _left_connected() -> list[BLEDevice]:
    """Boards that this computer is connected to: a killed program leaves BlueZ so, and they do not advertise."""
    from bleak import BleakAdapter

    try:
        return await (await BleakAdapter.get()).get_connected_devices([SERVICE])
    except NotImplementedError:  # by this system's backend
        return []


async def _drop(client: BleakClient) -> None:
    """Disconnect, if it is not disconnected; a backend may say anything then."""
    from bleak.exc import BleakError

    with suppress(BleakError, OSError, EOFError, AssertionError, TimeoutError):
        await client.disconnect()
