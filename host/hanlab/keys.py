"""Keys, which nothing prints.

Those of an emulated lab are made from its seed, so that a run can be repeated; those of real boards from a
secret that `hanlab provision` makes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import Final, final

from hanlab.errors import UsageError
from hanlab.files import write_whole

SECRET_OCTETS: Final = 32


@final
class Secret:
    """A key. Its octets show in no repr, no log and no traceback; whoever needs them asks for `octets`."""

    __slots__ = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def __repr__(self) -> str:
        return f"Secret({len(self.octets)} octets)"

    def mac(self, *parts: bytes) -> bytes:
        """HMAC-SHA256 (32 octets) over the parts, one behind the other."""
        return hmac.digest(self.octets, b"".join(parts), "sha256")


class LabKeys:
    """A lab's keys. From a seed: whoever has it has them. From a secret: nobody else has them."""

    def __init__(self, source: int | Secret) -> None:
        self._source = source
        self.stranger = self._make("other HAN", 16)
        """Another HAN's network key."""
        self.dco = self._make("DCO")
        """The Dual Control Organisation's, for 11.3."""

    def network(self, home: int) -> Secret:
        """The network key of the HAN of the lab's home with that number, from 0."""
        return self._make(f"HAN {home}" if home else "HAN", 16)

    def install_code(self, eui: bytes) -> bytes:
        """What the label of the device with that EUI-64 says: 16 octets, without the CRC that Zigbee adds."""
        return self._make(f"install code of {eui.hex()}", 16).octets

    def wan(self, eui: bytes) -> Secret:
        """The key of the board with that EUI-64 (8 octets), for its WAN link."""
        return self._make(f"WAN of {eui.hex()}")

    def _make(self, what: str, octets: int = 32) -> Secret:
        if isinstance(self._source, Secret):
            return Secret(self._source.mac(f"hanlab {what}".encode())[:octets])
        text = f"hanlab emulated {what}, seed {self._source}"
        return Secret(hashlib.sha256(text.encode()).digest()[:octets])


def make_secret(file: Path) -> Secret:
    """A new secret in `file`, for its owner alone.

    Raises:
        FileExistsError: there is one already.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    octets = os.urandom(SECRET_OCTETS)
    write_whole(file, f"{octets.hex()}\n".encode(), mode=0o600, new=True)
    return Secret(octets)


def read_secret(file: Path) -> Secret:
    """What `make_secret` made.

    Raises:
        FileNotFoundError: there is none.
        UsageError: it is damaged.
    """
    try:
        octets = bytes.fromhex(file.read_text("ascii"))
    except ValueError:
        octets = b""
    if len(octets) != SECRET_OCTETS:
        raise UsageError(
            f"{file} has no {SECRET_OCTETS} octets in hex in it",
            next_step=f"put back what was in it; or move {file} away: hanlab provision makes a new one, and "
            "the boards need their new board.json",
        )
    return Secret(octets)
