"""EUI-64: the identifier of devices, users and DCC systems alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hanlab.errors import UsageError

_EUI: Final = re.compile(r"[0-9A-Fa-f]{2}(-[0-9A-Fa-f]{2}){7}")


@dataclass(frozen=True, order=True)
class Eui:
    """An EUI-64, written as DUIS does: `00-DB-12-34-56-78-90-A2`."""

    octets: bytes

    @classmethod
    def parse(cls, text: str) -> Eui:
        if not _EUI.fullmatch(text):
            raise UsageError(
                f"{text!r} is no EUI-64",
                next_step="eight pairs of hex digits joined by -, e.g. 00-DB-12-34-56-78-90-A4",
            )
        return cls(bytes.fromhex(text.replace("-", "")))

    def __str__(self) -> str:
        return self.octets.hex("-").upper()
