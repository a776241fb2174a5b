"""The radio of an emulated board: what boards/ports/bluetooth.py says becomes a bumble device on the air."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from functools import partial
from typing import Final

from bumble import hci
from bumble.core import UUID
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import Host
from bumble.transport.common import AsyncPipeSink

from hanlab.bench.board import BLE, EmulatedBoard
from virtual_ble.air import Air, AirController

HCI_US: Final = 1000
"""What the way between a chip and its radio takes (µs)."""

_CONNECTED: Final = 1
_DISCONNECTED: Final = 2
_WRITTEN: Final = 3
_MTU_CHANGED: Final = 21
_WRITES: Final = Characteristic.Properties.WRITE | Characteristic.Properties.WRITE_WITHOUT_RESPONSE


class BoardRadio:
    """`address` is the board's; `mtus` what its connections agreed on, in order."""

    def __init__(self, air: Air, board: EmulatedBoard, address: str) -> None:
        self.address = address
        self.mtus: list[int] = []
        self.adverts = 0
        """So often it was told to advertise."""
        self._air = air
        self._board = board
        self._controller = AirController(board.name, air)
        self._device = self._new_device()
        self._characteristics: dict[int, Characteristic[bytes]] = {}
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.create_task(self._obey())
        board.connect(BLE, self._from_board)

    async def off(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _new_device(self) -> Device:
        host = Host(self._controller, AsyncPipeSink(self._controller))
        device = Device(name=self._board.name, address=hci.Address(self.address), host=host)
        device.on("connection", self._connected)
        return device

    # -- the board says

    def _from_board(self, when: int, octets: bytes) -> None:
        kernel = self._board.kernel

        def arrive() -> None:
            self._said.put_nowait(octets)
            kernel.host_ready = True

        kernel.at(when + HCI_US, arrive, None)

    async def _obey(self) -> None:
        while True:
            octets = await self._said.get()
            word, rest = octets[:1], octets[1:]
            match word:
                case b"A":
                    await self._switch(*struct.unpack("<BH", rest))
                case b"S":
                    self._serve(rest)
                case b"V":
                    await self._advertise(rest)
                case b"N":
                    await self._notify(rest)
                case b"D":
                    if connection := self._device.connections.get(struct.unpack("<H", rest)[0]):
                        await connection.disconnect()

    async def _switch(self, on: int, mtu: int) -> None:
        if on and (self._characteristics or not self._device.powered_on):
            # the board has started: who was connected waits in vain
            self._air.lose(self.address)
            self._controller.le_legacy_advertiser.stop()
            self._characteristics.clear()
            self._device = self._new_device()
            await self._device.power_on()
        self._device.gatt_server.max_mtu = mtu

    def _serve(self, rest: bytes) -> None:
        for at in range(1, len(rest), 35):
            handle, flags = struct.unpack_from("<HB", rest, at)
            service, uuid = rest[at + 3 : at + 19], rest[at + 19 : at + 35]
            properties = Characteristic.Properties(flags)
            characteristic: Characteristic[bytes] = Characteristic(
                UUID.from_bytes(uuid),
                properties,
                Characteristic.WRITEABLE if properties & _WRITES else Characteristic.READABLE,
                CharacteristicValue(write=partial(self._written, handle)),
            )
            self._characteristics[handle] = characteristic
            self._device.add_service(Service(UUID.from_bytes(service), [characteristic]))

    async def _advertise(self, rest: bytes) -> None:
        interval_us, length = struct.unpack_from("<IB", rest)
        if self._device.legacy_advertiser:
            await self._device.stop_advertising()
        if interval_us:
            self.adverts += 1
            await self._device.start_advertising(
                advertising_data=rest[5 : 5 + length],
                scan_response_data=rest[5 + length :],
                advertising_interval_min=interval_us / 1000,
                advertising_interval_max=interval_us / 1000,
            )

    async def _notify(self, octets: bytes) -> None:
        handle, value = struct.unpack_from("<HH", octets)
        connection = self._device.connections.get(handle)
        if connection and (characteristic := self._characteristics.get(value)):
            with contextlib.suppress(asyncio.CancelledError):  # the link is gone
                await self._device.gatt_server.notify_subscriber(
                    connection, characteristic, octets[4:]
                )

    # -- the board hears

    def _tell(self, octets: bytes) -> None:
        kernel = self._board.kernel
        kernel.at(kernel.now + HCI_US, partial(self._board.deliver, BLE, octets), self._board.home)

    def _connected(self, connection: Connection) -> None:
        peer = connection.peer_address
        who = struct.pack("<HB", connection.handle, peer.address_type) + bytes(peer)[::-1]
        self._tell(bytes((_CONNECTED,)) + who)
        connection.on("disconnection", lambda _: self._tell(bytes((_DISCONNECTED,)) + who))
        connection.on("connection_att_mtu_update", partial(self._mtu_changed, connection))

    def _mtu_changed(self, connection: Connection) -> None:
        self.mtus.append(connection.att_mtu)
        self._tell(struct.pack("<BHH", _MTU_CHANGED, connection.handle, connection.att_mtu))

    def _written(self, value: int, connection: Connection, octets: bytes) -> None:
        self._tell(struct.pack("<BHH", _WRITTEN, connection.handle, value) + octets)
