"""The S1SP's half of dual control: with which counter an activation is authorised, and by which MACs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hanlab.files import write_whole
from hanlab.keys import Secret
from hanlab.s1sp.dco import Dco, activation


@dataclass(frozen=True)
class Authorisation:
    """What an 11.3 carries beside device and hash; good for one activation."""

    counter: int
    mac: bytes
    dco_mac: bytes


class OriginatorCounter:
    """Grows from one authorisation to the next, over all commands: `file` keeps the last one."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._last = 0
        if file and file.exists():
            text = file.read_text(errors="replace").strip()
            self._last = int(text) if text.isdecimal() else 0  # the CH's own is the floor then

    def after(self, accepted: int) -> int:
        """A counter above all of ours, and above the last one that the CH accepted.

        Ours alone would be stuck with a CH that another laptop has used; the CH's alone would make
        an authorisation that somebody holds back good again.
        """
        self._last = max(self._last, accepted) + 1
        if self._file:
            write_whole(self._file, f"{self._last}\n".encode())
        return self._last


class Authority:
    """Authorises activations at the CH whose WAN key is `key`, together with the DCO."""

    def __init__(self, key: Secret, dco: Dco, counter: OriginatorCounter) -> None:
        self._key = key
        self._dco = dco
        self._counter = counter

    def authorise(self, eui: bytes, hash_: bytes, accepted: int) -> Authorisation:
        """For one activation; `accepted` is the last counter that the CH accepted for the device."""
        counter = self._counter.after(accepted)
        mac = self._key.mac(activation(eui, hash_, counter))
        return Authorisation(counter, mac, self._dco.authorise(eui, hash_, counter))
