"""firmware/README.md says what is on the HAN octet for octet: what the CH and a device send is held against it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from han_formats import PROOF, TUNNELING, Heard, forms, heard, parsed
from labs import OpenLab, make_image

from hanlab.lab import Lab, Outcome, Progress

ANSWERED = {"activate": "activate-answer", "file": "file-answer", "forget": "file-answer"}
"""What a request through the tunnel is answered with."""
_TO_SERVER = 0x02
_TO_CLIENT = 0x01


def names_of(octets: bytes) -> list[tuple[str, dict[str, bytes]]]:
    """Which of the README's rows the octets are."""
    all_ = [(name, parsed(words, octets)) for name, words in forms().items()]
    return [(name, fields) for name, fields in all_ if fields is not None]


class Cut(Exception):
    """The power goes."""


class Air:
    """What was sent through the tunnel and of the proofs, by the README's name; all of it has one."""

    def __init__(self, lab: Lab) -> None:
        self.said: list[tuple[bool, str, dict[str, bytes]]] = []
        self._key = lab.network_keys["HAN"]
        lab.desk.air.capture(lambda when, psdu: self._take(heard(psdu, self._key)))

    def _take(self, frame: Heard | None) -> None:
        if frame is None:
            return
        if frame.cluster == PROOF:
            octets = frame.zcl
        elif frame.cluster == TUNNELING and frame.zcl[0] & 0x01:
            if (
                frame.zcl[2] != (_TO_SERVER if frame.to_device else _TO_CLIENT)
                or len(frame.zcl) < 8
            ):
                return
            octets = frame.zcl[5:]  # ZCL header, tunnel
        else:
            return
        ((name, fields),) = names_of(octets)
        entry = (frame.to_device, name, fields)
        if entry not in self.said:  # a radio sends again what was not acknowledged
            self.said.append(entry)

    def named(self, name: str) -> list[dict[str, bytes]]:
        return [fields for _, said, fields in self.said if said == name]


def test_what_is_on_the_air_is_as_described(open_lab: OpenLab) -> None:
    """A transfer that is cut, goes on, is damaged and starts again, and an activation: each row is there."""
    lab = open_lab()
    air = Air(lab)
    ppmid = lab.device("PPMID")
    board = lab.desk.boards["PPMID"]
    image = make_image(64_000)

    def cut(progress: Progress) -> None:
        if progress.stage == "distribute" and progress.done > 40_000:
            raise Cut

    with pytest.raises(Cut):
        lab.run(lab.update_firmware(image, ppmid, cut))
    for each in lab.desk.boards.values():
        each.power_off()
    _damage(board.flash.path, image.to_bytes()[8192:8300])
    for each in lab.desk.boards.values():
        each.power_on()
    assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.DISTRIBUTED
    done = lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
    assert done is Outcome.ACTIVATED
    assert {name for _, name, _ in air.said} == forms().keys()
    for to_device, name, fields in air.said:
        if name != "proof":
            assert to_device is (name in ANSWERED), name
        if name in ("file", "forget"):
            assert fields["sha"] == image.file_hash
            assert int.from_bytes(fields["size"]) == len(image.to_bytes())
        if name in ANSWERED:
            answers = [f for _, n, f in air.said if n == ANSWERED[name]]
            assert [f["challenge"] for f in answers].count(fields["challenge"]) == 1, name
    (activation,) = air.named("activate")
    assert activation["hash"] == image.manufacturer_image_hash
    (answer,) = air.named("activate-answer")
    assert answer["code"] == b"\0"
    assert int.from_bytes(answer["file-version"]) == image.header.file_version
    # the CH goes on with its job by itself; the 11.1 that comes again finds all of it there
    first, second, third, *again = air.named("file-answer")
    assert [int.from_bytes(f["offset"]) for f in again] == [len(image.to_bytes())] * len(again)
    assert (first["offset"], first["sha-before"]) == (bytes(4), hashlib.sha256().digest())
    offset = int.from_bytes(second["offset"])
    assert 16_384 < offset < len(image.to_bytes())
    assert second["sha-before"] != hashlib.sha256(image.to_bytes()[:offset]).digest(), "damaged"
    assert third["offset"] == bytes(4)
    proofs = air.named("proof")
    asked = {f["challenge"] for f in proofs} - {bytes(8)}
    assert {f["answered"] for f in proofs} - {bytes(8)} <= asked
    assert {f["seen"] for f in proofs} >= {b"\xff" * 4}


def _damage(flash: Path, octets: bytes) -> None:
    """Clear a bit of these octets, wherever flash has them."""
    held = bytearray(flash.read_bytes())
    at = held.index(octets)
    at += next(i for i, octet in enumerate(octets) if octet & 1)
    held[at] &= 0xFE
    flash.write_bytes(held)


@pytest.mark.parametrize("name", forms())
def test_octets_of_another_form_are_told_apart(name: str) -> None:
    """What this file goes by: each octet that is given counts, and so does each length."""
    words = forms()[name]
    octets = b"".join(
        bytes(int(word.split("(")[1][:-1].replace("n", "2"))) if "(" in word
        else b"\x28" if word == "len"
        else b"\x02" if word == "n"
        else bytes.fromhex(word)
        for word in words
    )  # fmt: skip
    octets = octets[:-2] + b"\x10\x00" if "n" in words else octets
    if "len" in words:
        octets = octets[:11] + bytes((len(octets) - 12,)) + octets[12:]
    assert [found for found, _ in names_of(octets)] == [name]
    assert names_of(octets[:-1]) == names_of(octets + b"\0") == []
