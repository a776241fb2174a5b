"""`hanlab inventory`, `cpl`, `alerts`, `audit` and `request`: the DSP of a lab."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hanlab.boards.data import load_model, model_names
from hanlab.cli import pending_requests as pending
from hanlab.cli.hints import say_next
from hanlab.cli.show import console, say, warn
from hanlab.cli.tables import draw_table
from hanlab.dsp.alerts import ALERTS
from hanlab.dsp.cpl import CplEntry, CplStatus, no_entry_twice, read_cpl_rows
from hanlab.dsp.deliveries import Delivery
from hanlab.dsp.files import LISTS
from hanlab.dsp.service import Dsp
from hanlab.dsp.smi import Status, read_inventory
from hanlab.duis.messages import (
    FirmwareActivated,
    HanDeviceLogUpdated,
    Request,
    UpdateFirmware,
    UpdateHanDeviceLog,
)
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.images import (
    ImageError,
    OtaImage,
    read_image,
    warnings_about,
    warnings_about_octets,
)
from hanlab.images.formats import TEXT, looks_like
from hanlab.lab.config import LabConfig, read_lab
from hanlab.lab.enrolment import product
from hanlab.lab.fitting import home_of, how_to_mend, listing_problem, misfits, third_party_at
from hanlab.lab.nodes import NodeConfig
from hanlab.lab.office import PKI, named_user, open_office, open_pki
from hanlab.lab.state import serving, state_folder
from hanlab.s1sp.join_time import join_window_s

if TYPE_CHECKING:  # a list needs no boards
    from hanlab.lab import Lab
    from hanlab.lab.answers import Answer

_HASH_SHOWN = 16


def inventory(
    add: Path | None, hand_over: tuple[str, str] | None, *, lab: Path | None, as_json: bool
) -> None:
    """Show the SMI, after adding what a file lists, and after a change of supplier (device, user)."""
    with _office(lab) as (dsp, config):
        if add:
            new = read_inventory(add)
            known = _models(config)
            for record in new:
                dsp.cpl.check_name(record, known)
            dsp.smi.add(*new)
        if hand_over:
            device, user = hand_over
            dsp.parts.notice = pending.teller(quiet=as_json)
            dsp.hand_over(_eui(device, config), named_user(dsp, user))
        devices = list(dsp.smi.everything())
        if as_json:
            told = [{k: _text(v) for k, v in vars(d).items()} for d in devices]
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
        _table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _eui(device: str, config: LabConfig) -> Eui:
    """A device by its EUI-64, or by its name in the lab."""
    try:
        return Eui.parse(device)
    except UsageError:
        return config.node(device).eui


def show_cpl(*, lab: Path | None, as_json: bool) -> None:
    """Every entry."""
    with _office(lab) as (dsp, _):
        entries = dsp.cpl.everything()
        if as_json:
            print(json.dumps({"entries": [_entry(e) for e in entries]}))
            return
        rows = [
            {
                "type": e.device_type,
                "model": f"{e.manufacturer} {e.model}",
                "hardware": e.hardware,
                "generation": e.generation,
                "version": e.version,
                "its maker's": ""
                if e.manufacturer_version == e.version
                else e.manufacturer_version,
                "status": e.status,
                "last day": _text(e.expires) or "",
                "hash": f"{e.hash.hex()[:_HASH_SHOWN]}…" if e.hash else "",
            }
            for e in entries
        ]
        rarely = ("its maker's", "last day")
        columns = [c for c in next(iter(rows), {}) if c not in rarely or any(r[c] for r in rows)]
        _table(columns, [[row[c] for c in columns] for row in rows])
        if "its maker's" in columns:
            say(console(), "its maker's", "version is not used: nothing decides by it", "dim")


def add_to_cpl(what: Path, model: str, *, anyway: bool, lab: Path | None, as_json: bool) -> None:
    """List what a file says, the firmware that an OTA file has in it, or a version once more."""
    with _office(lab) as (dsp, config):
        if what.suffix.lower() in LISTS:
            entries = _load_list(what, dsp, config)
        elif not what.exists() and (ended := _of_version(dsp, str(what), model, active=False)):
            _relist(ended, dsp, as_json=as_json)
            return
        elif not what.exists() and _of_version(dsp, str(what), model, active=True):
            raise UsageError(
                f"version {what} is on the CPL already, {CplStatus.ACTIVE}",
                next_step="there is nothing to do",
            )
        else:
            entries = _load_other(what, dsp, config, anyway=anyway)
        if as_json:
            print(json.dumps({"entries": [_entry(e) for e in entries]}))
            return
        for entry in entries:
            say(console(), "✓ listed", str(entry), "green")
        models = [entry.product for entry in entries]
        if what.suffix.lower() in LISTS:
            return
        fit = [node for node in config.nodes if product(node.model).product in models]
        why = {n.name: third_party_at(home_of(config, n, dsp.smi), n) for n in fit}
        served = [name for name, none in why.items() if none is None]
        if served:
            say_next(console(), f"hanlab push {shlex.quote(str(what))} --to {served[0]}", lab)
        for none in filter(None, [] if served else why.values()):
            say(console(), "no push", none.what, "yellow")
            say_next(console(), none.next_step, lab)


def _models(config: LabConfig) -> list[tuple[str, str, str, str]]:
    """The products that there are Device Models of, hanlab's and the lab's."""
    models = [load_model(name) for name in model_names()] + [n.model for n in config.nodes]
    return [product(model).product for model in models]


def _load_list(file: Path, dsp: Dsp, config: LabConfig) -> list[CplEntry]:
    """List a file's entries, all or none. One without hardware has that of the product that is known."""
    rows = read_cpl_rows(file)
    no_entry_twice(rows)
    entries = []
    known = _models(config)
    with dsp.parts.transaction():
        for row in rows:
            entry = dsp.cpl.with_hardware(row.thing)
            try:
                dsp.cpl.check_name(entry, known)
                dsp.load([entry])
            except UsageError as e:
                raise UsageError(f"{row.where}: {e.what}", next_step=e.next_step) from None
            entries.append(entry)
    return entries


def _load_other(what: Path, dsp: Dsp, config: LabConfig, *, anyway: bool) -> list[CplEntry]:
    """List an OTA file's firmware; what is none may be a version or a list that is not known as one."""
    if not what.exists() and what.name == str(what) and not what.suffix:
        raise UsageError(
            f"there is no file {what}, and no version {what} on the CPL",
            next_step="hanlab cpl shows the versions; an OTA file that lists a new one comes of hanlab image build",
        )
    try:
        return _load_image(what, dsp, config, anyway=anyway)
    except ImageError as e:
        if what.is_file() and looks_like(what.read_bytes()).startswith(TEXT):
            e.next_step += f"; the name of a list ends in {', '.join(LISTS)}"
        raise


def _relist(entries: list[CplEntry], dsp: Dsp, *, as_json: bool) -> None:
    for entry in entries:
        dsp.relist(entry)
    if as_json:
        print(json.dumps({"entries": [_entry(e) for e in dsp.cpl.of_version(entries[0].version)]}))
        return
    for entry in entries:
        last = ", without its last day" if entry.expires else ""
        say(console(), "✓ listed again", f"{entry}{last}", "green")
    suspended = dsp.smi.count(Status.SUSPENDED)
    if suspended:
        say(
            console(),
            "Suspended",
            f"{suspended:,} stay so until they run another version that is listed (rules 87, 88)",
            "yellow",
        )


def _load_image(file: Path, dsp: Dsp, config: LabConfig, *, anyway: bool) -> list[CplEntry]:
    """List the firmware of an OTA file for the Device Models of the lab that take it."""
    image = read_image(file)
    nodes = [n for n in config.nodes if n.model.device_type == image.device_type]
    if not nodes:
        types = ", ".join(dict.fromkeys(n.model.device_type for n in config.nodes))
        raise UsageError(
            f"{file} is for device type {image.device_type or 'unknown'}, and this lab has none",
            next_step=f"it has {types}; hanlab image inspect {shlex.quote(str(file))}",
        )
    problems = {n.name: _problems(image, n, dsp, config) for n in nodes}
    fit = [n for n in nodes if anyway or not problems[n.name]]
    if not fit:
        raise UsageError(
            f"{file} is of no use to this lab: {'; '.join(next(iter(problems.values())))}",
            next_step=f"{how_to_mend(image, nodes[0], dsp.cpl, file)}; --anyway lists it as it is",
        )
    warn(warnings_about(image))
    entries = {product(n.model, image.version, image.manufacturer_image_hash): None for n in fit}
    new = [e for e in entries if all(e != other for other in dsp.cpl.of_product(e))]
    dsp.load(new)
    return list(entries)


def _problems(image: OtaImage, node: NodeConfig, dsp: Dsp, config: LabConfig) -> list[str]:
    taken = listing_problem(image, node, dsp.cpl)
    home = home_of(config, node, dsp.smi)
    return [*misfits(image, node, home), *([taken] if taken else [])]


def _of_version(dsp: Dsp, version: str, model: str, *, active: bool) -> list[CplEntry]:
    """The entries with that version that are active or are not, of one Device Model or of all."""
    return [
        e
        for e in dsp.cpl.of_version(version)
        if (e.status is CplStatus.ACTIVE) == active
        and (not model or e.model.lower() == model.lower())
    ]


def withdraw(version: str, model: str, *, lab: Path | None, as_json: bool) -> None:
    """Withdraw the entries with that version, of one Device Model or of all."""
    with _office(lab) as (dsp, _):
        found = _of_version(dsp, version, model, active=True)
        if not found:
            raise UsageError(
                f"no active entry of the CPL has version {version!r}",
                next_step="hanlab cpl shows what is there",
            )
        suspended = sum(dsp.withdraw(entry) for entry in found)
        if as_json:
            print(json.dumps({"withdrawn": [_entry(e) for e in found], "suspended": suspended}))
            return
        for entry in found:
            say(console(), "✓ withdrawn", str(entry), "green")
        devices = "device is" if suspended == 1 else "devices are"
        say(console(), "Suspended", f"{suspended:,} {devices} now Suspended (rule 78)", "yellow")
        say_next(console(), f"hanlab cpl add {shlex.quote(version)} lists it again", lab)


def alerts(last: int, *, again: bool, lab: Path | None, as_json: bool) -> None:
    """What was sent to Service Users, oldest first; `again`: what was set aside is sent once more."""
    with _office(lab) as (dsp, _):
        if again:
            dsp.deliveries.send_again()
        sent = dsp.deliveries.last(last)
        if as_json:
            rows = [
                {
                    "at": d.at.isoformat(),
                    "to": str(d.recipient),
                    "code": d.code,
                    "device": _text(d.device),
                    "request": d.request,
                    "delivered": d.delivered,
                    "undelivered": d.refused,
                    "xml": d.xml.decode(),
                }
                for d in sent
            ]
            print(json.dumps({"deliveries": rows}))
            return
        _table(
            ("at", "to", "code", "about", "device"),
            [
                (
                    f"{d.at:%Y-%m-%d %H:%M:%S}",
                    _name(dsp, d.recipient),
                    d.code,
                    _about(d),
                    _text(d.device) or "",
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
    with _office(lab) as (dsp, _):
        entries = dsp.audit.read(last)
        if as_json:
            print(json.dumps({"entries": [vars(e) for e in entries]}))
            return
        _table(
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


def request(file: Path, *, lab: Path | None, pcap: Path | None, impair: str, as_json: bool) -> None:
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


def counters(*, lab: Path | None, as_json: bool) -> None:
    """Each Service User's last counter."""
    with _office(lab) as (dsp, _):
        last = {user.name: dsp.counters.last(user.eui) for user in dsp.settings.users}
        if as_json:
            print(json.dumps({"counters": last}))
            return
        _table(
            ("user", "EUI-64", "last counter", "the next one up to"),
            [
                (u.name, str(u.eui), str(last[u.name]), str(dsp.counters.most(u.eui)))
                for u in dsp.settings.users
            ],
        )


def reset_counter(name: str, to: int, *, lab: Path | None, as_json: bool) -> None:
    """Set the counter that a Service User goes on from."""
    with _office(lab) as (dsp, _):
        user = named_user(dsp, name)
        before = dsp.reset_counter(user.eui, to)
        if as_json:
            print(json.dumps({"user": user.name, "before": before, "last": to}))
            return
        said = f"the last counter was {before}, and is {to}; recorded requests above it pass again"
        say(console(), f"✓ {user.name}", said, "green")


@contextmanager
def _office(lab: Path | None) -> Iterator[tuple[Dsp, LabConfig]]:
    """The lab's DSP, without its boards."""
    config = read_lab(lab)
    office = open_office(config, state_folder(lab, config))
    try:
        yield office.dsp, config
    finally:
        office.close()


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    draw_table(
        console(), columns, rows, whole=("at", "code", "rule"), named=("rule", "before", "last day")
    )


def _name(dsp: Dsp, eui: Eui | None) -> str:
    user = eui and dsp.settings.user(eui)
    return user.name if user else str(eui or "")


def _who(dsp: Dsp, actor: str) -> str:
    return next((u.name for u in dsp.settings.users if str(u.eui) == actor), actor)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _entry(entry: CplEntry) -> dict[str, str | None]:
    return {
        **{k: _text(v) for k, v in vars(entry).items()},
        "hash": entry.hash.hex() if entry.hash else None,
    }
