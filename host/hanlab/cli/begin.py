"""`hanlab init` and `hanlab reset`: a lab's files at its beginning, and at a new one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Final

from hanlab.bench.starts import KIND as STARTS
from hanlab.cli.hints import say_next
from hanlab.cli.show import console, say
from hanlab.errors import UsageError
from hanlab.files import write_whole
from hanlab.lab.config import LabConfig, read_lab
from hanlab.lab.state import BOARD_KEYS, LOCK, lock, state_folder
from hanlab.resources import samples_dir

LAB: Final = "lab.toml"
_KEEPS: Final = (LOCK, BOARD_KEYS, "pki", "boards", "originator_counter")
"""Of an emulated lab: keys, what was made for boards with them, and what must not be used twice with them."""
_FORGETS: Final = "dsp.sqlite"
"""Of real boards: the DSP's memory alone. What the boards know is on them, and counters go with their keys."""


def init(folder: Path, homes: int | None, *, as_json: bool) -> None:
    """Write a lab.toml with comments, and sample Service Requests; with `homes`, its home is a [[home]], so often."""
    source = samples_dir()
    files = [f for f in sorted(source.rglob("*")) if f.suffix in (".toml", ".xml")]
    targets = {f: folder / f.relative_to(source) for f in files}
    if there := [t for t in targets.values() if t.exists()]:
        raise UsageError(f"{there[0]} is there already", next_step="hanlab init OTHER_FOLDER")
    for file, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        octets = file.read_bytes()
        write_whole(target, _several(octets, homes) if homes and file.name == LAB else octets)
    if as_json:
        print(json.dumps({"files": [str(t) for t in targets.values()]}))
        return
    out = console()
    what = "a CH with a PPMID" if homes is None else f"{homes} homes, a CH with a PPMID each"
    say(out, "✓ made", f"{folder / LAB}: {what}, and what else a lab can have", "green")
    say(out, "✓ made", f"{folder / 'requests'}: Service Requests for it, as DUIS", "green")
    say_next(out, "hanlab devices", folder / LAB)


def _several(lab: bytes, homes: int) -> bytes:
    """The sample's home as one of several."""
    about = "# home-1, home-2 …, each with EUI-64s 0x100 further on"
    head = f'[[home]]  {about}\nname = "home"\ncount = {homes}\n\n'
    text = lab.decode().replace("[comms_hub]", f"{head}[home.comms_hub]", 1)
    return text.replace("[[device]]", "[[home.device]]", 1).encode()


def reset(*, lab: Path | None, as_json: bool) -> None:
    """Forget what a lab's boards and its DSP hold; keys stay."""
    config = read_lab(lab)
    folder = state_folder(lab, config)
    gone = _forget(folder, config) if folder.is_dir() else []
    if as_json:
        print(json.dumps({"folder": str(folder), "gone": gone}))
        return
    out = console()
    if not gone:
        say(out, "nothing to forget", f"{folder} holds no state", "")
        return
    fresh = (
        "the DSP's memory is new; real boards keep theirs" if config.is_real else "as from the box"
    )
    say(out, f"✓ {config.name}", f"{fresh} ({', '.join(gone)}); keys stay", "green")


def _forget(folder: Path, config: LabConfig) -> list[str]:
    """Remove a lab's state while no command uses it; the names of what is gone."""
    held = lock(folder)
    try:
        gone = []
        for path in sorted(folder.iterdir()):
            if config.is_real and not path.name.startswith(_FORGETS):
                continue
            if path.name in _KEEPS or path.suffix == STARTS:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            gone.append(path.name)
        return gone
    finally:
        os.close(held)
