"""Link keys, under which a device gets the network key when it joins: Wireshark needs them to read a join."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hanlab.keys import LabKeys
from hanlab.lab.board_json import install_code
from hanlab.lab.config import LabConfig

_BLOCK: Final = 16


def link_keys(config: LabConfig, keys: LabKeys) -> dict[str, bytes]:
    """The link key (16 octets) of each device, by what to call it."""
    devices = (node for node in config.nodes if not node.is_hub)
    return {f"link of {node.name}": link_key(install_code(node, keys)) for node in devices}


def link_key(code: bytes) -> bytes:
    """What an install code stands for: the AES-MMO hash of it and its CRC-16/X-25, which labels have behind it."""
    return _mmo(code + _crc16_x25(code).to_bytes(2, "little"))


def _mmo(octets: bytes) -> bytes:
    """Zigbee's hash (Zigbee Core, B.6): Matyas-Meyer-Oseas over AES-128."""
    padding = (_BLOCK - 3 - len(octets)) % _BLOCK
    message = octets + b"\x80" + bytes(padding) + (8 * len(octets)).to_bytes(2)
    digest = bytes(_BLOCK)
    for at in range(0, len(message), _BLOCK):
        block = message[at : at + _BLOCK]
        sealed = Cipher(algorithms.AES(digest), modes.ECB()).encryptor().update(block)
        digest = bytes(a ^ b for a, b in zip(sealed, block, strict=True))
    return digest


def _crc16_x25(octets: bytes) -> int:
    crc = 0xFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc ^ 0xFFFF
