"""The Dual Control Organisation: nothing critical happens to a SMETS1 device that it has not agreed to.

That it is a part of SMETS1's security control is public (row 121 of the rule table); what it agrees to here,
and how, is hanlab's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hanlab.keys import Secret


def activation(eui: bytes, hash_: bytes, counter: int) -> bytes:
    """What both MACs of an 11.3 cover: device (8 octets), Manufacturer Image hash (32), counter.

    The firmware's half is firmware/smets1/wan/dual_control.py.
    """
    return b"11.3" + eui + hash_ + counter.to_bytes(8, "big")


@dataclass(frozen=True)
class Authorised:
    """One activation that the DCO agreed to."""

    eui: bytes
    hash: bytes
    counter: int

    def __str__(self) -> str:
        return f"11.3 {self.eui.hex('-').upper()} counter {self.counter} hash {self.hash.hex()}"


class Dco:
    """Keeps its own log of what it authorised; `log` is where that outlives this process."""

    def __init__(self, key: Secret, log: Path | None = None) -> None:
        self._key = key
        self._log = log
        self.authorised: list[Authorised] = []

    def authorise(self, eui: bytes, hash_: bytes, counter: int) -> bytes:
        """Agree to an activation: the MAC (32 octets) without which the CH refuses it."""
        entry = Authorised(eui, hash_, counter)
        if self._log:
            with self._log.open("a") as log:
                print(entry, file=log)
        self.authorised.append(entry)
        return self._key.mac(activation(eui, hash_, counter))
