"""What the tests of whole labs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hanlab.bench.board import EmulatedBoard
from hanlab.bench.boards import BenchBoard
from hanlab.demos.parts import GAS_METER, METER
from hanlab.eui import Eui
from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Device, Lab
from hanlab.lab.config import DEFAULT, LabConfig, make_lab
from hanlab.lab.desk import Desk
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

OpenLab = Callable[..., Lab]
OpenDesk = Callable[..., Desk]


def config(
    hub: dict[str, Any] | None = None,
    device: dict[str, Any] | None = None,
    *,
    seed: int = 1,
    wan_open: bool = False,
) -> LabConfig:
    """The default lab with other settings for its two boards."""
    return make_lab(
        "test",
        {
            "seed": seed,
            "wan_open": wan_open,
            "comms_hub": {**DEFAULT["comms_hub"], **(hub or {})},
            "device": [{**DEFAULT["device"][0], **(device or {})}],
        },
    )


def in_vm(board: BenchBoard) -> EmulatedBoard:
    """A board that runs in a MicroPython VM, as nearly all do."""
    assert isinstance(board, EmulatedBoard)
    return board


def make_image(body: int = 8192, version: str = "IHDAE06", **fields: Any) -> OtaImage:
    """An image for the default lab's PPMID, whatever is not given."""
    return build(
        made_body(body, seed=len(version)),
        device_type="PPMID",
        version=version,
        **{"for_ch": "Secure", **fields},
    )


PPMID: dict[str, Any] = DEFAULT["device"][0]
OTHER_PPMID: dict[str, Any] = {**PPMID, "name": "OTHER", "eui": "00-DB-12-34-56-78-90-A5"}
THIRD_PARTY: dict[str, Any] = {**PPMID, "model": "sed-v3"}
ESME: dict[str, Any] = {"board": "pico", **METER}
GSME: dict[str, Any] = {"board": "pico", **GAS_METER}


def lab_of(
    folder: Path, *devices: dict[str, Any], hub: dict[str, Any] | None = None, **other: Any
) -> Lab:
    """A lab with the default CH (changed by `hub`) and these devices."""
    data = {"comms_hub": {**DEFAULT["comms_hub"], **(hub or {})}, "device": list(devices), **other}
    return Lab(make_lab("rules", data), folder)


def image_for(device: Device, size: int = 4096, version: str = "NEW1", **fields: Any) -> OtaImage:
    return build(
        made_body(size, seed=1),
        device_type=device.model.device_type,
        version=version,
        **{"for_ch": "Secure", **fields},
    )


def outcome(lab: Lab, image: OtaImage, device: Device) -> Outcome:
    try:
        return lab.run(lab.update_firmware(image, device))
    except ServiceRequestFailed as e:
        return e.outcome


def large_lab(count: int, file: Path) -> Path:
    """Write a lab.toml with one CH, on the board with the least heap, and so many PPMIDs: P0, P1, …; `file`."""
    first = 0x00DB1234567A0000
    device = '[[device]]\nname = "P{n}"\nboard = "pico"\nmodel = "pipit-500"\neui = "{eui}"\n'
    file.write_text(
        '[comms_hub]\nboard = "esp32-devkitc"\nmodel = "skyline-i510"\neui = "00-DB-12-34-56-78-90-A2"\n'
        + "".join(device.format(n=n, eui=Eui((first + n).to_bytes(8))) for n in range(count))
    )
    return file
