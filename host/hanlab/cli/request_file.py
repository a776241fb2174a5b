"""`hanlab request FILE.xml`: somebody's own Service Request, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hanlab.cli import pending_requests as pending
from hanlab.cli.show import warn
from hanlab.duis.messages import Request, UpdateFirmware, UpdateHanDeviceLog
from hanlab.duis.responses import FirmwareActivated, HanDeviceLogUpdated
from hanlab.errors import UsageError
from hanlab.images import (
    warnings_about_octets,
)
from hanlab.lab.config import read_lab
from hanlab.lab.office import PKI, open_pki
from hanlab.lab.state import serving, state_folder
from hanlab.s1sp.join_time import join_window_s

if TYPE_CHECKING:  # a list needs no boards
    from hanlab.lab import Lab
    from hanlab.lab.answers import Answer


def send(file: Path, *, lab: Path | None, pcap: Path | None, impair: str, as_json: bool) -> None:
    """Send a file's Service Request, and print what comes back.

    One without a signature is its originator's: whoever has the lab may send it. A signature has to be
    right, as it has to be for `hanlab serve`.
    """
    from hanlab.cli.waiting import open_lab
    from hanlab.duis.writing import write_response

    sent = _read_request_file(file, lab)
    if isinstance(sent.body, UpdateFirmware):
        warn(warnings_about_octets(sent.body.image))
    if serving(state_folder(lab, read_lab(lab))) is not None:
        from hanlab.cli.served import refuse_what_is_for_boards
        from hanlab.cli.served_requests import request_through_server

        refuse_what_is_for_boards(lab, impair=impair, pcap=pcap)
        if request_through_server(lab, sent, as_json=as_json):
            return
    with open_lab(lab, pcap=pcap, impair=impair, quiet=as_json) as (bench, _):
        answer = bench.run(bench.send_request(sent))
        joined = _wait_for_join(bench, answer)
        acknowledgement, came = answer.acknowledgement, answer.deliveries
        texts = [write_response(acknowledgement).decode(), *(d.xml.decode() for d in came)]
        if as_json:
            codes = [acknowledgement.code, *(d.code for d in came)]
            report = {"request_id": str(sent.id), "codes": codes, "xml": texts}
            came_in = {} if joined is None else {"joined": joined}
            print(json.dumps({**report, **came_in, **pending.told(bench.notices)}))
        else:
            print("\n".join(text.strip() for text in texts))
        end_as(answer)


def _wait_for_join(bench: Lab, answer: Answer) -> bool | None:
    """Whether the device of an 8.11 Add has joined in its time: an emulated CH's window closes with this command."""
    body, done = answer.request.body, answer.result and answer.result.body
    if not isinstance(body, UpdateHanDeviceLog) or not body.add or done != HanDeviceLogUpdated():
        return None
    return bench.run(
        bench.wait_until_joined(bench.device(str(body.device)), join_window_s(body.join_s))
    )


def end_as(answer: Answer) -> None:
    """Exit with 1 where the service or the device refused; what it said has been printed."""
    from hanlab.lab.answers import ACCEPTED_CODES

    body = answer.result and answer.result.body
    refused = isinstance(body, FirmwareActivated | HanDeviceLogUpdated) and not body.success
    if answer.cause or refused or answer.code not in ACCEPTED_CODES:
        raise typer.Exit(1)


def _read_request_file(file: Path, lab: Path | None) -> Request:
    from hanlab.duis.parsing import MAX_OCTETS
    from hanlab.duis.reading import read_request
    from hanlab.duis.signing import SignatureError, is_signed
    from hanlab.gateway.seals import seals_of

    try:
        with file.open("rb") as opened:
            octets = opened.read(MAX_OCTETS + 1)
    except OSError as e:
        raise UsageError(
            f"{file} cannot be read: {e.strerror}",
            next_step="check its name; hanlab init FOLDER writes samples",
        ) from None
    if not is_signed(octets):
        return read_request(octets)
    config = read_lab(lab)
    try:
        return seals_of(open_pki(state_folder(lab, config) / PKI, config)).open(octets)
    except SignatureError as e:
        raise SignatureError(
            f"{file}: {e.what}", next_step=f"{e.next_step}; or take the ds:Signature out"
        ) from None
