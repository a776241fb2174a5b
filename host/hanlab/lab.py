"""A `Lab`: the boards on the desk and the Service Requests that reach them.

```python
with Lab.open() as lab:                                  # or Lab.open("lab.toml")
    ppmid = lab.device("PPMID")
    lab.run(lab.update_firmware(image, ppmid))           # 11.1
    lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))     # 11.3
    print(lab.run(lab.read_firmware_version(ppmid)).firmware)               # 11.2
```

Emulated boards are powered on when a lab is opened and off when it is closed; their flash lasts in the
lab's state folder, as a real board's does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from hanlab.bench.desk import Desk, network_key
from hanlab.boards.data import DeviceModel
from hanlab.errors import UsageError
from hanlab.images import OtaImage
from hanlab.lab_config import LabConfig, NodeConfig, read_lab
from hanlab.s1sp.outcome import Outcome
from hanlab.s1sp.service import Progress, Report, S1sp, Target
from hanlab.wan.client import WanClient
from hanlab.wan.messages import HanDevice, StoreReadResponse, VersionReadResponse

__all__ = ["Device", "Lab", "Outcome", "Progress"]

STATE: Final = ".hanlab"
"""The folder beside lab.toml (or here) that holds the boards' flash files."""

T = TypeVar("T")


def _no_report(progress: Progress) -> None:
    pass


class Device:
    """A board of the lab by its name, with its EUI-64 and Device Model."""

    def __init__(self, node: NodeConfig) -> None:
        self.name = node.name
        self.eui = node.eui
        self.model: DeviceModel = node.model
        self.board = node.board

    @property
    def target(self) -> Target:
        return Target(self.name, self.eui.octets, self.model)


class Lab:
    """Open one with `Lab.open`; use it as a context manager."""

    def __init__(self, config: LabConfig, folder: Path, *, pcap: Path | None = None) -> None:
        self.config = config
        self.folder = folder
        self.hub = Device(config.hub)
        self.devices = tuple(Device(node) for node in config.devices)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)
        try:
            self._desk = Desk(config, folder, pcap=pcap)
        except BaseException:
            os.close(self._lock)
            raise
        self._wan = WanClient(self._desk.ports[config.hub.name])
        self.s1sp = S1sp(self._wan, config.hub.model)
        self._desk.power_on()

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        state: Path | None = None,
        pcap: Path | None = None,
    ) -> Self:
        """Open the lab that `path` (a lab.toml) describes; None: one emulated CH with one PPMID.

        `state` is the folder for the boards' flash files, `pcap` captures the HAN.

        Raises:
            UsageError: the file is wrong, or another command has the lab.
        """
        file = Path(path) if path is not None else None
        config = read_lab(file)
        beside = file.parent if file else Path()
        return cls(config, state or beside / STATE / config.name, pcap=pcap)

    def close(self) -> None:
        """Power the boards off; their flash stays."""
        if self._lock < 0:
            return
        try:
            if not self._desk.loop.is_closed():
                self._desk.run(self._wan.close())
        finally:
            self._desk.close()
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, request: Coroutine[Any, Any, T]) -> T:
        """Run one of the lab's coroutines to its end, on the lab's clock."""
        return self._desk.run(request)

    @property
    def frames_on_air(self) -> int:
        """How many frames the HAN has carried, acknowledgements not counted."""
        return self._desk.air.frames

    @property
    def clock_us(self) -> int:
        """The lab's time in µs: the bench's, which has nothing to do with the wall clock."""
        return self._desk.kernel.now

    def device(self, name: str) -> Device:
        """The device with that name, EUI-64 or (if there is one only) device type."""
        wanted = name.upper()
        everyone = (self.hub, *self.devices)
        for match in (
            [d for d in everyone if d.name.upper() == wanted or str(d.eui) == wanted],
            [d for d in everyone if d.model.device_type == wanted],
        ):
            if len(match) == 1:
                return match[0]
        known = ", ".join(f"{d.name} ({d.eui})" for d in self.devices)
        raise UsageError(f"this lab has no device {name!r}", next_step=f"it has {known}")

    # -- Service Requests

    async def update_firmware(
        self, image: OtaImage, device: Device, report: Report = _no_report
    ) -> Outcome:
        """11.1 Update Firmware; see `S1sp.update_firmware`."""
        return await self.s1sp.update_firmware(image, device.target, report)

    async def read_firmware_version(self, device: Device) -> VersionReadResponse:
        """11.2 Read Firmware Version: what the device answers."""
        return await self.s1sp.read_firmware_version(device.target)

    async def activate_firmware(
        self, hash_: bytes, device: Device, report: Report = _no_report
    ) -> Outcome:
        """11.3 Activate Firmware; see `S1sp.activate_firmware`."""
        return await self.s1sp.activate_firmware(hash_, device.target, report)

    async def wait_until_back(self, device: Device) -> VersionReadResponse:
        """The version of a device that restarts, as soon as it answers again."""
        return await self.s1sp.wait_until_back(device.target)

    # -- the Communications Hub

    async def store(self) -> StoreReadResponse:
        """What the CH's image store holds."""
        return await self.s1sp.store()

    async def evict(self, image_id: int) -> None:
        """Remove an image from the CH's store."""
        await self.s1sp.evict(image_id)

    async def han_devices(self) -> list[HanDevice]:
        """The devices that the CH knows on its HAN."""
        return await self.s1sp.devices()

    # -- for captures

    @property
    def network_key(self) -> bytes:
        """The HAN's network key, for a capture's key file."""
        return network_key(self.config)


def _lock(folder: Path) -> int:
    """One command on one lab at a time: the boards' flash files have one owner."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise UsageError(
            f"another hanlab command is using the lab in {folder}",
            next_step="wait for it to end, or use another lab (--lab)",
        ) from None
    return fd
