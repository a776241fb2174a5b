"""`--print-duis`: the Service Request that a command would send, as XML, signed by who sends it."""

from __future__ import annotations

import json
from pathlib import Path

from hanlab.duis.messages import Body
from hanlab.duis.signing import Signer
from hanlab.duis.writing import write_request
from hanlab.eui import Eui
from hanlab.lab.config import read_lab
from hanlab.lab.office import PKI, named_user, open_office, open_pki, service_request
from hanlab.lab.state import state_folder


def print_request(
    body: Body, to: Eui | None, *, lab: Path | None, user: str, as_json: bool
) -> None:
    """Print a signed document with the sender's next counter; nothing is sent, and no counter used up."""
    config = read_lab(lab)
    folder = state_folder(lab, config)
    office = open_office(config, folder)
    try:
        sender = named_user(office.dsp, user) if user else None
        request = service_request(office.dsp, body, to, sender)
    finally:
        office.close()
    signers: dict[Eui, Signer] = {
        s.certificate.eui: s for s in open_pki(folder / PKI, config).signers.values()
    }
    xml = write_request(request)
    signed = signers[request.id.originator].sign_octets(xml).decode()
    print(json.dumps({"request_id": str(request.id), "xml": signed}) if as_json else signed)
