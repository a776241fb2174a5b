"""The desk: a lab's emulated boards, powered on and wired up, with the host's loop on their clock."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from hanlab.bench.board import WAN, EmulatedBoard, Provision
from hanlab.bench.kernel import Kernel
from hanlab.bench.loop import BenchLoop
from hanlab.bench.pcap import PcapWriter
from hanlab.bench.radio import Air
from hanlab.bench.uart import HostPort, UartWire
from hanlab.boards.vm import Vm, find_vm
from hanlab.lab_config import LabConfig, NodeConfig

HUB_ADDRESS: Final = 0x0000
"""The Communications Hub is the HAN's coordinator."""
PAN_ID: Final = 0x5331

T = TypeVar("T")


class Desk:
    """Boards of `config`, their flash files in `folder`. `ports` holds the host's end of each UART."""

    def __init__(
        self, config: LabConfig, folder: Path, *, vm: Vm | None = None, pcap: Path | None = None
    ) -> None:
        self.config = config
        self.kernel = Kernel(config.seed)
        self.loop = BenchLoop(self.kernel)
        self.vm = vm or find_vm()
        self.air = Air(self.kernel)
        self.boards: dict[str, EmulatedBoard] = {}
        self.ports: dict[str, HostPort] = {}
        self._capture = PcapWriter(pcap) if pcap else None
        if self._capture:
            self.air.capture(self._capture)
        folder.mkdir(parents=True, exist_ok=True)
        for node, role in ((config.hub, "comms_hub"), *((d, "device") for d in config.devices)):
            provision = Provision(board_config(config, node, role), node.eui.octets)
            board = EmulatedBoard(self.kernel, node.name, node.board, self.vm, folder, provision)
            self.boards[node.name] = board
            self.ports[node.name] = HostPort(self.kernel)
            UartWire(self.kernel, self.ports[node.name], board, WAN, node.baud)
            self.air.attach(board)

    def power_on(self) -> None:
        for board in self.boards.values():
            board.power_on()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` on the bench's clock until it is done."""
        return self.loop.run_until_complete(main)

    def close(self) -> None:
        """Power off; the flash files stay as they are."""
        for board in self.boards.values():
            board.power_off()
        if self._capture:
            self._capture.close()
        self.loop.close()


def network_key(config: LabConfig) -> bytes:
    """The HAN's network key of an emulated lab: made from its seed, so that a run can be repeated."""
    return hashlib.sha256(f"hanlab emulated HAN, seed {config.seed}".encode()).digest()[:16]


def board_config(config: LabConfig, node: NodeConfig, role: str) -> dict[str, Any]:
    """What board.json on a board's flash says: its role, its HAN and its Device Model."""
    model = node.model
    nodes = (config.hub, *config.devices)
    address = {n.name: HUB_ADDRESS + i for i, n in enumerate(nodes)}
    played: dict[str, Any] = {
        "model": model.model,
        "manufacturer": model.manufacturer,
        "type": model.device_type,
        "version": model.duis_version,
        "capacity": model.store.capacity,
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
    return {
        "role": role,
        "eui": node.eui.octets.hex(),
        "model": played,
        "han": {"pan": PAN_ID, "address": address[node.name], "key": network_key(config).hex()},
        "neighbours": [
            {"eui": n.eui.octets.hex(), "address": address[n.name], "type": n.model.device_type}
            for n in nodes
            if n is not node
        ],
    }
