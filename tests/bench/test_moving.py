"""A device moves from one home to another by Service Requests alone, through DSP, S1SP, CHs and the air."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labs import OTHER_PPMID, image_for

from hanlab.dsp.joining import ELSEWHERE
from hanlab.dsp.smi import Status
from hanlab.duis.messages import (
    Body,
    ReadDeviceLog,
    ReadFirmwareVersion,
    UpdateFirmware,
    UpdateHanDeviceLog,
)
from hanlab.duis.responses import DeviceLogRead, FirmwareVersionRead, HanDeviceLogUpdated
from hanlab.eui import Eui
from hanlab.lab import Device, Lab, desk
from hanlab.lab.board_json import board_json
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.enrolment import commissioning, notification, product
from hanlab.s1sp.join_time import Rounding, join_minutes
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

HUB, PPMID = DEFAULT["comms_hub"], DEFAULT["device"][0]
ELSTER = {**HUB, "model": "am110r", "eui": "00-DB-12-34-56-78-91-A2"}


def street(folder: Path, *, joined: bool = True) -> Lab:
    """A Secure home with a PPMID, or with one on the shelf beside it, and a home of another manufacturer."""
    homes: list[dict[str, Any]] = [
        {"name": "one", "comms_hub": HUB},
        {"name": "two", "comms_hub": ELSTER},
    ]
    data: dict[str, Any] = {"home": homes}
    if joined:
        homes[0]["device"] = [PPMID]
    else:
        data["device"] = [PPMID]
    return Lab(make_lab("street", data), folder)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with street(tmp_path) as opened:
        yield opened


def send(lab: Lab, body: Body, to: Eui | None = None) -> str:
    return lab.run(lab.send(body, to)).code


def add(lab: Lab, device: Device, hub: Eui, code: bytes | None = None, join_s: int = 60) -> str:
    code = code or lab.install_code(device)
    return send(lab, UpdateHanDeviceLog(device.eui, True, join_s, code), hub)


def status(lab: Lab, device: Device) -> Status:
    found = lab.dsp.smi.find(device.eui)
    assert found
    return found.status


def version(lab: Lab, device: Device) -> str | None:
    answer = lab.run(lab.send(ReadFirmwareVersion(), device.eui))
    assert answer.result
    assert isinstance(answer.result.body, FirmwareVersionRead)
    return answer.result.body.version


@pytest.mark.rule(11, 24, 52)
def test_a_ppmid_moves_to_the_ch_of_another_manufacturer(lab: Lab) -> None:
    one, two = (home.hub.eui for home in lab.homes)
    (device,) = lab.devices
    image = image_for(device)
    lab.dsp.load([product(device.model, "NEW1", image.manufacturer_image_hash)])
    update = UpdateFirmware(image.to_bytes(), "NEW1", (device.eui,))
    assert send(lab, update) == "I99"
    assert lab.installations.ends[device.eui] is Outcome.DISTRIBUTED
    assert add(lab, device, two) == ELSEWHERE
    assert send(lab, UpdateHanDeviceLog(device.eui, add=False), one) == "I0"
    assert send(lab, ReadFirmwareVersion(), device.eui) == "E5", "it has just left"
    assert add(lab, device, two) == "I0"
    assert status(lab, device) == Status.WHITELISTED
    assert lab.run(lab.wait_until_joined(device, 60))
    assert [d.code for d in lab.dsp.deliveries.last(1)] == ["N24"]
    assert status(lab, device) == Status.INSTALLED_NOT_COMMISSIONED
    node = lab.config.node(device.name)
    assert send(lab, commissioning(lab.dsp, node, two), device.eui) == "I0"
    assert status(lab, device) == Status.COMMISSIONED
    answer = lab.run(lab.send(ReadDeviceLog(), two))
    assert answer.result
    assert isinstance(answer.result.body, DeviceLogRead)
    assert [e.device for e in answer.result.body.entries] == [device.eui]
    assert version(lab, device) == device.model.duis_version
    send(lab, update)
    failed = lab.installations.ends[device.eui]
    assert isinstance(failed, ServiceRequestFailed), "the same image, and another CH"
    assert failed.outcome is Outcome.METADATA


@pytest.mark.rule(52)
def test_a_device_with_another_install_code_does_not_join(tmp_path: Path) -> None:
    with street(tmp_path, joined=False) as lab:
        (device,) = lab.devices
        assert send(lab, notification(lab.config.node(device.name))) == "I99"
        assert add(lab, device, lab.homes[0].hub.eui, bytes(16)) == "I0"
        assert not lab.run(lab.wait_until_joined(device, 90))
        assert [d.code for d in lab.dsp.deliveries.last(1)] == ["N25"]
        assert status(lab, device) == Status.WHITELISTED
        assert add(lab, device, lab.homes[0].hub.eui) == "I0", (
            "the right code, and the window opens anew"
        )
        assert lab.run(lab.wait_until_joined(device, 60))


def test_a_full_table_refuses_8_11_and_nothing_is_half_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(*args: Any) -> dict[str, Any]:
        contents = board_json(*args)
        contents["model"]["devices"] = 1
        return contents

    monkeypatch.setattr(desk, "board_json", small)
    data = {"home": [{"name": "one", "comms_hub": HUB, "device": [PPMID]}], "device": [OTHER_PPMID]}
    with Lab(make_lab("full", data), tmp_path) as lab:
        hub, (here, other) = lab.hub.eui, lab.devices
        assert send(lab, notification(lab.config.node(other.name))) == "I99"
        body = UpdateHanDeviceLog(other.eui, True, 60, lab.install_code(other))
        answer = lab.run(lab.send(body, hub))
        assert answer.result
        assert (answer.code, answer.result.body) == ("I0", HanDeviceLogUpdated(success=False))
        assert answer.cause
        assert "the CH's device table is full" in answer.cause.what
        assert answer.alerts == ["N55"]
        found = lab.dsp.smi.find(other.eui)
        assert found
        assert (found.status, found.hub) == (Status.PENDING, None)
        assert add(lab, here, hub) == "I0", "who is in it may be let in again"
        assert send(lab, UpdateHanDeviceLog(here.eui, add=False), hub) == "I0"
        assert add(lab, other, hub) == "I0"
        assert lab.run(lab.wait_until_joined(other, 60))


@pytest.mark.rule(50, 51)
@pytest.mark.parametrize(
    ("join_s", "up", "down"),
    [(1, 1, 1), (59, 1, 1), (60, 1, 1), (61, 2, 1), (90, 2, 1), (3600, 60, 60)],
)
def test_seconds_become_whole_minutes(join_s: int, up: int, down: int) -> None:
    assert join_minutes(join_s) == up
    assert join_minutes(join_s, Rounding.DOWN) == down
