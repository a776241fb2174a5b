"""board.json on a board's flash: its role, its HAN, its Device Model. It has keys in it.

The bench writes it for emulated boards, `hanlab provision` for real ones.
"""

from __future__ import annotations

from typing import Any, Final

from hanlab.boards.clauses import Behaviour
from hanlab.boards.data import Board
from hanlab.eui import Eui
from hanlab.keys import LabKeys
from hanlab.lab.config import LabConfig
from hanlab.lab.homes import HomeConfig
from hanlab.lab.nodes import NodeConfig

HUB_ADDRESS: Final = 0x0000
"""The Communications Hub is the HAN's coordinator."""
PAN_ID: Final = 0x5331
"""Of the lab's first home; the next one's is the next number."""
HAN_BAUD: Final = 115_200
"""Of the wire that is the HAN between real boards: the same for all that it joins."""
CABLE_RXBUF: Final = 2048
"""Octets of the driver's ring of a cable's UART, which is emptied into the rings of WAN and HAN."""


def board_json(config: LabConfig, node: NodeConfig, keys: LabKeys) -> dict[str, Any]:
    """The contents of that board's board.json."""
    model = node.model
    played: dict[str, Any] = {
        "model": model.model,
        "manufacturer": model.manufacturer,
        "type": model.device_type,
        "version": model.duis_version,
        # without a clause on size a store has no limit but its flash (rule 6)
        "capacity": model.store.capacity if model.has(Behaviour.SIZE) else None,
        "size_behaviour": model.store.size_behaviour,
    }
    if model.update:
        wanted = model.update.metadata_manufacturer
        played["metadata"] = wanted if model.has(Behaviour.METADATA) else ""
    if model.ota:
        played["manufacturer_code"] = model.ota.manufacturer_code
        played["image_type"] = model.ota.image_type
        played["hardware"] = int(model.hardware_version, 16)
    wan: dict[str, Any] = {
        "open": config.wan_open,
        "key": keys.wan(node.eui.octets).octets.hex(),
    }
    if node.is_hub:
        wan["dco_key"] = keys.dco.octets.hex()
    port = (_wiring(node) if node.is_real or node.uf2 else {}) | _ble(node)
    home = config.home_of(node)
    mirror = {"gpf": home.gpf.octets.hex()} if home and home.gpf and node.is_hub else {}
    return {
        "role": "comms_hub" if node.is_hub else "device",
        "eui": node.eui.octets.hex(),
        "model": played,
        "limits": limits(node.board, node.patience),
        **({} if node.is_hub else {"install_code": install_code(node, keys).hex()}),
        **(_han(home, node, keys) if home and node.joined else {}),
        "wan": wan,
        **mirror,
        **({"port": port} if port else {}),
    }


def pan(home: HomeConfig) -> int:
    """The PAN identifier of that home's HAN."""
    return PAN_ID + home.number


def addresses(home: HomeConfig) -> dict[str, int]:
    """The short addresses of those that come with the home's network key, by name."""
    joined = [node for node in home.nodes if node.joined]
    return {node.name: HUB_ADDRESS + i for i, node in enumerate(joined)}


def install_code(node: NodeConfig, keys: LabKeys) -> bytes:
    """What is on the device's label, without the CRC."""
    return node.install_code or keys.install_code(node.eui.octets)


def _han(home: HomeConfig, node: NodeConfig, keys: LabKeys) -> dict[str, Any]:
    """The HAN that a board comes with, and who else is on it."""
    key = keys.stranger if node.stranger else keys.network(home.number)
    address = addresses(home)
    others = [other for other in home.nodes if other.name in address and other is not node]
    return {
        "han": {"pan": pan(home), "address": address[node.name], "key": key.octets.hex()},
        "neighbours": [_neighbour(other, address[other.name]) for other in others],
    }


def _neighbour(node: NodeConfig, address: int) -> dict[str, Any]:
    activation = node.model.activation
    return {
        "eui": node.eui.octets.hex(),
        "address": address,
        "type": node.model.device_type,
        **({"steps": activation.steps} if activation else {}),
    }


def _wiring(node: NodeConfig) -> dict[str, Any]:
    """What boards/ports/chip.py needs to know of a real board."""
    uart, smp = node.board.uart, node.board.smp
    buffers = {"smp": [smp.buf_size, smp.buf_count]}
    if node.on_cable:
        return {**buffers, "cable": _cable(node)}
    unused = () if uart.flow_control else ("rts", "cts")
    links = {
        name: {"baud": baud, "rxbuf": rxbuf}
        | {key: n for key, n in vars(wiring).items() if n is not None and key not in unused}
        for name, baud, rxbuf, wiring in (
            ("wan", node.baud, uart.rxbuf, uart.wan),
            ("han", HAN_BAUD, uart.han_rxbuf, uart.han),
        )
    }
    return {**buffers, **links}


def _cable(node: NodeConfig) -> dict[str, Any]:
    cable, uart = node.board.cable, node.board.uart
    rings = {"rings": [uart.rxbuf, uart.han_rxbuf]}
    wiring = uart.wan if node.uf2 else cable.pins  # an emulated chip's USB has the REPL alone
    if wiring is None:
        return {"kind": cable.kind, **rings}
    unused = ("rts", "cts")
    pins = {key: n for key, n in vars(wiring).items() if n is not None and key not in unused}
    return {"kind": "uart", "baud": node.baud, "rxbuf": CABLE_RXBUF, **pins, **rings}


def _ble(node: NodeConfig) -> dict[str, Any]:
    """What boards/ports/ble.py needs to know of a board that is reached by BLE."""
    smp = node.board.radio.ble_smp
    if not node.ble or smp is None:
        return {}
    return {"ble": {"name": ble_name(node.eui), "smp": [smp.buf_size, smp.buf_count]}}


def ble_name(eui: Eui) -> str:
    """What a board says over BLE that it is called: by the end of its EUI-64, as it is on its label."""
    return f"hanlab-{eui.octets[-2:].hex().upper()}"


def limits(board: Board, patience: int = 1) -> dict[str, int]:
    """What a client can count on (group 0x5331, `limits`): rates in octet/s, the rest in ms.

    `patience`: how many times as long as this kind of board takes.

    The writing rate is that of typical flash times, halved; a hash reads flash back, and 100,000
    octet/s is a ninth of what an RP2040 was seen to do.
    """
    flash = board.flash
    sector_us = flash.erase_us + flash.sector // flash.page * flash.program_us
    return {
        "reply_ms": 500 * patience,
        "write_octets_s": flash.sector * 1_000_000 // sector_us // 2 // patience,
        "hash_octets_s": 100_000 // patience,
        "han_ms": 6_000 * patience,
    }
