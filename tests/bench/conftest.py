"""Labs for tests: emulated boards whose flash lies in the test's own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hanlab.images import OtaImage, build, made_body
from hanlab.lab import Lab
from hanlab.lab_config import DEFAULT, make_lab

OpenLab = Callable[..., Lab]


@pytest.fixture
def open_lab(tmp_path: Path) -> Iterator[OpenLab]:
    """Open a lab: `open_lab(hub={"store": 65536}, device={...}, seed=2)`; closed after the test.

    The same `folder` is the same boards, with what their flash held.
    """
    labs: list[Lab] = []

    def open_(
        hub: dict[str, Any] | None = None,
        device: dict[str, Any] | None = None,
        *,
        seed: int = 1,
        folder: str = "lab",
        pcap: Path | None = None,
    ) -> Lab:
        config = make_lab(
            "test",
            {
                "seed": seed,
                "comms_hub": {**DEFAULT["comms_hub"], **(hub or {})},
                "device": [{**DEFAULT["device"][0], **(device or {})}],
            },
        )
        labs.append(Lab(config, tmp_path / folder, pcap=pcap))
        return labs[-1]

    yield open_
    for lab in labs:
        lab.close()


def make_image(body: int = 8192, version: str = "IHDAE06", **fields: Any) -> OtaImage:
    """An image for the default lab's PPMID, whatever is not given."""
    return build(
        made_body(body, seed=len(version)),
        device_type="PPMID",
        version=version,
        **{"for_ch": "Secure", **fields},
    )
