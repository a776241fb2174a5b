"""`hanlab requests`, and what other commands say of requests that are pending."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from hanlab.cli.show import REQUESTS, console, say
from hanlab.dsp.accepted import Accepted, parse_id
from hanlab.dsp.parts import Notice
from hanlab.dsp.service_requests import SERVICE_REQUESTS
from hanlab.duis.messages import RequestId
from hanlab.errors import UsageError
from hanlab.lab.config import read_lab
from hanlab.lab.office import Office, open_office
from hanlab.lab.state import state_folder

_WORDS: Final = {
    "begins": "was accepted before and has fallen due: it is carried out now",
    "superseded": "is superseded by this newer one: it is not carried out any more",
}


def teller(*, quiet: bool) -> Callable[[Notice], None]:
    """Says what becomes of pending requests, on standard error: standard output is the command's own."""
    out = Console(stderr=True, highlight=False)

    def tell(notice: Notice) -> None:
        if not quiet:
            say(out, "pending", sentence(notice), "yellow")

    return tell


def sentence(notice: Notice) -> str:
    words = _WORDS.get(notice.end, f"has ended with {notice.end}")
    return f"{notice.service} {notice.request} for {notice.device} {words}"


def told(notices: Iterable[Notice]) -> dict[str, Any]:
    """For --json: the same, if there was anything."""
    ended = [
        {
            "request_id": str(n.request),
            "service": n.service,
            "device": str(n.device),
            "end": n.end,
        }
        for n in notices
        if n.end != "begins"
    ]
    return {"pending": ended} if ended else {}


def show(*, lab: Path | None, as_json: bool) -> None:
    """What was accepted and has not ended, in the order in which it falls due."""
    office = _office(lab)
    try:
        now = office.dsp.parts.clock()
        begun = office.dsp.under_way()
        pending = [(p, p.id in begun) for p in office.dsp.pending()]
    finally:
        office.close()
    if as_json:
        rows = [_row(p, now, under_way=under_way) for p, under_way in pending]
        print(json.dumps({"now": now.isoformat(), "requests": rows}))
        return
    out = console()
    if not pending:
        say(out, "nothing is pending", "every accepted request has ended", "green")
    for p, under_way in pending:
        row = _row(p, now, under_way=under_way)
        when = (
            f"falls due {p.due:%Y-%m-%d %H:%M:%S}" if p.due else f"accepted {row['at'] or 'before'}"
        )
        state = "under way" if under_way else "overdue" if row["overdue"] else "waits"
        name = REQUESTS.get(p.service, f"{p.reference} {SERVICE_REQUESTS[p.reference].name}")
        devices = row["devices"]
        text = f"{devices[0]}{f' and {len(devices) - 1:,} more' if devices[1:] else ''}; {when}"
        say(out, f"{state}  {p.id}", f"{name}, {text}", "yellow")
    if any(not under_way for _, under_way in pending):
        out.print("  next: hanlab requests resume, or hanlab requests cancel ID", soft_wrap=True)


def cancel(id_: str, *, lab: Path | None, as_json: bool) -> None:
    """Take one back: it is never carried out."""
    request = _read(id_)
    office = _office(lab)
    try:
        if not office.dsp.cancel(request):
            raise _not_pending(request, office.dsp.unfinished())
    finally:
        office.close()
    if as_json:
        print(json.dumps({"request_id": str(request), "state": "cancelled"}))
    else:
        say(console(), "✓ cancelled", f"{request}; its user is told with N55", "green")


def resume(id_: str | None, *, lab: Path | None, as_json: bool) -> None:
    """Carry out what is overdue; or one, and what falls due before it."""
    request = _read(id_) if id_ else None
    from hanlab.cli.waiting import open_lab

    with open_lab(lab, quiet=as_json) as (bench, _):
        if request is None:
            bench.run(bench.meet_pending())
        else:
            if request not in bench.dsp.unfinished():
                raise _not_pending(request, [])
            bench.run(bench.dsp.resume(request))
            bench.run(bench.meet_pending())
        report = told(bench.notices)
    if as_json:
        print(json.dumps({"pending": [], **report}))
    elif not report:
        say(
            console(),
            "nothing is overdue",
            "hanlab requests shows what waits for its date",
            "green",
        )


def _office(lab: Path | None) -> Office:
    config = read_lab(lab)
    return open_office(config, state_folder(lab, config))


def _read(text: str) -> RequestId:
    try:
        return parse_id(text.strip())
    except (ValueError, UsageError):
        raise UsageError(
            f"{text!r} is no RequestID", next_step="hanlab requests shows those that are pending"
        ) from None


def _not_pending(request: RequestId, unfinished: Sequence[RequestId]) -> UsageError:
    if request in unfinished:
        return UsageError(
            f"{request} is being carried out now, which is not taken back",
            next_step="wait for its end: hanlab requests shows when it has gone",
        )
    return UsageError(
        f"{request} is not pending: it has ended, or never was accepted",
        next_step="hanlab requests shows what is pending, hanlab audit what became of others",
    )


def _row(pending: Accepted, now: datetime, *, under_way: bool) -> dict[str, Any]:
    return {
        "request_id": str(pending.id),
        "service": pending.reference,
        "devices": [str(device) for device in pending.devices],
        "at": pending.at and pending.at.isoformat(timespec="seconds"),
        "due": pending.due and pending.due.isoformat(),
        "overdue": pending.falls_due <= now and not under_way,
        "under_way": under_way,
    }
