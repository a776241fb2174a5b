"""The desk: a lab's emulated boards, powered on and wired up, with the host's loop on their clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from hanlab.bench.board import WAN, BoardError, EmulatedBoard, Provision
from hanlab.bench.boards import BenchBoard
from hanlab.bench.chips import Chips
from hanlab.bench.kernel import Kernel
from hanlab.bench.loop import BenchLoop
from hanlab.bench.pcap import PcapWriter, write_keys
from hanlab.bench.radio import Air
from hanlab.bench.realtime import PtyPort, TcpPort, ToolPort, serve
from hanlab.bench.starts import Starts
from hanlab.bench.uart import HostEnd, HostPort, UartWire
from hanlab.boards.vm import Vm, find_vm
from hanlab.impairments import Impairments
from hanlab.keys import LabKeys
from hanlab.lab.board_json import addresses, board_json, pan
from hanlab.lab.boards import network_keys
from hanlab.lab.config import LabConfig
from hanlab.lab.link_keys import link_keys
from hanlab.lab.nodes import NodeConfig

T = TypeVar("T")
_HOST = "_host"
"""Among the names of boards, which begin otherwise."""

_LIVES: Final = 3
_LIVES_US: Final = 60_000_000


class Desk:
    """Boards of `config`, their flash files in `folder`. `ports` holds the host's end of each UART."""

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
        self.vm = vm or find_vm()
        self.keys = keys or LabKeys(config.seed)
        self.kernel = Kernel(config.seed)
        self.loop = BenchLoop(self.kernel)
        self.air = Air(self.kernel, config.han)
        self.wires: list[UartWire] = []
        self.boards: dict[str, BenchBoard] = {}
        self.ports: dict[str, HostPort] = {}
        self._capture: PcapWriter | None = None
        folder.mkdir(parents=True, exist_ok=True)
        is_new = not any(folder.glob("*.flash"))
        start = Starts(folder, _HOST, is_new=is_new).next()
        self.entropy = self.kernel.random(f"host, start {start}")
        """What the host's nonces come from: new ones in each command, for old ones have recorded answers."""
        chips = Chips(self.kernel)
        try:
            for node in config.nodes:
                provision = Provision(board_json(config, node, self.keys), node.eui.octets)
                board: BenchBoard
                if node.uf2:
                    board = chips.board(node.name, node.board, node.uf2, folder, provision)
                else:
                    board = EmulatedBoard(
                        self.kernel, node.name, node.board, self.vm, folder, provision, firmware
                    )
                self.boards[node.name] = board
                self.ports[node.name] = HostPort(self.kernel)
                self._wire(self.ports[node.name], node)
                home = config.home_of(node)
                address = addresses(home).get(node.name) if home else None
                self.air.attach(board, pan(home) if home and node.joined else None, address)
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

    def power_on(self) -> None:
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
            for number, node in enumerate(self.config.nodes):
                port: ToolPort = PtyPort() if tcp is None else _tcp_port(*tcp, number)
                ports[node.name] = opened.enter_context(port)
                self._wire(port, node)
            ready({name: port.path for name, port in ports.items()})
            serve(self.kernel, self.boards.values(), ports.values())

    def _wire(self, port: HostEnd, node: NodeConfig) -> None:
        """Plug a host's end into a board's WAN link, in place of the one before."""
        board = self.boards[node.name]
        self.wires.append(UartWire(self.kernel, port, board, WAN, node.baud, self.config.wan))

    def close(self) -> None:
        """Power off; the flash files stay as they are."""
        for board in self.boards.values():
            board.close()
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
