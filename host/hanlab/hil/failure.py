"""What a test that failed leaves behind: what its boards said, its capture, and the command that repeats it."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import pytest

from hanlab.bench.pcap import how_to_open, wireshark_folder
from hanlab.errors import HanlabError
from hanlab.files import file_stem
from hanlab.hil.boards import Board
from hanlab.hil.lab import Lab

_PATIENCE_S: Final = 3.0
"""On the lab's clock: a board that does not answer by then has nothing to say."""
_LINES: Final = 20
"""Of a board's beginning and end in the report; the files have all of it."""
_NAME: Final = 200
"""Characters of a folder's name."""
_BOARDS: Final = 8
"""So many are in the report; the files have all."""


def repeat(item: pytest.Item, lab: Lab, *, alone: bool) -> str:
    """The command that runs the test again on the same lab, with the same seed.

    Not `alone`: with those of its file, whose lab it had.
    """
    option = item.config.getoption("hanlab_lab", None)
    said = [f"--lab={option}"] if option else []
    if uf2 := item.config.getoption("hanlab_uf2", None):
        said.append(f"--uf2={uf2}")
    if lab.emulated:
        said.append(f"--lab-seed={lab.seed}")
    what = item.nodeid if alone else item.nodeid.partition("::")[0]
    return shlex.join(["pytest", what, *said])


def attach(item: pytest.Item, report: pytest.TestReport, lab: Lab, *, alone: bool) -> None:
    """Put all of it into the report, and whole into files."""
    # what a bench that broke off had under way may fail now, and nobody waits for it
    lab.facade.event_loop.set_exception_handler(lambda *_: None)
    folder = _folder(item, lab)
    again = repeat(item, lab, alone=alone)
    clock = f"{lab.seconds:.3f} s on the lab's clock, {report.when} of {item.nodeid}"
    files = {"again.txt": f"{again}\n{clock}\n"}
    short = []
    for board in lab.boards:
        said = _said(lab, board)
        files[f"{file_stem(board.name)}.txt"] = said
        short.append("\n".join(_last(said)))
    _write(folder, files, lab)
    if len(short) > _BOARDS:
        short[_BOARDS:] = [f"… {len(short) - _BOARDS} more boards, in the files"]
    report.sections.append(("hanlab: boards", "\n".join(short)))
    names = ", ".join(sorted(path.name for path in folder.iterdir()))
    where = f"{folder}: {names}"
    if (capture := folder / "han.pcap").exists():
        where += f"\n{how_to_open(capture)}"
    report.sections.append(("hanlab: files", where))
    report.sections.append(("hanlab: again", f"{again}\n({clock})"))


def _folder(item: pytest.Item, lab: Lab) -> Path:
    """Where a failed test's files go: `--lab-failures`, else the temporary folder of whose the lab is."""
    wanted = item.config.getoption("hanlab_failures", None)
    name = item.nodeid if wanted else f"failed-{item.name}"
    base = Path(wanted).absolute() if wanted else lab.folder
    return base / re.sub(r"[^\w.-]+", "-", name).strip("-")[:_NAME]


def _said(lab: Lab, board: Board) -> str:
    """A board's store, events and what it printed."""
    store = _asked(lab, lambda: lab.facade.store_of(board.facade))
    lines = [f"{board.name} ({board.model.model} on {board.board.name})"]
    if isinstance(store, str):
        lines.append(f"  store: {store}")
    else:
        room = "no limit" if store.capacity is None else f"{store.capacity:,} B"
        held = f"used {store.used:,} B, reserved {store.reserved:,} B, free {store.free:,} B"
        lines.append(f"  store: {room}, {held}")
        lines += [f"    {i.version} {i.type} {i.size:,} B {i.state}" for i in store.images]
        if store.partial:
            lines.append(f"    upload at {store.partial.off:,} of {store.partial.size:,} B")
        events = _asked(lab, lambda: lab.facade.events(board.facade))
        if isinstance(events, str):
            lines.append(f"  events: {events}")
        else:
            lines.append("  events:")
            lines += [f"    {int(e['t']) / 1000:10.3f} s  {e['name']}  {e['text']}" for e in events]
    printed = board.log.splitlines() or ["(nothing)"]
    return "\n".join([*lines, "  printed:", *(f"    {line}" for line in printed), ""])


def _asked(lab: Lab, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What a board answers, or in words why it does not."""

    async def main() -> Any:
        return await asyncio.wait_for(make(), _PATIENCE_S)

    try:
        return lab.run(main())
    except TimeoutError:
        return f"no answer within {_PATIENCE_S:.0f} s"
    except HanlabError as error:
        return error.what.splitlines()[0]


def _last(text: str) -> list[str]:
    lines = text.rstrip().splitlines()
    if len(lines) <= 2 * _LINES:
        return lines
    return [*lines[:_LINES], f"    … {len(lines) - 2 * _LINES} lines …", *lines[-_LINES:]]


def _write(folder: Path, files: dict[str, str], lab: Lab) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    capture = lab.wire.capture
    if capture is not None and capture.exists():
        shutil.copy(capture, folder)
        keys = wireshark_folder(capture)
        shutil.copytree(keys, folder / keys.name)
