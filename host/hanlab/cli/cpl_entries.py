"""`hanlab cpl`: what is on the Central Products List of a lab, and what comes onto it and off it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from hanlab.cli.hints import say_next
from hanlab.cli.office import models, opened, table, text
from hanlab.cli.show import console, say, warn
from hanlab.dsp.cpl import CplEntry, CplStatus, no_entry_twice, read_cpl_rows
from hanlab.dsp.files import LISTS
from hanlab.dsp.service import Dsp
from hanlab.dsp.smi import Status
from hanlab.errors import UsageError
from hanlab.images import (
    ImageError,
    OtaImage,
    read_image,
    warnings_about,
)
from hanlab.images.formats import TEXT, looks_like
from hanlab.lab.config import LabConfig
from hanlab.lab.enrolment import product
from hanlab.lab.fitting import home_of, how_to_mend, listing_problem, misfits, third_party_at
from hanlab.lab.nodes import NodeConfig

_HASH_SHOWN = 16


def show(*, lab: Path | None, as_json: bool) -> None:
    """Every entry."""
    with opened(lab) as (dsp, _):
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
                "last day": text(e.expires) or "",
                "hash": f"{e.hash.hex()[:_HASH_SHOWN]}…" if e.hash else "",
            }
            for e in entries
        ]
        rarely = ("its maker's", "last day")
        columns = [c for c in next(iter(rows), {}) if c not in rarely or any(r[c] for r in rows)]
        table(columns, [[row[c] for c in columns] for row in rows])
        if "its maker's" in columns:
            say(console(), "its maker's", "version is not used: nothing decides by it", "dim")


def add(what: Path, model: str, *, anyway: bool, lab: Path | None, as_json: bool) -> None:
    """List what a file says, the firmware that an OTA file has in it, or a version once more."""
    with opened(lab) as (dsp, config):
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


def _load_list(file: Path, dsp: Dsp, config: LabConfig) -> list[CplEntry]:
    """List a file's entries, all or none. One without hardware has that of the product that is known."""
    rows = read_cpl_rows(file)
    no_entry_twice(rows)
    entries = []
    known = models(config)
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
    with opened(lab) as (dsp, _):
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


def _entry(entry: CplEntry) -> dict[str, str | None]:
    return {
        **{k: text(v) for k, v in vars(entry).items()},
        "hash": entry.hash.hex() if entry.hash else None,
    }
