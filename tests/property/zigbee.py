"""The HAN's frames a second time, independent of the firmware: by the standards, with `cryptography`'s AES-CCM.

IEEE 802.15.4 data frame, Zigbee NWK header and auxiliary header (security level 5, network key), APS data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from crcmod.predefined import mkPredefinedCrcFun
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from smpclient.transport.serial.framing.cobs import cobs_decode, cobs_encode

MIC = 4
PAYLOAD_MAX = 82
BROADCAST = 0xFFF8
"""This short address and those above are broadcast addresses."""

_LEVEL = 5
_fcs = mkPredefinedCrcFun("kermit")


@dataclass(frozen=True)
class Node:
    """A node's place in the HAN; `eui` as it is written, most significant octet first."""

    pan: int
    short: int
    eui: bytes
    key: bytes
    key_sequence: int = 0
    neighbours: tuple[tuple[bytes, int], ...] = ()

    def for_firmware(self) -> tuple[object, ...]:
        """As tests/firmware/oracle.py takes it."""
        return (self.pan, self.short, self.eui, self.key, self.key_sequence, self.neighbours)


@dataclass(frozen=True)
class Message:
    """An APS data frame's content and addresses."""

    src: int
    dst: int
    profile: int
    cluster: int
    src_ep: int
    dst_ep: int
    payload: bytes


def nonce(eui: bytes, counter: int) -> bytes:
    return eui[::-1] + struct.pack("<IB", counter, 0x28 | _LEVEL)


def seal(node: Node, message: Message, counter: int, sequence: int) -> bytes:
    """The PSDU, FCS included."""
    broadcast = message.dst >= BROADCAST
    mac = struct.pack(
        "<HBHHH",
        0x8841 if broadcast else 0x8861,
        sequence,
        node.pan,
        0xFFFF if broadcast else message.dst,
        message.src,
    )
    nwk = struct.pack("<HHHBB", 0x0208, message.dst, message.src, 30, sequence)
    auxiliary = struct.pack("<I8sB", counter, node.eui[::-1], node.key_sequence)
    aps = struct.pack(
        "<BBHHBB",
        0x08 if broadcast else 0x00,
        message.dst_ep,
        message.cluster,
        message.profile,
        message.src_ep,
        sequence,
    )
    sealed = AESCCM(node.key, tag_length=MIC).encrypt(
        nonce(node.eui, counter),
        aps + message.payload,
        nwk + bytes([0x28 | _LEVEL]) + auxiliary,
    )
    frame = mac + nwk + b"\x28" + auxiliary + sealed
    return frame + struct.pack("<H", _fcs(frame))


def open_(psdu: bytes, key: bytes) -> tuple[Message, int, bytes] | None:
    """(message, frame counter, the sender's EUI-64) of a frame as `seal` makes it; None for any other."""
    if len(psdu) < 45 or _fcs(psdu[:-2]) != struct.unpack("<H", psdu[-2:])[0]:
        return None
    nwk = psdu[9:17]
    counter, wire_eui, _ = struct.unpack("<I8sB", psdu[18:31])
    eui = wire_eui[::-1]
    try:
        aps = AESCCM(key, tag_length=MIC).decrypt(
            nonce(eui, counter), psdu[31:-2], nwk + bytes([psdu[17] | _LEVEL]) + psdu[18:31]
        )
    except InvalidTag:
        return None
    _, dst, src, _, _ = struct.unpack("<HHHBB", nwk)
    _, dst_ep, cluster, profile, src_ep, _ = struct.unpack("<BBHHBB", aps[:8])
    return Message(src, dst, profile, cluster, src_ep, dst_ep, aps[8:]), counter, eui


def to_wire(psdu: bytes) -> bytes:
    """As a board's radio link carries it: COBS, ended by 00."""
    return cobs_encode(psdu) + b"\0"


def from_wire(octets: bytes) -> list[bytes]:
    """The PSDUs in what a board has sent."""
    return [cobs_decode(coded) for coded in octets.split(b"\0") if coded]
