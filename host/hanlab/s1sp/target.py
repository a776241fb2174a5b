"""Whom a Service Request is for."""

from __future__ import annotations

from dataclasses import dataclass

from hanlab.boards.data import DeviceModel


@dataclass(frozen=True)
class Target:
    """The device that a Service Request is for."""

    name: str
    eui: bytes
    model: DeviceModel

    @property
    def is_hub(self) -> bool:
        """It is the CH itself, and on no HAN but its own."""
        return self.model.device_type == "CHF"
