"""firmware/README.md's octets of the HAN, as tests read them, and what is on the air, decrypted."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from wire_formats import README

TUNNELING: Final = 0x0704
PROOF: Final = 0xFC53
_ROW: Final = re.compile(r"^([a-z-]+) +(\S.*)$", re.MULTILINE)
_FIELD: Final = re.compile(r"([a-z-]+)\((\d+|n)\)")


def forms() -> dict[str, list[str]]:
    """The README's rows: a name, and the words that say which octets it has."""
    found = re.search(r"```octets\n(.*?)```", README, re.DOTALL)
    assert found
    return {name: words.split() for name, words in _ROW.findall(found[1])}


def parsed(words: list[str], octets: bytes) -> dict[str, bytes] | None:
    """The fields of octets that have the form; None if they have another."""
    fields: dict[str, bytes] = {}
    at = n = 0
    for word in words:
        if field := _FIELD.fullmatch(word):
            size = n if field[2] == "n" else int(field[2])
            fields[field[1]] = value = octets[at : at + size]
            if len(value) != size or (field[2] == "n" and not _is_shortest(value)):
                return None
            at += size
            continue
        if at == len(octets):
            return None
        if word == "n":
            n = octets[at]
        elif octets[at] != (len(octets) - at - 1 if word == "len" else int(word, 16)):
            return None
        at += 1
    return fields if at == len(octets) else None


def _is_shortest(number: bytes) -> bool:
    """Whether DER has that number, and it is not negative."""
    value = int.from_bytes(number)
    return len(number) == value.bit_length() // 8 + 1


@dataclass(frozen=True)
class Heard:
    """What a frame carried."""

    to_device: bool
    cluster: int
    zcl: bytes


def heard(psdu: bytes, key: bytes) -> Heard | None:
    """A frame's ZCL; None for an acknowledgement, and for what that key does not open."""
    if len(psdu) < 45:
        return None
    level = bytes([psdu[17] | 5])
    nonce = psdu[22:30] + psdu[18:22] + level
    try:
        aps = AESCCM(key, tag_length=4).decrypt(
            nonce, psdu[31:-2], psdu[9:17] + level + psdu[18:31]
        )
    except InvalidTag:
        return None
    (to,) = struct.unpack_from("<H", psdu, 5)
    return Heard(to != 0, struct.unpack_from("<H", aps, 2)[0], aps[8:])
