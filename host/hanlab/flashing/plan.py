"""What is on the board, what has to be there: what has to be done. Nothing here touches a board."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from hanlab.boards.data import Board
from hanlab.boards.files import BOOT, CHIP_PORT, MAIN, STATE
from hanlab.errors import UsageError
from hanlab.flashing.look import BOARD_JSON, Found, Identity
from hanlab.flashing.wanted import OLDEST, Wanted

OURS: Final = ("smets1", *(name.partition(".")[0] for name in (*CHIP_PORT, MAIN)))
"""The firmware's folders and modules in a board's root."""
_SUFFIXES: Final = (".py", ".mpy")
_LAST: Final = (BOARD_JSON, BOOT, MAIN)
"""What is copied last, in this order."""
_SPARE: Final = 4
"""Blocks that littlefs needs to go on at all."""


@dataclass(frozen=True)
class Plan:
    """`copy` in its order: what MicroPython starts with comes last, so that half a firmware is never started."""

    remove: tuple[str, ...]
    copy: tuple[tuple[str, bytes], ...]
    library: bool
    """micropython-lib's usb-device-cdc has to be fetched."""
    unchanged: int
    """Octets that are there already."""

    @property
    def octets(self) -> int:
        return sum(len(octets) for _, octets in self.copy)

    @property
    def is_empty(self) -> bool:
        return not (self.remove or self.copy or self.library)

    @property
    def folders(self) -> tuple[str, ...]:
        """That have to be there, outer ones first."""
        return tuple(sorted({folder for name, _ in self.copy for folder in _folders(name)}))


def check(found: Found, board: Board, who: str, *, any_version: bool = False) -> None:
    """Refuse a chip that is not `board`'s, and, but for `any_version`, a MicroPython that is too old.

    Raises:
        UsageError: with the next step.
    """
    if (found.platform, found.chip) != (board.family, board.chip):
        raise UsageError(
            f"{who} is to be a {board.name}, which has {board.chip}, and there is "
            f"{found.machine or found.platform}",
            next_step="name the port of the right board; hanlab ports lists what is there",
        )
    if found.version[:2] < OLDEST and not any_version:
        raise UsageError(
            f"the board has MicroPython {found.micropython}, and {OLDEST[0]}.{OLDEST[1]} is the oldest that will do",
            next_step="--micropython FILE puts a newer one on it (micropython.org/download); what it has stored stays",
        )


def takes_over(
    found: Found, here: Identity, who: str, ours: Mapping[Identity, str], *, force: bool
) -> bool:
    """Whether it was another board than `who` so far, whose images and counters go now.

    `here`: who it is to be; `ours`: the boards of this lab, as their board.json says it, and their names.

    Raises:
        UsageError: it is another's, and nobody forces it.
    """
    there = found.identity
    if there is None:
        if not force:
            _check_program(found)
        return False
    if (there.eui, there.key, there.role) == (here.eui, here.key, here.role) or force:
        return (there.eui, there.key) != (here.eui, here.key)
    if there in ours:
        raise UsageError(
            f"that board is {ours[there]} of this lab, not {who}",
            next_step=f"--as {ours[there]}; or --force makes it {who}, and what it has stored goes",
        )
    if there.eui == here.eui:
        raise UsageError(
            f"that board is {who}, with the keys of another lab or of before hanlab provision --force",
            next_step="--force gives it this lab's keys, and what it has stored goes",
        )
    raise UsageError(
        f"that board is another lab's: a {there.role} with the EUI-64 {there.eui}",
        next_step=f"--force makes it {who}, and what it has stored goes; or take another board",
    )


def _check_program(found: Found) -> None:
    main = found.files.get(MAIN)
    if main and not any(name.startswith("smets1/") for name in found.files):
        raise UsageError(
            f"the board has a program of its own: {MAIN}, {main.size:,} octets",
            next_step=f"mpremote resume fs cp :{MAIN} . keeps a copy; then --force puts hanlab's in its place",
        )


def plan(found: Found, wanted: Wanted, *, forget: bool = False) -> Plan:
    """What has to be done. `forget`: what the board has stored goes, for it was another's.

    Raises:
        UsageError: it does not fit.
    """
    files = {BOARD_JSON: wanted.board_json, **wanted.files}
    copy = [(name, octets) for name, octets in files.items() if not _is_there(found, name, octets)]
    copy.sort(key=lambda item: (_LAST.index(item[0]) + 1 if item[0] in _LAST else 0, item[0]))
    remove = set(_stale(found, files))
    if forget:
        remove |= {name for name in found.files if name.startswith(f"{STATE}/")} - files.keys()
    if copy and MAIN in found.files and MAIN in files:
        # it comes back last: a cable that is pulled out leaves a board that waits, not half a firmware that runs
        remove.add(MAIN)
        if not any(name == MAIN for name, _ in copy):
            copy.append((MAIN, files[MAIN]))
    made = Plan(
        remove=tuple(sorted(remove)),
        copy=tuple(copy),
        library=wanted.usb and not found.usb and not any("usb/device/" in n for n in files),
        unchanged=sum(len(octets) for octets in files.values()) - sum(len(o) for _, o in copy),
    )
    _check_room(found, made)
    return made


def _is_there(found: Found, name: str, octets: bytes) -> bool:
    there = found.files.get(name)
    return there is not None and (there.size, there.sha) == (
        len(octets),
        hashlib.sha256(octets).hexdigest(),
    )


def _stale(found: Found, files: dict[str, bytes]) -> Iterator[str]:
    """What would be found before the firmware: its modules under other names, of it but not in it any more."""
    for name in found.files:
        path = PurePosixPath(name)
        if name in files or path.suffix not in _SUFFIXES:
            continue
        other = {str(path.with_suffix(suffix)) for suffix in _SUFFIXES}
        if _root(name) in OURS or other & files.keys():
            yield name


def _check_room(found: Found, made: Plan) -> None:
    def blocks(octets: int) -> int:
        return -(-octets // found.block)

    if not made.copy:
        return
    folders = set(made.folders) - {folder for name in found.files for folder in _folders(name)}
    new = sum(blocks(len(octets)) for _, octets in made.copy) + 2 * len(folders)
    gone = {*made.remove, *(name for name, _ in made.copy)} & found.files.keys()
    freed = sum(blocks(found.files[name].size) for name in gone)
    short = new + _SPARE - found.free - freed
    if short <= 0:
        return
    others = [name for name in found.files if _root(name) not in (*OURS, STATE)]
    largest = max(others, key=lambda name: found.files[name].size, default="")
    room = (
        f"{(found.free + freed) * found.block:,} of {found.blocks * found.block:,} octets are free"
    )
    raise UsageError(
        f"the firmware does not fit: {room}, short by {short * found.block:,}",
        next_step=f"mpremote resume fs rm :{largest} removes the largest that is not hanlab's; then again"
        if largest
        else "hanlab store --evict makes room in what it has stored; then again",
    )


def _root(name: str) -> str:
    """The folder or module of the board's root that a file is in, or is."""
    return name.partition("/")[0].partition(".")[0]


def _folders(name: str) -> Iterator[str]:
    parts = name.split("/")
    for n in range(1, len(parts)):
        yield "/".join(parts[:n])
