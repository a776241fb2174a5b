"""`hanlab provision`: test keys for a lab."""

from __future__ import annotations

import json
from pathlib import Path

from hanlab.cli.show import console, say
from hanlab.duis.pki import provision
from hanlab.lab import state_folder
from hanlab.lab_config import read_lab
from hanlab.office import PKI, parties


def run(folder: Path | None, *, lab: Path | None, force: bool, as_json: bool) -> None:
    """Make a test PKI for the lab's users, its DSP and its S1SP."""
    config = read_lab(lab)
    made = provision(folder or state_folder(lab, config) / PKI, parties(config), force=force)
    if as_json:
        names = {name: str(s.certificate.eui) for name, s in made.signers.items()}
        print(json.dumps({"folder": str(made.folder), "signers": names}))
        return
    out = console()
    say(out, "✓ test keys", str(made.folder), "green")
    for name, signer in made.signers.items():
        say(out, name, f"{signer.certificate.eui}: {name}.pem, {name}.key", "dim")
    say(out, "for labs only", "whoever can read the folder can sign as any of them", "yellow")
