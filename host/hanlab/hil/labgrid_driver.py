"""A labgrid driver: the lab of a lab.toml, at the serial port that labgrid has for its CH.

    imports: [hanlab.hil.labgrid_driver]
    targets:
      main:
        resources:
          RawSerialPort: {port: /dev/ttyACM0}   # or NetworkSerialPort, USBSerialPort; without one as lab.toml says
        drivers:
          HanlabDriver: {lab_toml: lab.toml}

`target.get_driver("HanlabDriver").lab` is then what the fixture `lab` is in pytest. labgrid is LGPL; nothing else
of hanlab imports this module, nor labgrid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory
from labgrid.resource.serialport import NetworkSerialPort
from labgrid.step import step

from hanlab.hil.lab import Lab
from hanlab.hil.source import find_source, homes_of
from hanlab.lab.config import make_lab
from hanlab.lab.facade import Lab as Facade
from hanlab.lab.state import state_folder


@target_factory.reg_driver
@attr.s(eq=False)
class HanlabDriver(Driver):
    """The boards of `lab_toml` ("" is the default lab of emulated ones), their state in `folder`.

    Without `folder` that is beside the file, as for the command line.
    """

    bindings = {"port": {"SerialPort", "NetworkSerialPort", None}}  # noqa: RUF012  as labgrid has it
    lab_toml: str = attr.ib(default="", validator=attr.validators.instance_of(str))
    folder: str = attr.ib(default="", validator=attr.validators.instance_of(str))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._lab: Lab | None = None

    def on_activate(self) -> None:
        file = Path(self.lab_toml) if self.lab_toml else None
        source = find_source(self.lab_toml or None, None, None)
        lab = make_lab(source.name, self._at_its_port(source.data))
        folder = Path(self.folder) if self.folder else state_folder(file, lab)
        self._lab = Lab(Facade(lab, folder))

    def on_deactivate(self) -> None:
        if self._lab:
            self._lab.facade.close()
            self._lab = None

    def _at_its_port(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The lab with its first CH at the port that labgrid has bound."""
        lab = dict(data)
        if self.port is not None:
            hub = homes_of(lab)[0]["comms_hub"]
            hub["port"] = url_of(self.port)
        return lab

    @property
    def lab(self) -> Lab:
        """The lab, while the driver is active."""
        if self._lab is None:
            raise RuntimeError(f"{self!r} is not active: target.activate(driver) opens the lab")
        return self._lab

    @Driver.check_active
    @step(args=["device"], result=True)
    def version(self, device: str) -> str:
        """11.2 Read Firmware Version."""
        return self.lab.device(device).version

    @Driver.check_active
    @step(args=["device", "image"])
    def update(self, device: str, image: str) -> None:
        """11.1 and 11.3: put the OTA image in the file `image` onto a device, and start it."""
        from hanlab.images import read_image

        board, read = self.lab.device(device), read_image(image)
        board.update(read)
        board.activate(read)


def url_of(port: Any) -> str:
    """A labgrid serial port as lab.toml writes it."""
    if isinstance(port, NetworkSerialPort):
        kind = "rfc2217" if port.protocol == "rfc2217" else "socket"
        return f"{kind}://{port.host}:{port.port}"
    return str(port.port)
