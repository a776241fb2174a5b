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
