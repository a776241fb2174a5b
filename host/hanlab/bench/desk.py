"""The desk: a lab's emulated boards, powered on and wired up, with the host's loop on their clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from hanlab.bench.board import WAN, EmulatedBoard, Provision
from hanlab.bench.kernel import Kernel
from hanlab.bench.loop import BenchLoop
from hanlab.bench.pcap import PcapWriter, write_key
from hanlab.bench.radio import Air
from hanlab.bench.realtime import PtyPort, serve
from hanlab.bench.uart import HostPort, UartWire
from hanlab.boards.data import Board
from hanlab.boards.vm import Vm, find_vm
from hanlab.keys import LabKeys
from hanlab.lab_config import LabConfig, NodeConfig

HUB_ADDRESS: Final = 0x0000
"""The Communications Hub is the HAN's coordinator."""
PAN_ID: Final = 0x5331

T = TypeVar("T")


class Desk:
    """Boards of `config`, their flash files in `folder`. `ports` holds the host's end of each UART."""

    def __init__(
        self,
        config: LabConfig,
        folder: Path,
        *,
        vm: Vm | None = None,
        pcap: Path | None = None,
        firmware: Path | None = None,
    ) -> None:
        self.config = config
        self.vm = vm or find_vm()
        self.keys = LabKeys(config.seed)
        self.kernel = Kernel(config.seed)
        self.entropy = self.kernel.random("host")
        """What the host's nonces come from."""
        self.loop = BenchLoop(self.kernel)
        self.air = Air(self.kernel, config.han)
        self.wires: list[UartWire] = []
        self.boards: dict[str, EmulatedBoard] = {}
        self.ports: dict[str, HostPort] = {}
        self._capture: PcapWriter | None = None
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for node, role in ((config.hub, "comms_hub"), *((d, "device") for d in config.devices)):
                provision = Provision(board_config(config, node, role, self.keys), node.eui.octets)
                board = EmulatedBoard(
                    self.kernel, node.name, node.board, self.vm, folder, provision, firmware
                )
                self.boards[node.name] = board
                self.ports[node.name] = HostPort(self.kernel)
                self._wire(self.ports[node.name], node)
                self.air.attach(board, HUB_ADDRESS + len(self.boards) - 1)
            if pcap:
                self._capture = PcapWriter(pcap)
                self.air.capture(self._capture)
                write_key(pcap, self.keys.network.octets)
        except BaseException:
            self.close()
            raise

    def power_on(self) -> None:
        for board in self.boards.values():
            board.power_on()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` on the bench's clock until it is done."""
        return self.loop.run_until_complete(main)

    def serve(self, ready: Callable[[dict[str, str]], None]) -> None:
        """Plug each board's UART into a PTY, and pace the bench by the wall clock from now on.

        `ready` is called before, with the PTYs' paths by the boards' names. Ends and raises as
        `realtime.serve`.
        """
        with ExitStack() as open_ptys:
            ptys = {}
            for node in (self.config.hub, *self.config.devices):
                ptys[node.name] = pty = open_ptys.enter_context(PtyPort())
                self._wire(pty, node)
            ready({name: pty.path for name, pty in ptys.items()})
            serve(self.kernel, self.boards.values(), ptys.values())

    def _wire(self, port: HostPort | PtyPort, node: NodeConfig) -> None:
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


async def _end_tasks() -> None:
    """Cancel what an error has left behind, so that asyncio does not complain of it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def board_config(config: LabConfig, node: NodeConfig, role: str, keys: LabKeys) -> dict[str, Any]:
    """What board.json on a board's flash says: its role, its HAN and its Device Model. It has keys in it."""
    model = node.model
    nodes = (config.hub, *config.devices)
    address = {n.name: HUB_ADDRESS + i for i, n in enumerate(nodes)}
    # rule 6: a CH without the size clauses has no size failure; a device's store is its own
    limited = model.size_limited or node is not config.hub
    played: dict[str, Any] = {
        "model": model.model,
        "manufacturer": model.manufacturer,
        "type": model.device_type,
        "version": model.duis_version,
        "capacity": model.store.capacity if limited else None,
        "size_behaviour": model.store.size_behaviour,
    }
    if model.update:
        played["steps"] = model.update.activation_steps
        played["metadata"] = (
            model.update.metadata_manufacturer if model.update.needs_metadata else ""
        )
    if model.ota:
        played["manufacturer_code"] = model.ota.manufacturer_code
        played["image_type"] = model.ota.image_type
        played["hardware"] = int(model.hardware_version, 16)
    wan: dict[str, Any] = {
        "open": config.wan_open,
        "key": keys.wan(node.eui.octets).octets.hex(),
    }
    if node is config.hub:
        wan["dco_key"] = keys.dco.octets.hex()
    mirror = {"gpf": config.gpf.octets.hex()} if config.gpf and node is config.hub else {}
    return {
        "role": role,
        "eui": node.eui.octets.hex(),
        "model": played,
        "limits": limits(node.board),
        "han": {
            "pan": PAN_ID,
            "address": address[node.name],
            "key": (keys.stranger if node.stranger else keys.network).octets.hex(),
        },
        "wan": wan,
        **mirror,
        "neighbours": [
            {"eui": n.eui.octets.hex(), "address": address[n.name], "type": n.model.device_type}
            for n in nodes
            if n is not node
        ],
    }


def limits(board: Board) -> dict[str, int]:
    """What a client can count on (group 0x5331, `limits`): rates in octet/s, the rest in ms.

    The writing rate is that of typical flash times, halved; a hash reads flash back, and 100,000
    octet/s is a ninth of what an RP2040 was seen to do.
    """
    flash = board.flash
    sector_us = flash.erase_us + flash.sector // flash.page * flash.program_us
    return {
        "reply_ms": 500,
        "boot_ms": board.boot.time_us // 1000,
        "write_octets_s": flash.sector * 1_000_000 // sector_us // 2,
        "hash_octets_s": 100_000,
        "han_ms": 6_000,
    }
