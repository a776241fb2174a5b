"""Frame counters over power cuts, lost flash and flash put back: nothing old is believed, nothing comes twice."""

from __future__ import annotations

import asyncio
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from labs import OpenLab, in_vm, make_image
from typer.testing import CliRunner

from hanlab.bench.board import HAN
from hanlab.bench.radio import cobs_encode
from hanlab.cli import app
from hanlab.lab import Device, Lab, Outcome
from hanlab.s1sp.outcome import ServiceRequestFailed

COUNTER: Final = 18
SOURCE: Final = slice(22, 30)


class Nonces:
    """Every frame on the air, by source and frame counter: none may come again with other octets."""

    def __init__(self) -> None:
        self.used: dict[tuple[bytes, int], bytes] = {}
        self.highest: dict[bytes, int] = {}

    def listen(self, lab: Lab) -> None:
        lab.desk.air.capture(lambda _, psdu: self._hear(psdu))

    def _hear(self, psdu: bytes) -> None:
        if len(psdu) > 40:
            (counter,) = struct.unpack_from("<I", psdu, COUNTER)
            before = self.used.setdefault((psdu[SOURCE], counter), psdu)
            assert before == psdu, f"frame counter {counter:,} of {psdu[SOURCE][::-1].hex()} twice"


def update(lab: Lab, body: int, version: str) -> None:
    """11.1, 11.3 and 11.2."""
    ppmid = lab.device("PPMID")
    image = make_image(body, version=version)
    assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.DISTRIBUTED
    hash_ = image.manufacturer_image_hash
    assert lab.run(lab.activate_firmware(hash_, ppmid)) is Outcome.ACTIVATED
    assert lab.run(lab.read_firmware_version(ppmid)).firmware == version


def events(lab: Lab, device: Device, name: str) -> list[str]:
    """The texts of a board's events of that name."""
    return [str(e["text"]) for e in lab.run(lab.events(device)) if e["name"] == name]


FATES: Final = [
    (("hub",), "lost"),
    (("PPMID",), "lost"),
    (("hub", "PPMID"), "lost"),
    (("hub",), "put back"),
    (("PPMID",), "put back"),
    (("hub", "PPMID"), "put back"),
]


@pytest.mark.parametrize(("boards", "fate"), FATES)
def test_flash_of_a_board(
    open_lab: OpenLab, tmp_path: Path, boards: tuple[str, ...], fate: str
) -> None:
    """Re-flashed, or an image of an earlier day put back: the next commands work, no counter comes twice, and the
    event log says what it was, unless nobody is left who knows."""
    nonces = Nonces()
    yesterday = {name: tmp_path / f"{name}.yesterday" for name in boards}
    flash = {name: tmp_path / "lab" / f"{name}.flash" for name in boards}
    with open_lab() as lab:
        nonces.listen(lab)
        lab.run(lab.read_firmware_version(lab.device("PPMID")))
    for name in boards:
        shutil.copy(flash[name], yesterday[name])
    with open_lab() as lab:
        nonces.listen(lab)
        update(lab, 90_000, "IHDAE06")  # past what yesterday's flash had set aside
    for name in boards:
        if fate == "lost":
            flash[name].unlink()
        else:
            shutil.copy(yesterday[name], flash[name])
    for command in range(2):
        with open_lab() as lab:
            nonces.listen(lab)
            lab.run(lab.wait_until_back(lab.device("PPMID")))
            told = [e for n in boards for e in events(lab, lab.device(n), "frame counters")]
            if command or len(boards) == 2:
                assert told == []
            else:
                (words,) = told
                assert "lost or put back" in words
            if not command:
                update(lab, 4_000, "IHDAE07")
    assert len(nonces.used) > 2500


def test_flash_of_a_board_lost_while_it_is_in_use(open_lab: OpenLab) -> None:
    """The CH is re-flashed while the PPMID stays on."""
    nonces = Nonces()
    with open_lab() as lab:
        nonces.listen(lab)
        ppmid = lab.device("PPMID")
        assert lab.run(lab.read_firmware_version(ppmid)).firmware == "IHDAE05"
        hub = lab.desk.boards["hub"]
        for _ in range(2):
            hub.power_off()
            hub.flash.path.write_bytes(b"\xff" * hub.facts.flash.filesystem)
            hub.power_on()
            assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE05"
        (words,) = events(lab, lab.hub, "frame counters")
        assert "flash held nothing" in words


@pytest.mark.parametrize("direct", [(), ("--direct",)])
def test_commands_after_a_board_was_re_flashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct: tuple[str, ...]
) -> None:
    """On both ways the very next command works; nothing is left to mend."""
    monkeypatch.chdir(tmp_path)
    Path("image.ota").write_bytes(make_image(3000).to_bytes())

    def hanlab(*command: str) -> None:
        result = CliRunner().invoke(app, [*command, *direct])
        assert result.exit_code == 0, result.output

    hanlab("version", "PPMID")
    for name in ("hub", "PPMID"):
        (flash,) = tmp_path.rglob(f"{name}.flash")
        flash.unlink()
        said = " ".join(CliRunner().invoke(app, ["events", name]).output.split())
        assert "frame counters: flash held nothing, a neighbour has seen" in said
        assert "it was lost or put back" in said
        flash.unlink()
        hanlab("version", "PPMID")
    (flash,) = tmp_path.rglob("hub.flash")
    flash.unlink()
    if not direct:
        assert CliRunner().invoke(app, ["cpl", "add", "image.ota"]).exit_code == 0
    hanlab("push", "image.ota", "--to", "PPMID")
    hanlab("activate", "PPMID", "--image", "image.ota")


# -- a recording, played in step


class Recording:
    """What one board sent, in order; `play` gives it out one frame for each that the CH sends."""

    def __init__(self, lab: Lab, source: bytes) -> None:
        self._lab = lab
        self._source = source[::-1]
        self.frames: list[bytes] = []
        self._left: Iterator[bytes] = iter(())
        self._playing = False
        self.played = 0
        lab.desk.air.capture(lambda when, psdu: self._hear(psdu))

    def _hear(self, psdu: bytes) -> None:
        if len(psdu) <= 40:
            return
        if not self._playing:
            if psdu[SOURCE] == self._source:
                self.frames.append(psdu)
        elif psdu[SOURCE] != self._source:
            kernel = self._lab.desk.kernel
            kernel.at(kernel.now + 6000, self._next)

    def _next(self) -> None:
        for _ in range(2):  # the right one is among them, whatever else the CH has asked
            if frame := next(self._left, None):
                self.played += 1
                in_vm(self._lab.desk.boards["hub"]).deliver(HAN, cobs_encode(frame) + b"\0")

    def play(self, frames: list[bytes]) -> None:
        self._playing = True
        self._left = iter(frames)


def outcome(attempt: Callable[[], object]) -> object:
    try:
        return attempt()
    except ServiceRequestFailed as e:
        return e.outcome


@pytest.mark.parametrize("hub_flash", ["kept", "lost"])
def test_recorded_answers_are_no_answers(open_lab: OpenLab, hub_flash: str) -> None:
    """The PPMID is off; the CH has had a power cut. What the PPMID said once is played again in step with the CH's
    requests: 11.2 has no version, 11.1 distributes nothing, 11.3 activates nothing."""
    image = make_image(2000)
    with open_lab() as lab:
        ppmid = lab.device("PPMID")
        recording = Recording(lab, ppmid.eui.octets)
        lab.run(lab.wait_until_back(ppmid))
        marks = [len(recording.frames)]
        lab.run(lab.read_firmware_version(ppmid))
        marks.append(len(recording.frames))
        assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.DISTRIBUTED
        marks.append(len(recording.frames))
        hash_ = image.manufacturer_image_hash
        assert lab.run(lab.activate_firmware(hash_, ppmid)) is Outcome.ACTIVATED
        boot, version, distributed, activated = (
            recording.frames[a:b]
            for a, b in zip([0, *marks], [*marks, len(recording.frames)], strict=True)
        )
        lab.desk.boards["PPMID"].power_off()
        lab.desk.boards["hub"].power_off()
        if hub_flash == "lost":
            hub = lab.desk.boards["hub"]
            hub.flash.path.write_bytes(b"\xff" * hub.facts.flash.filesystem)
        lab.desk.boards["hub"].power_on()
        lab.run(asyncio.sleep(2))
        for frames in (version, boot + version):
            recording.play(frames * 3)
            failed = outcome(lambda: lab.run(lab.read_firmware_version(ppmid)))
            assert failed is Outcome.NO_ANSWER
            assert recording.played
        recording.play(boot + distributed * 3)
        failed = outcome(lambda: lab.run(lab.update_firmware(image, ppmid)))
        assert failed is Outcome.NO_ANSWER
        recording.play(boot + activated * 3)
        failed = outcome(lambda: lab.run(lab.activate_firmware(hash_, ppmid)))
        assert failed is Outcome.NO_ANSWER
        (row,) = lab.run(lab.han_devices())
        assert not row.seen
