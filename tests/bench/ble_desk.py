"""A desk whose CHs have their BLE on, and a laptop with a virtual radio; all on the bench's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from bumble.device import Device
from virtual_ble.air import Air
from virtual_ble.bleak_backend import virtual_bleak
from virtual_ble.board_radio import BoardRadio

from hanlab.bench.board import EmulatedBoard
from hanlab.bench.uart import HostPort
from hanlab.lab.board_json import ble_name
from hanlab.lab.desk import Desk
from hanlab.wan.auth import Credentials
from hanlab.wan.ble_port import BlePort
from hanlab.wan.client import WanClient

CENTRAL = "F0:00:00:00:00:01"


@dataclass
class BleDesk:
    """The boards of `desk` with BLE, by name, and the laptop's radio."""

    desk: Desk
    air: Air
    central: Device
    radios: dict[str, BoardRadio]
    _keeping: list[asyncio.Task[None]] = field(default_factory=list)

    def url(self, name: str = "hub") -> str:
        return f"ble:{ble_name(self.desk.config.node(name).eui)}"

    async def port(self, name: str = "hub") -> HostPort:
        """A port that is connected."""
        host = HostPort(self.desk.kernel)
        port = BlePort(self.url(name), asyncio.get_running_loop(), host.feed)
        host.plug(port)
        up = asyncio.Event()
        keeping = asyncio.create_task(port.keep(up.set))
        self._keeping.append(keeping)
        waiting = asyncio.create_task(up.wait())
        await asyncio.wait((keeping, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if keeping.done():
            keeping.result()
        return host

    def other_port(self, url: str) -> BlePort:
        """A port that nothing keeps connected."""
        return BlePort(url, asyncio.get_running_loop(), lambda _: None)

    async def client(self, name: str = "hub") -> WanClient:
        """An SMP client on such a port, with the board's key if its WAN is closed."""
        port = await self.port(name)
        eui = self.desk.config.node(name).eui.octets
        closed = not self.desk.config.wan_open
        credentials = Credentials(eui, self.desk.keys.wan(eui), self.desk.entropy.randbytes)
        return WanClient(port, port.framing, credentials if closed else None, port.octets_s)

    async def disconnect(self) -> None:
        """The laptop goes."""
        for keeping in self._keeping:
            keeping.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        self._keeping.clear()


@asynccontextmanager
async def ble_desk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BleDesk]:
    async with AsyncExitStack() as stack:
        air = Air()
        central = await air.device("laptop", CENTRAL)
        virtual_bleak(monkeypatch, central)
        radios = {}
        for i, node in enumerate(node for node in desk.config.nodes if node.ble):
            board = desk.boards[node.name]
            assert isinstance(board, EmulatedBoard), "it has a VM, whose `bluetooth` is ours"
            radio = BoardRadio(air, board, f"F0:00:00:00:01:{i:02}")
            stack.push_async_callback(radio.off)
            radios[node.name] = radio
        made = BleDesk(desk, air, central, radios)
        stack.push_async_callback(made.disconnect)
        yield made


Talk = Callable[[BleDesk], Awaitable[Any]]


def run(desk: Desk, monkeypatch: pytest.MonkeyPatch, talk: Talk) -> Any:
    """What `talk` says over BLE to the boards of that desk."""

    async def main() -> Any:
        async with ble_desk(desk, monkeypatch) as made:
            return await talk(made)

    return desk.run(main())
