"""One cable a board: WAN and HAN side by side, and the bench carries the HAN."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from labs import OpenLab, make_image
from smp import header as smphdr
from smp.os_management import EchoWriteRequest, EchoWriteResponse
from smpclient.requests.os_management import EchoWrite

from hanlab.bench.cable import CARRIER, MARK, SILENT_US, CableEnd, Sorter
from hanlab.bench.kernel import Kernel
from hanlab.bench.radio import cobs_encode
from hanlab.bench.uart import HostPort
from hanlab.boards.data import board_names
from hanlab.boards.vm import find_vm
from hanlab.lab import Lab, Outcome
from hanlab.s1sp.outcome import ServiceRequestFailed
from hanlab.s1sp.progress import Progress

CABLE = {"cable": True}
ECHO_S = 3.0
LEAST_FREE = {"pico-w": 24 * 1024}
"""Octets of a board's heap that an update leaves, where it is not 60 KiB: a Pico W's drivers have 41 KB of a Pico's.

Some 41,000 were seen. An emulated board has this computer's paths of its modules on its heap, 45 times: kilobytes.
"""
LEAST_SHARE = 0.85
"""Of its rate alone that the WAN keeps while a device is being updated over the same cable."""


def updated(lab: Lab, size: int = 8192) -> str:
    ppmid = lab.device("PPMID")
    image = make_image(size)
    assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.DISTRIBUTED
    lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
    return lab.run(lab.wait_until_back(ppmid)).firmware


def test_an_update_and_the_same_again(open_lab: OpenLab) -> None:
    clocks = []
    for folder in ("first", "again"):
        lab = open_lab(CABLE, CABLE, folder=folder)
        assert updated(lab) == "IHDAE06"
        assert all(lane.counters.adds_up for lane in lab.run(lab.counters()).lanes)
        clocks.append((lab.clock_us, lab.frames_on_air))
        lab.close()
    assert clocks[0] == clocks[1]


@pytest.mark.parametrize("cable", ["hub", "PPMID"])
def test_a_cable_beside_a_board_with_two_links(open_lab: OpenLab, cable: str) -> None:
    lab = open_lab(CABLE if cable == "hub" else {}, CABLE if cable == "PPMID" else {})
    assert updated(lab, 2048) == "IHDAE06"


@pytest.mark.parametrize("board", board_names())
def test_each_board_plays_both_roles_on_its_cable(open_lab: OpenLab, board: str) -> None:
    lab = open_lab({**CABLE, "board": board}, {**CABLE, "board": board, "store": 65536})
    assert updated(lab, 2048) == "IHDAE06"
    free = {b.name: lab.run(lab.heap(b)).free // (find_vm().bits // 32) for b in lab.boards}
    assert min(free.values()) > LEAST_FREE.get(board, 60 * 1024), free


def test_a_board_without_power_is_off_the_air(open_lab: OpenLab) -> None:
    lab = open_lab(CABLE, CABLE)
    ppmid = lab.device("PPMID")
    lab.run(lab.read_firmware_version(ppmid))
    end = lab.desk.cables["PPMID"]
    assert end.running
    lab.board(ppmid).power_off()
    lab.run(asyncio.sleep(SILENT_US / 1e6))
    assert not end.running
    with pytest.raises(ServiceRequestFailed):
        lab.run(lab.read_firmware_version(ppmid))
    lab.board(ppmid).power_on()
    lab.run(asyncio.sleep(2))
    assert end.running
    assert lab.run(lab.read_firmware_version(ppmid)).firmware == "IHDAE05"


def test_another_board_at_the_cable_is_not_on_this_han(open_lab: OpenLab) -> None:
    lab = open_lab(CABLE, CABLE)
    end = lab.desk.cables["PPMID"]
    end.unique_id = bytes(8)  # as if lab.toml named another
    with pytest.raises(ServiceRequestFailed):
        lab.run(lab.read_firmware_version(lab.device("PPMID")))
    assert end.found == lab.device("PPMID").eui.octets
    assert not end.running


def test_a_standard_client_finds_its_frames_as_they_are(open_lab: OpenLab) -> None:
    """Without framing even what looks like the mark of a HAN frame: nobody carries the HAN then."""
    lab = open_lab(CABLE, CABLE)
    lab.run(asyncio.sleep(1))
    hub = lab.desk.cables["hub"]
    line = hub._line
    assert line
    hub.unplug()
    lab.run(asyncio.sleep(SILENT_US / 1e6))
    port = HostPort(lab.desk.kernel)
    lab.desk.ports["hub"] = port
    port.plug(line)
    line._host = port  # type: ignore[attr-defined]

    async def echo(text: str) -> str:
        request = EchoWriteRequest(d=text)
        port.write(bytes(request.BYTES))
        got = b""
        while len(got) < 8 or len(got) < 8 + smphdr.Header.loads(got[:8]).length:
            got += await asyncio.wait_for(port.read(), 3)
        return EchoWriteResponse.loads(got).r

    for text in ("plain", "a\0\5b\0\5\5\7hat\0c", "\0\5"):
        assert lab.run(echo(text)) == text


def test_the_wan_keeps_its_rate_while_a_device_is_updated(
    open_lab: OpenLab, record_property: Any
) -> None:
    lab = open_lab(CABLE, CABLE)
    wan = lab.home().wan

    async def echoes() -> int:
        loop = asyncio.get_running_loop()
        end, octets = loop.time() + ECHO_S, 0
        while loop.time() < end:
            octets += len((await wan.write(EchoWrite, d="x" * 3000)).r)
        return octets

    async def both() -> tuple[int, int]:
        await wan.write(EchoWrite, d="up?")  # the board has booted
        alone = await echoes()
        begun = asyncio.Event()

        def report(step: Progress) -> None:
            if step.stage == "distribute" and step.done:
                begun.set()

        task = asyncio.ensure_future(
            lab.update_firmware(make_image(65536), lab.device("PPMID"), report)
        )
        await begun.wait()
        beside = await echoes()
        assert not task.done(), "the update was over before the WAN was measured"
        await task
        return alone, beside

    alone, beside = lab.run(both())
    record_property("wan_share", beside / alone)
    assert beside >= LEAST_SHARE * alone, f"{beside:,} of {alone:,} octets in {ECHO_S} s"


def test_pieces_are_told_apart_wherever_they_are_cut() -> None:
    octets = (
        b"\1wan\0" + MARK + b"\2h\0" + MARK + b"\3ab\0" + b"\1w\5\0" + MARK + b"\1" * 130 + b"\0"
    )
    for size in range(1, len(octets) + 1):
        sorter = Sorter()
        wan, han = b"", []
        for i in range(0, len(octets), size):
            for is_han, piece in sorter.sort(octets[i : i + size]):
                if is_han:
                    han.append(piece)
                else:
                    wan += piece
        assert han == [b"\2h", b"\3ab"], size
        assert wan == b"\1wan\0\0\0\1w\5\0" + MARK + b"\1" * 130 + b"\0", size


def test_what_a_board_says_before_it_answers_counts_for_nothing() -> None:
    kernel = Kernel()
    end = CableEnd(kernel, "PPMID", bytes(range(8)))
    sent: list[bytes] = []
    end.connect(1, lambda when, octets: sent.append(octets))
    end.feed(MARK + b"\3ab\0")
    assert sent == []
    assert not end.running
    end.feed(MARK + cobs_encode(CARRIER + bytes(range(8))) + b"\0" + MARK + b"\3ab\0")
    assert sent == [b"\3ab\0"]
    assert end.running
