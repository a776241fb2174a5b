"""One bit of rot in a board's journal: a confirmed version 7 stays 7, and the event log says what was bad."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

from labs import OpenLab
from test_counters import events, update

STRUCK = 8
"""Bits that rot, one after the other, in each place where the journal is."""


def journals(flash: Path) -> list[tuple[int, int]]:
    """Where (offset, length) the newest generation of the journal is on the chip, in each copy. A short file lies in
    its folder's block, and twice: as it was written and as it was renamed."""
    found = [
        (match.start(), match.end() - match.start(), int(match[1]))
        for match in re.finditer(
            rb'[0-9a-f]{8}\{(?=[^\n]{0,2000}?"images": )[ -~]{0,2000}?"generation": (\d+)\}',
            flash.read_bytes(),
        )
    ]
    newest = max(generation for _, _, generation in found)
    return [(at, length) for at, length, generation in found if generation == newest]


def strike(flash: Path, at: int, bit: int) -> None:
    """Flip one bit of the octet at `at`, as years do."""
    with flash.open("r+b") as f:
        octet = os.pread(f.fileno(), 1, at)[0]
        os.pwrite(f.fileno(), bytes((octet ^ 1 << bit,)), at)


def test_confirmed_version_stays(open_lab: OpenLab, tmp_path: Path) -> None:
    flash = tmp_path / "lab" / "PPMID.flash"
    whole = tmp_path / "whole.flash"
    with open_lab() as lab:
        for version in ("IHDAE06", "IHDAE07"):
            update(lab, 2000, version)
    shutil.copy(flash, whole)
    copies = journals(flash)
    assert len(copies) == 4
    assert len({at // 4096 for at, _ in copies}) >= 2, "no block has both copies"
    chance = random.Random(7)
    told = 0
    for at, length in copies:
        for _ in range(STRUCK):
            shutil.copy(whole, flash)
            strike(flash, at + chance.randrange(length), chance.randrange(8))
            with open_lab() as lab:
                ppmid = lab.device("PPMID")
                assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE07"
                (said,) = events(lab, ppmid, "boot")
                assert lab.run(lab.store_of(ppmid)).recovered == said
                told += "journal" in said
    assert told >= 2 * STRUCK, "the others struck what littlefs has written anew elsewhere since"


def test_both_copies_gone(open_lab: OpenLab, tmp_path: Path) -> None:
    """littlefs takes what was there before, in both folders: it shows by the third record of the generation."""
    flash = tmp_path / "lab" / "PPMID.flash"
    with open_lab() as lab:
        update(lab, 2000, "IHDAE06")
    for at, length in journals(flash):
        strike(flash, at + length // 2, 3)
    with open_lab() as lab:
        ppmid = lab.device("PPMID")
        assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE06"
        (said,) = events(lab, ppmid, "boot")
        assert "journal and its copy went back by" in said
