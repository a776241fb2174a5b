"""A home of an opened lab: its CH, what stands in its reach, and the S1SP that serves it."""

from __future__ import annotations

from dataclasses import dataclass

from hanlab.boards.data import DeviceModel
from hanlab.lab.nodes import NodeConfig
from hanlab.s1sp.service import S1sp
from hanlab.s1sp.target import Target
from hanlab.wan.client import WanClient


class Device:
    """A board of the lab by its name, with its EUI-64 and Device Model."""

    def __init__(self, node: NodeConfig) -> None:
        self.name = node.name
        self.eui = node.eui
        self.model: DeviceModel = node.model
        self.board = node.board

    @property
    def is_hub(self) -> bool:
        """It is a Communications Hub."""
        return self.model.device_type == "CHF"

    @property
    def target(self) -> Target:
        return Target(self.name, self.eui.octets, self.model)


@dataclass(frozen=True)
class Home:
    """One CH with its HAN. All homes of a lab have one S1SP, with one counter and one DCO; `s1sp` is its door here."""

    name: str
    hub: Device
    devices: tuple[Device, ...]
    """What stands here, as lab.toml says; which of them are on the HAN, and who else, the CH knows."""
    s1sp: S1sp
    wan: WanClient
    """The client on the CH's UART."""
