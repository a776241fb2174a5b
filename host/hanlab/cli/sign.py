"""`hanlab sign`: a Service Request with its originator's signature, for `hanlab serve`."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

from lxml import etree

from hanlab.duis.names import sr
from hanlab.duis.parsing import parse
from hanlab.duis.reading import read_request
from hanlab.errors import UsageError
from hanlab.lab.config import read_lab
from hanlab.lab.office import PKI, open_pki
from hanlab.lab.state import state_folder


def run(file: Path, *, lab: Path | None, pki: Path | None, fresh: bool) -> None:
    """Print a file's Service Request, signed. `fresh`: its counter is the milliseconds since 1970."""
    config = read_lab(lab)
    keys = open_pki(pki or state_folder(lab, config) / PKI, config)
    try:
        octets = file.read_bytes()
    except OSError as e:
        raise UsageError(
            f"{file} cannot be read: {e.strerror}",
            next_step="check its name; hanlab init FOLDER writes samples",
        ) from None
    sent = read_request(octets).id
    signers = {signer.certificate.eui: signer for signer in keys.signers.values()}
    if sent.originator not in signers:
        known = ", ".join(f"{s.certificate.name} ({eui})" for eui, s in signers.items())
        raise UsageError(
            f"{file} is of {sent.originator}, whose key is not in {keys.folder}",
            next_step=f"there are keys of {known}",
        )
    root = parse(octets)
    if fresh:
        place = root.find(f"{sr('Header')}/{sr('RequestID')}")
        assert place is not None, "it was read"
        place.text = str(dataclasses.replace(sent, counter=time.time_ns() // 1_000_000))
    signed = signers[sent.originator].sign(root)
    sys.stdout.write(etree.tostring(signed, xml_declaration=True, encoding="UTF-8").decode() + "\n")
