"""Labs for tests: emulated boards whose flash lies in the test's own folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labs import OpenDesk, OpenLab, config

from hanlab.boards.vm import Vm
from hanlab.lab import Lab
from hanlab.lab.desk import Desk


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
        labs.append(Lab(config(hub, device, seed=seed), tmp_path / folder, pcap=pcap))
        return labs[-1]

    yield open_
    for lab in labs:
        lab.close()


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[OpenDesk]:
    """Open only the boards of a lab, as `open_lab` does; they are switched on."""
    desks: list[Desk] = []

    def open_(
        hub: dict[str, Any] | None = None,
        *,
        seed: int = 1,
        wan_open: bool = False,
        folder: str = "lab",
        vm: Vm | None = None,
        pcap: Path | None = None,
    ) -> Desk:
        made = config(hub, seed=seed, wan_open=wan_open)
        desks.append(Desk(made, tmp_path / folder, vm=vm, pcap=pcap))
        desks[-1].power_on()
        return desks[-1]

    yield open_
    for desk in desks:
        desk.close()
