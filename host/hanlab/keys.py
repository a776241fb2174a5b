"""Keys, which nothing prints: those of an emulated lab are made from its seed, so that a run can be repeated."""

from __future__ import annotations

import hashlib
import hmac
from typing import final


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
    """The keys of an emulated lab: whoever has its seed has them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.network = self._make("HAN", 16)
        """The HAN's network key."""
        self.stranger = self._make("other HAN", 16)
        """Another HAN's network key."""
        self.dco = self._make("DCO")
        """The Dual Control Organisation's, for 11.3 (rule 121)."""

    def wan(self, eui: bytes) -> Secret:
        """The key of the board with that EUI-64 (8 octets), for its WAN link."""
        return self._make(f"WAN of {eui.hex()}")

    def _make(self, what: str, octets: int = 32) -> Secret:
        text = f"hanlab emulated {what}, seed {self._seed}"
        return Secret(hashlib.sha256(text.encode()).digest()[:octets])
