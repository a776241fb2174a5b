"""The S1SP's half of dual control: with which counter an activation is authorised, and by which MACs."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hanlab.files import write_whole
from hanlab.keys import Secret
from hanlab.s1sp.dco import Dco, activation
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

MAX_COUNTER: Final = 2**63 - 1
"""Of an 11.3 on the WAN (firmware/README.md)."""
_FAR: Final = 2**62
"""No laptop has come so far by itself; from here on nothing would be left for a CH that took it over."""
_COUNT: Final = re.compile(r"[0-9]{1,19}\s*", re.ASCII)
_LOG: Final = logging.getLogger(__name__)


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
        self._last = _read(file) if file and file.exists() else 0

    def after(self, accepted: int) -> int:
        """A counter above all of ours, and above the last one that the CH accepted.

        Ours alone would be stuck with a CH that another laptop has used; the CH's alone would make
        an authorisation that somebody holds back good again.

        Raises:
            ServiceRequestFailed: there is none above the CH's.
        """
        if not 0 <= accepted < MAX_COUNTER:
            raise ServiceRequestFailed(
                Outcome.NOT_AUTHORISED,
                f"the last originator counter that the CH accepted is {accepted}; 11.3 has none above "
                f"{MAX_COUNTER}",
                next_step="flash the CH anew: it counts from 0 then",
            )
        self._last = max(self._last, accepted) + 1
        if self._file:
            write_whole(self._file, f"{self._last}\n".encode())
        return self._last


def _read(file: Path) -> int:
    """0 for what is no counter that we have come to: the CH's own is the floor then."""
    text = file.read_text(errors="replace")
    if _COUNT.fullmatch(text) and int(text) <= _FAR:
        return int(text)
    _LOG.warning(
        "%s is damaged: it keeps the last originator counter. Now it goes on from the CH's", file
    )
    return 0


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
