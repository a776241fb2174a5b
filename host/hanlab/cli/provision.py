"""`hanlab provision`: test keys for a lab, and what real boards need to know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from hanlab.boards.files import write_files
from hanlab.cli.hints import say_next
from hanlab.cli.show import console, say
from hanlab.duis.foreign_pki import Imported, import_pki
from hanlab.duis.pki import Pki, provision
from hanlab.errors import UsageError
from hanlab.keys import LabKeys, make_secret
from hanlab.lab.board_json import board_json
from hanlab.lab.boards import lab_keys
from hanlab.lab.config import LabConfig, read_lab
from hanlab.lab.office import PKI, open_pki, parties
from hanlab.lab.state import BOARD_KEYS, state_folder

REPLS: Final = ("ttyACM", "usbmodem")
"""What a board's own USB is called, on Linux and macOS."""
BOARDS: Final = "boards"
"""The folder in a lab's state folder that has each board's files, in a folder of its name."""


def run(
    folder: Path | None,
    *,
    lab: Path | None,
    force: bool,
    take: Path | None,
    as_json: bool,
) -> None:
    """Make a test PKI for the lab's users, its DSP and its S1SP; for real boards their keys as well.

    `take`: the parties' keys come from that folder, and boards are left alone.
    """
    config = read_lab(lab)
    state = state_folder(lab, config)
    _can_work(config)
    place = folder or state / PKI
    imported = _imported(take, config) if take else []
    with_boards = (config.provisioned or config.is_real) and not take
    boards = _provision_boards(config, state, force=force) if with_boards else []
    made = _pki(place, config, imported, force=force, keep=bool(boards))
    if as_json:
        names = {name: str(s.certificate.eui) for name, s in made.signers.items()}
        files: dict[str, Any] = {"boards": [str(file) for file in boards]} if boards else {}
        if take:
            files["imported"] = _taken(made, imported)
        print(json.dumps({"folder": str(made.folder), "signers": names, **files}))
        return
    out = console()
    sources = _taken(made, imported)
    for place in boards:
        say(
            out,
            f"✓ {place.relative_to(state / BOARDS)}",
            f"{place}: what goes on the board",
            "green",
        )
    for node in config.nodes if boards else ():
        if node.is_real:
            say_next(out, f"hanlab flash REPL --as {node.name}", lab)
    _say_ports(out, config)
    if boards:
        out.print("  REPL is the port of that board's USB", soft_wrap=True)
    say(out, "✓ test keys", str(made.folder), "green")
    for name, signer in made.signers.items():
        whose = f" (from {sources[name]})" if name in sources else " (new)" if take else ""
        say(out, name, f"{signer.certificate.eui}: {name}.pem, {name}.key{whose}", "dim")
    say(out, "for labs only", "whoever can read these can sign as any of them", "yellow")


def _can_work(config: LabConfig) -> None:
    """Refuse what no wiring can do: a HAN that is a wire goes from the CH to one device."""
    crowded = [home for home in config.homes if home.hub.wired and len(home.devices) != 1]
    if crowded:
        raise UsageError(
            f"a CH with {len(crowded[0].devices)} devices cannot work with wired = true: its HAN is one wire, "
            "from its UART to one device's",
            next_step="one [[device]], or wired taken out: then the laptop carries the HAN, of as many as you like",
        )


def _say_ports(out: Console, config: LabConfig) -> None:
    """A board's own USB has its REPL, and nothing of the WAN."""
    for node in config.nodes:
        if node.wired and node.port and any(name in node.port for name in REPLS):
            say(
                out,
                f"{node.port} of {node.name}",
                "such a port is a board's own USB, which is its REPL; the WAN is at the serial adapter "
                "on its uart.wan pins: boards/README.md",
                "yellow",
            )


def keys_of(config: LabConfig, state: Path, *, anew: bool = False) -> LabKeys:
    """The keys of the lab's boards, made if there are none yet or `anew`."""
    secret = state / BOARD_KEYS
    if anew:
        secret.unlink(missing_ok=True)
    if config.provisioned and not secret.exists():
        make_secret(secret)
    return lab_keys(config, state)


def _provision_boards(config: LabConfig, state: Path, *, force: bool) -> list[Path]:
    """Each board's files, with keys that are made if there are none yet or `force` is set."""
    keys = keys_of(config, state, anew=force)
    folders = []
    for node in config.nodes:
        folders.append(state / BOARDS / node.name)
        write_files(folders[-1], board_json(config, node, keys), node.board.chip)
    return folders


def _imported(folder: Path, config: LabConfig) -> list[Imported]:
    """What of a folder belongs to this lab's parties.

    Raises:
        UsageError: nothing of it does.
    """
    found = import_pki(folder)
    euis = {eui for _, eui in parties(config)}
    ours = [one for one in found if one.eui in euis]
    if not ours:
        there = ", ".join(sorted({str(one.eui) for one in found})[:8])
        raise UsageError(
            f"{folder} has keys of {there}, and of nobody in this lab",
            next_step='[[user]] eui = "…" in lab.toml makes one of them a Service User; nothing was '
            "changed",
        )
    return ours


def _taken(made: Pki, imported: list[Imported]) -> dict[str, str]:
    """Each signer's name whose key was imported, with the file that its certificate came from."""
    files = {one.x509: one.file.name for one in imported}
    return {
        name: files[signer.certificate.x509]
        for name, signer in made.signers.items()
        if signer.certificate.x509 in files
    }


def _pki(
    folder: Path, config: LabConfig, imported: list[Imported], *, force: bool, keep: bool
) -> Pki:
    """New test keys, or imported ones; those that are there, if they may be kept."""
    try:
        return provision(folder, parties(config), force=force, imported=imported)
    except UsageError:
        if not keep:
            raise
    return open_pki(folder, config)
