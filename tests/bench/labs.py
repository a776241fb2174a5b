"""What the tests of whole labs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hanlab.bench.desk import Desk
from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Lab
from hanlab.lab_config import DEFAULT, LabConfig, make_lab

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


def make_image(body: int = 8192, version: str = "IHDAE06", **fields: Any) -> OtaImage:
    """An image for the default lab's PPMID, whatever is not given."""
    return build(
        made_body(body, seed=len(version)),
        device_type="PPMID",
        version=version,
        **{"for_ch": "Secure", **fields},
    )
