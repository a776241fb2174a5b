"""lab.toml as tests of every kind write it: the default lab, with other settings."""

from __future__ import annotations

_TEXT = """{top}
[comms_hub]
board = "{board}"
model = "{hub}"
eui = "00-DB-12-34-56-78-90-A2"
{of_hub}
"""
_DEVICE = """[[device]]
name = "PPMID"
board = "pico"
model = "{model}"
eui = "00-DB-12-34-56-78-90-A4"
{of_device}
"""


def lab_toml(
    *,
    top: str = "",
    board: str = "esp32-devkitc",
    hub: str = "skyline-i510",
    of_hub: str = "",
    model: str | None = "pipit-500",
    of_device: str = "",
) -> str:
    """A CH of the model `hub` with a PPMID of `model` (None: with no device).

    `top`, `of_hub` and `of_device` are lines at the top, of the CH and of the PPMID; what follows
    in `of_device` may be further tables.
    """
    text = _TEXT.format(top=top, board=board, hub=hub, of_hub=of_hub)
    return text if model is None else text + _DEVICE.format(model=model, of_device=of_device)
