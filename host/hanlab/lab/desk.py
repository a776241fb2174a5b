"""The desk: a lab's boards, powered on and wired up, with the host's loop on their clock.

Emulated boards live in the bench's time, which passes as fast as it can. With a real board among them it passes
as the wall clock does, and the bench's air carries the HAN between them all.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from hanlab.bench.board import WAN, BoardError, EmulatedBoard, Provision
from hanlab.bench.boards import BenchBoard
from hanlab.bench.cable import CableEnd
from hanlab.bench.chips import Chips
from hanlab.bench.kernel import Kernel
from hanlab.bench.loop import BenchLoop
from hanlab.bench.paced import PacedLoop
from hanlab.bench.pcap import PcapWriter, write_keys
from hanlab.bench.radio import Air, Radioed
from hanlab.bench.realtime import PtyPort, TcpPort, ToolPort, serve
from hanlab.bench.starts import Starts
from hanlab.bench.uart import HostEnd, HostPort, UartWire
from hanlab.boards.vm import Vm, find_vm
from hanlab.errors import UsageError
from hanlab.impairments import Impairments
from hanlab.keys import LabKeys
from hanlab.lab.board_json import addresses, board_json, pan
from hanlab.lab.boards import network_keys
from hanlab.lab.config import LabConfig
from hanlab.lab.link_keys import link_keys
from hanlab.lab.nodes import NodeConfig
from hanlab.wan.ble_port import BlePort, is_ble, open_ble
from hanlab.wan.serial_port import SerialPort

T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)
_HOST = "_host"
"""Among the names of boards, which begin otherwise."""

_LIVES: Final = 3
_LIVES_US: Final = 60_000_000


class Desk:
    """Boards of `config`, the flash files of emulated ones in `folder`. `ports` holds the host's end of each one's WAN.

    Raises:
        UsageError: the port of a real CH cannot be opened.
    """

    def __init__(
        self,
        config: LabConfig,
        folder: Path,
        *,
        vm: Vm | None = None,
        keys: LabKeys | None = None,
        pcap: Path | None = None,
        firmware: Path | None = None,
    ) -> None:
        self.config = config
        self.keys = keys or LabKeys(config.seed)
        self.kernel = Kernel(config.seed)
        self.loop: asyncio.AbstractEventLoop = (
            PacedLoop(self.kernel) if config.is_real else BenchLoop(self.kernel)
        )
        self.air = Air(self.kernel, config.han)
        self.wires: list[UartWire] = []
        self.boards: dict[str, BenchBoard] = {}
        """The emulated ones."""
        self.cables: dict[str, CableEnd] = {}
        """Of the boards whose WAN and HAN share one."""
        self.closed: dict[str, UsageError] = {}
        """Why the port of a real device cannot be opened: without it the others do what they can."""
        self.ports: dict[str, HostPort] = {}
        self._opened: list[SerialPort | BlePort] = []
        self._capture: PcapWriter | None = None
        folder.mkdir(parents=True, exist_ok=True)
        is_new = not any(folder.glob("*.flash"))
        start = Starts(folder, _HOST, is_new=is_new).next()
        self.entropy: random.Random = (
            random.SystemRandom() if config.is_real else self.kernel.random(f"host, start {start}")
        )
        """What the host's nonces come from: new ones in each command, for old ones have recorded answers."""
        self._folder, self._firmware, self._vm = folder, firmware, vm
        self._chips = Chips(self.kernel)
        try:
            for node in config.nodes:
                self._put(node)
            if pcap:
                self._capture = PcapWriter(pcap)
                self.air.capture(self._capture)
                write_keys(pcap, network_keys(self) | link_keys(config, self.keys))
        except BaseException:
            self.close()
            raise

    @property
    def clock_us(self) -> int:
        return self.kernel.now

    def _put(self, node: NodeConfig) -> None:
        """Put a board on the desk: emulated or real, its cable to the host, its radio on the air."""
        radio: Radioed | None = None
        if node.on_cable:
            radio = cable = self.cables[node.name] = CableEnd(
                self.kernel, node.name, node.eui.octets
            )
            self.ports[node.name] = cable.wan
        else:
            self.ports[node.name] = HostPort(self.kernel)
        if not node.is_real:
            self.boards[node.name] = self._emulated(node)
            self._wire(self.cables.get(node.name, self.ports[node.name]), node)
            radio = radio or self.boards[node.name]
        elif node.port:
            self._plug(self.cables.get(node.name, self.ports[node.name]), node, node.port)
        else:
            del self.ports[node.name]  # nothing but its HAN is wired
        if radio:
            home = self.config.home_of(node)
            address = addresses(home).get(node.name) if home else None
            self.air.attach(radio, pan(home) if home and node.joined else None, address)

    def _emulated(self, node: NodeConfig) -> BenchBoard:
        provision = Provision(board_json(self.config, node, self.keys), node.eui.octets)
        if node.uf2:
            return self._chips.board(node.name, node.board, node.uf2, self._folder, provision)
        return EmulatedBoard(
            self.kernel,
            node.name,
            node.board,
            self.vm,
            self._folder,
            provision,
            self._firmware,
            on_cable=node.on_cable,
        )

    @property
    def vm(self) -> Vm:
        """What emulated boards run on."""
        if self._vm is None:
            self._vm = find_vm()
        return self._vm

    def power_on(self) -> None:
        """Emulated boards start; real ones are as they are."""
        for board in self.boards.values():
            board.power_on()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` on the bench's clock until it is done."""
        return self.loop.run_until_complete(main)

    def impair(self, wan: Impairments, han: Impairments) -> None:
        """From now on the boards' UARTs and the air are that bad."""
        for wire in self.wires:
            wire.impair(wan)
        self.air.impair(han)

    def revive(self, tell: Callable[[str], None]) -> None:
        """From now on a board whose VM dies starts again, as after a power failure, and `tell` is told.

        Not one that dies `_LIVES` times within `_LIVES_US`: that is its firmware, and ends the run.
        """
        for board in self.boards.values():
            board.on_death = self._reviver(board.name, tell)

    def _reviver(self, name: str, tell: Callable[[str], None]) -> Callable[[BoardError], bool]:
        deaths: list[int] = []

        def on_death(error: BoardError) -> bool:
            deaths.append(self.kernel.now)
            recent = [at for at in deaths if at > self.kernel.now - _LIVES_US]
            if len(recent) >= _LIVES:
                return False
            tell(f"{error.what.splitlines()[0]}: {name} starts again, as after a power failure")
            return True

        return on_death

    def serve(
        self, ready: Callable[[dict[str, str]], None], tcp: tuple[str, int] | None = None
    ) -> None:
        """Plug each board's UART into a PTY, and pace the bench by the wall clock from now on.

        With `tcp`, a host and a port, into TCP ports there, one for each board from that one on (0: any that
        are free). `ready` is called before, with the PTYs' paths (`socket://` URLs) by the boards' names.
        Ends and raises as `realtime.serve`.

        Raises:
            UsageError: a TCP port is not to be had.
        """
        with ExitStack() as opened:
            ports: dict[str, ToolPort] = {}
            for cable in self.cables.values():
                cable.unplug()
            for number, node in enumerate(self.config.nodes):
                port: ToolPort = PtyPort() if tcp is None else _tcp_port(*tcp, number)
                ports[node.name] = opened.enter_context(port)
                self._wire(port, node)
            ready({name: port.path for name, port in ports.items()})
            serve(self.kernel, self.boards.values(), ports.values())

    def _plug(self, host: HostPort | CableEnd, node: NodeConfig, port: str) -> None:
        """Plug a host's end into a real board's serial port, or its BLE; no lab goes without its CH's."""
        try:
            opened = self._open(host, node, port)
        except UsageError as e:
            if node.is_hub:
                raise
            _LOG.warning("%s is off: %s", node.name, e.what)
            self.closed[node.name] = e
            return
        self._opened.append(opened)
        host.plug(opened)

    def _open(self, host: HostPort | CableEnd, node: NodeConfig, port: str) -> SerialPort | BlePort:
        if is_ble(port):
            return open_ble(port, self.loop, host.feed)
        flow_control = node.wired and node.board.uart.flow_control
        return SerialPort(port, node.baud, self.loop, flow_control=flow_control, feed=host.feed)

    def _wire(self, port: HostEnd, node: NodeConfig) -> None:
        """Plug a host's end into an emulated board's WAN link, or its cable, in place of the one before."""
        board = self.boards[node.name]
        self.wires.append(UartWire(self.kernel, port, board, WAN, node.baud, self.config.wan))

    def close(self) -> None:
        """Power off; the flash files stay as they are."""
        for board in self.boards.values():
            board.close()
        for opened in self._opened:
            opened.close()
        if self._capture:
            self._capture.close()
        self.run(_end_tasks())
        self.loop.close()


def _tcp_port(host: str, first: int, number: int) -> TcpPort:
    return TcpPort(host, first + number if first else 0)


async def _end_tasks() -> None:
    """Cancel what an error has left behind, so that asyncio does not complain of it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
