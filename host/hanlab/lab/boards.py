"""A lab's boards, emulated or real, and who talks to them: a client on each one's WAN link, the S1SP of the CH."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from hanlab.errors import UsageError
from hanlab.keys import LabKeys, read_secret
from hanlab.lab.config import LabConfig
from hanlab.lab.nodes import NodeConfig
from hanlab.lab.state import BOARD_KEYS
from hanlab.s1sp.authority import Authority, OriginatorCounter
from hanlab.s1sp.dco import Dco
from hanlab.s1sp.join_time import Rounding
from hanlab.s1sp.service import S1sp
from hanlab.wan.auth import Credentials
from hanlab.wan.client import PATIENCE_S, WanClient
from hanlab.wan.framing import Link

REAL_S: Final = 20.0
"""How long a real board that says nothing is waited for (s): a reset and a start take it 5 s at the most."""


class Port(Link, Protocol):
    """The host's end of a board's WAN link."""

    @property
    def framing(self) -> str:
        """How messages go over it: a name of `hanlab.wan.framing`."""

    @property
    def octets_s(self) -> float:
        """How fast it is, each way (octet/s)."""


class Boards(Protocol):
    """A lab's boards, emulated or real: their WAN links by name."""

    config: LabConfig
    keys: LabKeys
    entropy: random.Random

    @property
    def ports(self) -> Mapping[str, Port]: ...

    @property
    def closed(self) -> Mapping[str, UsageError]:
        """Why the port of a real device cannot be opened: it is off, as far as the others know."""


def lab_keys(config: LabConfig, folder: Path) -> LabKeys:
    """The keys of the lab's boards.

    Raises:
        UsageError: nobody has provisioned it, though it wants that.
    """
    if not config.provisioned:
        return LabKeys(config.seed)
    try:
        return LabKeys(read_secret(folder / BOARD_KEYS))
    except FileNotFoundError:
        raise UsageError(
            f"the boards of lab {config.name} have no keys yet ({folder / BOARD_KEYS})",
            next_step="hanlab provision makes them, and each board's board.json",
        ) from None


def wan_client(boards: Boards, name: str) -> WanClient:
    """A client on that board's own link; where the lab's WAN is closed it has the board's key.

    Raises:
        UsageError: it is a real board, and lab.toml names no port for it, or one that cannot be opened.
    """
    node = boards.config.node(name, any_board=True)
    if closed := boards.closed.get(node.name):
        raise closed
    port = boards.ports.get(node.name)
    if port is None:
        raise UsageError(
            f"{node.name} has no port of its own",
            next_step=f'port = "/dev/ttyUSB2" below {node.name} in lab.toml',
        )
    credentials = None
    if not boards.config.wan_open:
        eui = node.eui.octets
        credentials = Credentials(eui, boards.keys.wan(eui), boards.entropy.randbytes)
    patience_s = REAL_S if node.is_real else PATIENCE_S
    return WanClient(port, port.framing, credentials, port.octets_s, patience_s)


def network_keys(boards: Boards) -> dict[str, bytes]:
    """The network key of each home's HAN, by what to call it."""
    homes = boards.config.homes
    return {
        f"HAN of {home.name}" if len(homes) > 1 else "HAN": boards.keys.network(home.number).octets
        for home in homes
    }


class DualControl:
    """The S1SP's counter and the DCO, one each for all of a lab's homes; what they must not forget is in `folder`."""

    def __init__(self, keys: LabKeys, folder: Path) -> None:
        self._keys = keys
        self._dco = Dco(keys.dco, folder / "dco.log")
        self._counter = OriginatorCounter(folder / "originator_counter")

    def at(self, hub: NodeConfig) -> Authority:
        """What authorises activations at that CH."""
        return Authority(self._keys.wan(hub.eui.octets), self._dco, self._counter)


def s1sp_on(
    wan: WanClient,
    hub: NodeConfig,
    dual_control: DualControl,
    join_rounding: Rounding = Rounding.UP,
) -> S1sp:
    """The S1SP at that CH, which `wan` reaches."""
    return S1sp(wan, hub.model, dual_control.at(hub), join_rounding)
