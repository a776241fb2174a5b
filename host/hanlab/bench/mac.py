"""A frame's MAC header (IEEE 802.15.4-2015, 7.2): what kind it is, from whom, and for whom."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

BROADCAST: Final = 0xFFFF
"""As a PAN every PAN, as a short address every station of the PAN."""
BEACON: Final = 0
DATA: Final = 1
COMMAND: Final = 3
BEACON_REQUEST: Final = 0x07

_FIXED: Final = 3
_FCS: Final = 2
_KIND: Final = 0x0007
_ACK_REQUEST: Final = 0x0020
_PAN_ID_COMPRESSION: Final = 0x0040
_SHORT: Final = 2
_EXTENDED: Final = 3

Address = int | bytes | None
"""A short address, an EUI-64 (8 octets, most significant first), or none."""


@dataclass(frozen=True, slots=True)
class MacHeader:
    """`to` and `sender` with their PANs; a PAN is None where there is no address."""

    kind: int
    asks_ack: bool
    to_pan: int | None
    to: Address
    sender_pan: int | None
    sender: Address
    end: int
    """Where the payload begins."""

    @property
    def wants_ack(self) -> bool:
        return self.asks_ack and self.to not in (None, BROADCAST)

    @property
    def pan(self) -> int | None:
        """Whose air it is on: of a beacon, which has no destination, its sender's."""
        return self.sender_pan if self.to_pan is None else self.to_pan

    def command(self, psdu: bytes) -> int | None:
        """Which MAC command `psdu`, the whole frame, is; None: it is none."""
        return psdu[self.end] if self.kind == COMMAND and self.end < len(psdu) - _FCS else None


def mac_header(psdu: bytes) -> MacHeader:
    """The header of a PSDU; without addresses where it is too short for what it says that it has."""
    control = int.from_bytes(psdu[:2], "little")  # also of one octet: garbage
    kind = control & _KIND
    try:
        to_pan, to, at = _address(psdu, _FIXED, control >> 10 & 3, None)
        compressed = to_pan if control & _PAN_ID_COMPRESSION else None
        sender_pan, sender, end = _address(psdu, at, control >> 14 & 3, compressed)
        if end > len(psdu) - _FCS:
            raise struct.error
    except struct.error:
        return MacHeader(kind, False, None, None, None, None, len(psdu))
    return MacHeader(kind, bool(control & _ACK_REQUEST), to_pan, to, sender_pan, sender, end)


def _address(psdu: bytes, at: int, mode: int, pan: int | None) -> tuple[int | None, Address, int]:
    """(PAN, address, where it ends); `pan`: it is left out, because it is the other's."""
    if mode not in (_SHORT, _EXTENDED):
        return None, None, at
    if pan is None:
        (pan,) = struct.unpack_from("<H", psdu, at)
        at += 2
    if mode == _SHORT:
        return pan, int(struct.unpack_from("<H", psdu, at)[0]), at + 2
    (eui,) = struct.unpack_from("8s", psdu, at)
    return pan, eui[::-1], at + 8
