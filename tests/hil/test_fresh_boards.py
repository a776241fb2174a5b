"""A board that has just got its firmware: what it says of itself, with room to work in."""

from __future__ import annotations

import pytest

from hanlab.hil import CommsHub, Device, Home, Lab, shared_lab

lab = shared_lab("module")


def test_the_ch_knows_its_devices(comms_hub: CommsHub, home: Home) -> None:
    for device in home.devices:
        assert device.version, "it answers over the HAN"
    known = {device.eui: device for device in comms_hub.han_devices}
    assert set(known) == {device.eui.octets for device in home.devices}
    assert all(device.seen for device in known.values())


def test_it_starts_with_nothing_to_mend(ppmid: Device, comms_hub: CommsHub) -> None:
    for board in (ppmid, comms_hub):
        assert [event.text for event in board.events if event.name == "boot"] == [""]


@pytest.mark.hanlab(emulated=True)
def test_it_prints_nothing(lab: Lab) -> None:
    assert {board.name: board.log for board in lab.boards} == {"hub": "", "PPMID": ""}


def test_the_heap_has_room(ppmid: Device, comms_hub: CommsHub, lab: Lab) -> None:
    """32 KiB at the least, whatever happened since the start."""
    for board in (ppmid, comms_hub):
        lab.note(f"{board.name}.heap_free_octets", board.heap.free)
        assert board.heap.lowest >= 32_768, board


def test_nothing_is_lost_in_peace(ppmid: Device, comms_hub: CommsHub) -> None:
    image = ppmid.new_image(4_096)
    ppmid.update(image)
    for board in (ppmid, comms_hub):
        for counter in ("han.mic", "han.replay", "han.forged", "han.malformed", "han.fcs"):
            board.assert_counter(counter, 0)
