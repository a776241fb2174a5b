"""`hanlab provision`: test keys for a lab, and what real boards need to know."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Final

from hanlab.board_json import board_json
from hanlab.boards.files import write_files
from hanlab.cli.show import console, say
from hanlab.duis.pki import Pki, provision
from hanlab.errors import UsageError
from hanlab.keys import make_secret
from hanlab.lab import lab_keys
from hanlab.lab_config import LabConfig, read_lab
from hanlab.office import PKI, open_pki, parties
from hanlab.state import BOARD_KEYS, state_folder

BOARDS: Final = "boards"
"""The folder in a lab's state folder that has each board's files, in a folder of its name."""


def run(folder: Path | None, *, lab: Path | None, force: bool, as_json: bool) -> None:
    """Make a test PKI for the lab's users, its DSP and its S1SP; for real boards their keys as well."""
    config = read_lab(lab)
    state = state_folder(lab, config)
    with_boards = config.provisioned or config.is_real
    boards = _provision_boards(config, state, force=force) if with_boards else []
    made = _pki(folder or state / PKI, config, force=force, keep=bool(boards))
    if as_json:
        names = {name: str(s.certificate.eui) for name, s in made.signers.items()}
        files = {"boards": [str(file) for file in boards]} if boards else {}
        print(json.dumps({"folder": str(made.folder), "signers": names, **files}))
        return
    out = console()
    for place in boards:
        say(out, f"✓ {place.name}", f"{place}: what goes on the board", "green")
    for place in boards:
        command = f"mpremote connect REPL fs cp -r {shlex.quote(str(place))}/. : + reset"
        out.print(f"  next: {command}", soft_wrap=True)
    if boards:
        out.print("  REPL is the port of that board's USB", soft_wrap=True)
    say(out, "✓ test keys", str(made.folder), "green")
    for name, signer in made.signers.items():
        say(out, name, f"{signer.certificate.eui}: {name}.pem, {name}.key", "dim")
    say(out, "for labs only", "whoever can read these can sign as any of them", "yellow")


def _provision_boards(config: LabConfig, state: Path, *, force: bool) -> list[Path]:
    """Each board's files, with keys that are made if there are none yet or `force` is set."""
    secret = state / BOARD_KEYS
    if force:
        secret.unlink(missing_ok=True)
    if config.provisioned and not secret.exists():
        make_secret(secret)
    keys = lab_keys(config, state)
    folders = []
    for node in config.nodes:
        folders.append(state / BOARDS / node.name)
        write_files(folders[-1], board_json(config, node, keys))
    return folders


def _pki(folder: Path, config: LabConfig, *, force: bool, keep: bool) -> Pki:
    """New test keys; those that are there, if they may be kept."""
    try:
        return provision(folder, parties(config), force=force)
    except UsageError:
        if not keep:
            raise
    return open_pki(folder, config)
