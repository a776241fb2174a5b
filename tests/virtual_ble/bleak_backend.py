"""bleak's own API on a bumble device: the backend that `virtual_bleak` puts in place of the platform's."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, cast

import bleak
import pytest
from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.adapter import BaseBleakAdapter
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError, BleakGATTProtocolError
from bumble import att, core
from bumble.core import AdvertisingData
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt_client import Client, ServiceProxy

_NAME = AdvertisingData.Type.COMPLETE_LOCAL_NAME
_SERVICES = AdvertisingData.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS


class VirtualScanner(BaseBleakScanner):
    """bleak's scanner; `device` is the central whose radio it is."""

    device: ClassVar[Device]

    def __init__(
        self, detection_callback: Any, service_uuids: list[str] | None, *_: Any, **__: Any
    ) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        self._known: dict[str, tuple[list[str], str | None]] = {}
        self.device.on("advertisement", self._heard)
        await self.device.start_scanning(legacy=True, filter_duplicates=False)

    async def stop(self) -> None:
        self.device.remove_listener("advertisement", self._heard)
        await self.device.stop_scanning(legacy=True)

    def _heard(self, heard: Advertisement) -> None:
        """As BlueZ: a device is what its advertisement and its scan response say together."""
        address = str(heard.address).split("/")[0]
        uuids, name = self._known.get(address, ([], None))
        if group := heard.data.get(_SERVICES):
            uuids = [_text(one) for one in cast("list[core.UUID]", group)]
        name = cast("str | None", heard.data.get(_NAME)) or name
        self._known[address] = uuids, name
        if not self.is_allowed_uuid(uuids):
            return
        data = AdvertisementData(name, {}, {}, uuids, None, heard.rssi, (heard,))
        device = self.create_or_update_device(address, address, name, heard.address, data)
        self.call_detection_callbacks(device, data)


class VirtualClient(BaseBleakClient):
    """bleak's client; as BlueZ's it asks for a large MTU when it connects."""

    device: ClassVar[Device]
    offered_mtu: ClassVar[int] = 517
    one_at_a_time: ClassVar[asyncio.Lock]
    """A radio makes one connection after the other."""

    def __init__(self, address_or_ble_device: BLEDevice | str, **options: Any) -> None:
        super().__init__(
            address_or_ble_device,
            timeout=options["timeout"],
            disconnected_callback=options["disconnected_callback"],
        )
        self._target = address_or_ble_device
        self._connection: Connection | None = None

    @property
    def name(self) -> str:
        return getattr(self._target, "name", None) or self.address

    @property
    def mtu_size(self) -> int:
        return self._connection.att_mtu if self._connection else 23

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **_: Any) -> None:
        if self._connection:
            raise BleakError("already connected")
        if not isinstance(self._target, BLEDevice):
            raise BleakDeviceNotFoundError(self.address, "scan for it first, as BlueZ wants it")
        try:
            async with asyncio.timeout(self._timeout):
                with _bleak_errors(self):
                    async with self.one_at_a_time:
                        self._connection = await self.device.connect(self._target.details)
                    self._connection.once("disconnection", self._disconnected)
                    peer = Peer(self._connection)
                    await peer.request_mtu(self.offered_mtu)
                    self.services = await self._discovered(peer)
        except BaseException:
            await self.disconnect()
            raise

    async def _discovered(self, peer: Peer) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        for each in await peer.discover_services():
            service = BleakGATTService(each, each.handle, _text(each.uuid))
            found.add_service(service)
            await self._add_characteristics(found, service, each)
        return found

    async def _add_characteristics(
        self, found: BleakGATTServiceCollection, service: BleakGATTService, proxy: ServiceProxy
    ) -> None:
        for each in await proxy.discover_characteristics():
            properties = list(gatt_char_props_to_strs(int(each.properties)))
            uuid_ = _text(each.uuid)
            characteristic = BleakGATTCharacteristic(
                each, each.handle, uuid_, properties, lambda: self.mtu_size - 3, service
            )
            found.add_characteristic(characteristic)
            for one in await each.discover_descriptors():
                found.add_descriptor(
                    BleakGATTDescriptor(one, one.handle, _text(one.type), characteristic)
                )

    def _disconnected(self, _reason: int) -> None:
        self._connection = None
        self.services = None
        if self._disconnected_callback:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        if self._connection:
            with _bleak_errors(self):
                await self._connection.disconnect()

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        if len(data) > self.mtu_size - 3:
            raise BleakError(f"{len(data)} octets, and {self.mtu_size - 3} is the most")
        with _bleak_errors(self):
            await self._gatt.write_value(characteristic.obj, bytes(data), response)
            if not response and self._connection:
                await self._connection.drain()  # the radio has sent it

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_: Any
    ) -> None:
        def notified(value: bytes) -> None:
            callback(bytearray(value))

        with _bleak_errors(self):
            await self._gatt.subscribe(characteristic.obj, notified)

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        with _bleak_errors(self):
            await self._gatt.unsubscribe(characteristic.obj)

    async def pair(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    async def unpair(self) -> None:
        raise NotImplementedError

    async def read_gatt_char(self, *_: Any, **__: Any) -> bytearray:
        raise NotImplementedError

    async def read_gatt_descriptor(self, *_: Any, **__: Any) -> bytearray:
        raise NotImplementedError

    async def write_gatt_descriptor(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    @property
    def _gatt(self) -> Client:
        if self._connection is None:
            raise BleakError("not connected")
        return self._connection.gatt_client


@contextmanager
def _bleak_errors(client: VirtualClient) -> Iterator[None]:
    """bumble's exceptions as bleak's; bumble cancels who waits for an answer when the link is lost."""
    try:
        yield
    except att.ATT_Error as e:
        raise BleakGATTProtocolError(e.error_code) from e
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if client.is_connected or (task and task.cancelling()):
            raise
        raise BleakError("disconnected") from None
    except (core.BaseBumbleError, TimeoutError) as e:
        raise BleakError(str(e)) from e


def _text(octets: core.UUID) -> str:
    return str(uuid.UUID(bytes=bytes(reversed(octets.to_bytes(force_128=True)))))


def virtual_bleak(monkeypatch: pytest.MonkeyPatch, central: Device) -> None:
    """From now on whoever uses bleak uses that central's radio."""
    scanner = type("VirtualScanner", (VirtualScanner,), {"device": central})
    own = {"device": central, "one_at_a_time": asyncio.Lock()}
    client = type("VirtualClient", (VirtualClient,), own)
    monkeypatch.setattr(bleak, "get_platform_scanner_backend_type", lambda: (scanner, "virtual"))
    monkeypatch.setattr(
        bleak, "get_platform_adapter_backend_type", lambda: (BaseBleakAdapter, "virtual")
    )
    monkeypatch.setattr(bleak, "get_platform_client_backend_type", lambda: (client, "virtual"))
