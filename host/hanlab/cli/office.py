"""`hanlab inventory`, `alerts`, `audit` and `dsp`: what the DSP of a lab remembers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hanlab.boards.data import load_model, model_names
from hanlab.cli import pending_requests as pending
from hanlab.cli.show import console, say
from hanlab.cli.tables import draw_table
from hanlab.dsp.alerts import ALERTS
from hanlab.dsp.deliveries import Delivery
from hanlab.dsp.service import Dsp
from hanlab.dsp.smi import read_inventory
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.lab.config import LabConfig, read_lab
from hanlab.lab.enrolment import product
from hanlab.lab.office import named_user, open_office
from hanlab.lab.state import state_folder


def inventory(
    add: Path | None, hand_over: tuple[str, str] | None, *, lab: Path | None, as_json: bool
) -> None:
    """Show the SMI, after adding what a file lists, and after a change of supplier (device, user)."""
    with opened(lab) as (dsp, config):
        if add:
            new = read_inventory(add)
            known = models(config)
            for record in new:
                dsp.cpl.check_name(record, known)
            dsp.smi.add(*new)
        if hand_over:
            device, user = hand_over
            dsp.parts.notice = pending.teller(quiet=as_json)
            dsp.hand_over(_eui(device, config), named_user(dsp, user))
        devices = list(dsp.smi.everything())
        if as_json:
            told = [{k: text(v) for k, v in vars(d).items()} for d in devices]
            print(json.dumps({"devices": told}))
            return
        before = any(d.status_before for d in devices)
        homes = {home.hub.eui: home.name for home in config.homes}
        columns = ("device", "home", "type", "model", "version", "status", "before", "supplier")
        rows = [
            (
                str(d.eui),
                homes.get(d.hub or d.eui, ""),
                d.device_type,
                f"{d.manufacturer} {d.model}",
                d.version or "",
                str(d.status),
                str(d.status_before or ""),
                _name(dsp, d.supplier),
            )
            for d in devices
        ]
        hidden = {"before": not before, "home": len(homes) == 1}
        shown = [i for i, column in enumerate(columns) if not hidden.get(column)]
        table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _eui(device: str, config: LabConfig) -> Eui:
    """A device by its EUI-64, or by its name in the lab."""
    try:
        return Eui.parse(device)
    except UsageError:
        return config.node(device).eui


def models(config: LabConfig) -> list[tuple[str, str, str, str]]:
    """The products that there are Device Models of, hanlab's and the lab's."""
    models = [load_model(name) for name in model_names()] + [n.model for n in config.nodes]
    return [product(model).product for model in models]


def alerts(last: int, *, again: bool, lab: Path | None, as_json: bool) -> None:
    """What was sent to Service Users, oldest first; `again`: what was set aside is sent once more."""
    with opened(lab) as (dsp, _):
        if again:
            dsp.deliveries.send_again()
        sent = dsp.deliveries.last(last)
        if as_json:
            rows = [
                {
                    "at": d.at.isoformat(),
                    "to": str(d.recipient),
                    "code": d.code,
                    "device": text(d.device),
                    "request": d.request,
                    "delivered": d.delivered,
                    "undelivered": d.refused,
                    "xml": d.xml.decode(),
                }
                for d in sent
            ]
            print(json.dumps({"deliveries": rows}))
            return
        table(
            ("at", "to", "code", "about", "device"),
            [
                (
                    f"{d.at:%Y-%m-%d %H:%M:%S}",
                    _name(dsp, d.recipient),
                    d.code,
                    _about(d),
                    text(d.device) or "",
                )
                for d in sent
            ],
        )
        if any(d.refused for d in sent):
            console().print("  next: hanlab alerts --again, when their listener takes them")


def _about(delivery: Delivery) -> str:
    known = ALERTS.get(delivery.code)
    about = known.meaning if known else f"response to {delivery.request}"
    return f"{about}; undelivered: {delivery.refused}" if delivery.refused else about


def audit(last: int, *, lab: Path | None, as_json: bool) -> None:
    """The newest decisions, oldest first."""
    with opened(lab) as (dsp, _):
        entries = dsp.audit.read(last)
        if as_json:
            print(json.dumps({"entries": [vars(e) for e in entries]}))
            return
        table(
            ("at", "who", "what", "about", "answer", "rule", "why"),
            [
                (
                    e.at[:19].replace("T", " "),
                    _who(dsp, e.actor),
                    e.action,
                    e.subject,
                    e.code,
                    "" if e.rule is None else str(e.rule),
                    e.why,
                )
                for e in entries
            ],
        )


def counters(*, lab: Path | None, as_json: bool) -> None:
    """Each Service User's last counter."""
    with opened(lab) as (dsp, _):
        last = {user.name: dsp.counters.last(user.eui) for user in dsp.settings.users}
        if as_json:
            print(json.dumps({"counters": last}))
            return
        table(
            ("user", "EUI-64", "last counter", "the next one up to"),
            [
                (u.name, str(u.eui), str(last[u.name]), str(dsp.counters.most(u.eui)))
                for u in dsp.settings.users
            ],
        )


def reset_counter(name: str, to: int, *, lab: Path | None, as_json: bool) -> None:
    """Set the counter that a Service User goes on from."""
    with opened(lab) as (dsp, _):
        user = named_user(dsp, name)
        before = dsp.reset_counter(user.eui, to)
        if as_json:
            print(json.dumps({"user": user.name, "before": before, "last": to}))
            return
        said = f"the last counter was {before}, and is {to}; recorded requests above it pass again"
        say(console(), f"✓ {user.name}", said, "green")


@contextmanager
def opened(lab: Path | None) -> Iterator[tuple[Dsp, LabConfig]]:
    """The lab's DSP, without its boards."""
    config = read_lab(lab)
    office = open_office(config, state_folder(lab, config))
    try:
        yield office.dsp, config
    finally:
        office.close()


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw what a list has, its times, codes and rules whole."""
    draw_table(
        console(), columns, rows, whole=("at", "code", "rule"), named=("rule", "before", "last day")
    )


def _name(dsp: Dsp, eui: Eui | None) -> str:
    user = eui and dsp.settings.user(eui)
    return user.name if user else str(eui or "")


def _who(dsp: Dsp, actor: str) -> str:
    return next((u.name for u in dsp.settings.users if str(u.eui) == actor), actor)


def text(value: object) -> str | None:
    """A value for --json, which has None of its own."""
    return None if value is None else str(value)
