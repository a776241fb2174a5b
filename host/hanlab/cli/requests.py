"""`hanlab push`, `version`, `activate`: the Service Requests on a lab."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import hexdigits
from typing import Any, Final

from rich.console import Console

from hanlab.boards.data import DeviceModel
from hanlab.cli.counters import draw as draw_counters
from hanlab.cli.cut import Cut, read_cut
from hanlab.cli.duis import print_request
from hanlab.cli.endings import (
    RequestRefused,
    check_accepted,
    outcome_of,
    say_all_that_is_missing,
    version_of,
)
from hanlab.cli.hints import say_next
from hanlab.cli.homes import draw_store, flag_untested, store_dict
from hanlab.cli.pending_requests import told
from hanlab.cli.show import REQUESTS, Watch, console, print_json, say, warn
from hanlab.cli.waiting import LiveLine, open_lab
from hanlab.dsp.alerts import ALERTS
from hanlab.dsp.parts import Notice
from hanlab.dsp.settings import DspSettings
from hanlab.duis.messages import ActivateFirmware, Body, ReadFirmwareVersion, UpdateFirmware
from hanlab.duis.responses import FirmwareActivated
from hanlab.errors import HanlabError, UsageError
from hanlab.eui import Eui
from hanlab.images import read_image, warnings_about
from hanlab.lab import Device, Lab
from hanlab.lab.answers import Answer
from hanlab.lab.config import read_lab
from hanlab.lab.office import named_user
from hanlab.lab.state import serving, state_folder
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Report

_SIZE_FAILURES: Final = (Outcome.TOO_LARGE, Outcome.OVERFLOW, Outcome.TRUNCATED, Outcome.SILENT)
_HASH_DIGITS: Final = 64


def push(
    path: Path,
    names: Sequence[str],
    *,
    lab: Path | None,
    pcap: Path | None,
    impair: str,
    direct: bool,
    user: str,
    print_duis: bool,
    cut: str,
    as_json: bool,
) -> None:
    """11.1 Update Firmware."""
    image = read_image(path)
    config = read_lab(lab)
    if cut:
        read_cut(cut, config)
    nodes = config.named(names)
    warn(warnings_about(image))
    if print_duis:
        body = UpdateFirmware(image.to_bytes(), image.version, tuple(node.eui for node in nodes))
        print_request(body, None, lab=lab, user=user, as_json=as_json)
        return
    if len(nodes) > 1:
        _refuse_for_several(len(nodes), cut=cut, direct=direct)
        from hanlab.cli.many import push_all

        push_all(path, image, nodes, lab=lab, pcap=pcap, impair=impair, user=user, as_json=as_json)
        return
    to = nodes[0].name
    if not direct and _through_server(
        lab,
        "11.1",
        to,
        lambda eui: UpdateFirmware(image.to_bytes(), image.version, (eui,)),
        user,
        as_json=as_json,
        file=path,
        cut=cut,
        impair=impair,
        pcap=pcap,
    ):
        return
    octets = len(image.to_bytes())
    out = console()
    with opened(lab, [to], pcap, impair, quiet=as_json) as (bench, (device,), line):
        if not as_json:
            say(
                out,
                REQUESTS["11.1"],
                f"{image.version}, {octets:,} B, to {device.name}",
                "bold",
                indent=0,
            )
            flag_untested(out, bench, [device])
        try:
            with _watch(out, bench, device, line, quiet=as_json) as watch:
                answer = None
                report = Cut(cut, bench, watch) if cut else watch
                if direct:
                    outcome = bench.run(bench.update_firmware(image, device, report))
                else:
                    body = UpdateFirmware(image.to_bytes(), image.version, (device.eui,))
                    answer = _send(bench, body, None, user, report)
            if answer:
                draw_answer(out, bench.dsp.settings, answer, quiet=as_json)
                outcome = outcome_of(answer, bench.dsp, bench.config.node(device.name))
        except (ServiceRequestFailed, RequestRefused) as failure:
            node = bench.config.node(device.name)
            if not as_json:
                draw_shortage(out, failure, watch, bench.home_holding(device).hub.model, octets)
            say_all_that_is_missing(failure, bench.config, bench.dsp, node, path, image)
            raise
        home = bench.home_holding(device)
        held = bench.run(bench.store(home.name))
        if as_json:
            print_json(
                outcome=str(outcome),
                device=str(device.eui),
                version=image.version,
                octets=octets,
                hash=image.manufacturer_image_hash.hex(),
                **{"wall_s" if bench.config.is_real else "virtual_s": bench.clock_us / 1e6},
                store=store_dict(home, held),
                **({"cut": report.came} if isinstance(report, Cut) else {}),
                **_codes(bench, answer),
                **_counters(bench),
            )
            return
        draw_store(out, home.hub.model, held)
        if isinstance(report, Cut) and not report.came:
            say(out, "no cut", f"{cut} did not come: that board had nothing to do", "yellow")
        holder = device.name if outcome is Outcome.DISTRIBUTED else "the CH"
        say(out, f"✓ {outcome}", f"{holder} holds {image.version}; 11.3 makes it run", "green")
        command = ["hanlab", "activate", device.name, "--image", str(path)]
        say_next(out, shlex.join(command + ["--direct"] * direct), lab)


def version(
    device: str,
    *,
    lab: Path | None,
    pcap: Path | None,
    impair: str,
    direct: bool,
    user: str,
    print_duis: bool,
    as_json: bool,
) -> None:
    """11.2 Read Firmware Version."""
    if print_duis:
        eui = read_lab(lab).node(device).eui
        print_request(ReadFirmwareVersion(), eui, lab=lab, user=user, as_json=as_json)
        return
    if not direct and _through_server(
        lab,
        "11.2",
        device,
        lambda eui: ReadFirmwareVersion(),
        user,
        as_json=as_json,
        impair=impair,
        pcap=pcap,
    ):
        return
    with opened(lab, [device], pcap, impair, quiet=as_json) as (bench, (target,), _):
        if not direct:
            _version_by_dsp(bench, target, user, as_json=as_json)
            return
        read = bench.run(bench.wait_until_back(target))
        if as_json:
            print_json(
                device=str(target.eui),
                version=read.firmware,
                file_version=read.file_version,
                model=read.model,
                **told(bench.notices),
            )
        else:
            answer = f"{target.name}, a {read.model}, runs {read.firmware}"
            say(console(), REQUESTS["11.2"], answer, "bold", indent=0)


def activate(
    device: str,
    image: Path | None,
    hash_text: str | None,
    *,
    lab: Path | None,
    pcap: Path | None,
    impair: str,
    direct: bool,
    user: str,
    print_duis: bool,
    as_json: bool,
) -> None:
    """11.3 Activate Firmware."""
    hash_ = _hash(image, hash_text)
    if print_duis:
        eui = read_lab(lab).node(device).eui
        print_request(ActivateFirmware(hash_), eui, lab=lab, user=user, as_json=as_json)
        return
    if not direct and _through_server(
        lab,
        "11.3",
        device,
        lambda eui: ActivateFirmware(hash_),
        user,
        as_json=as_json,
        impair=impair,
        pcap=pcap,
    ):
        return
    out = console()
    with opened(lab, [device], pcap, impair, quiet=as_json) as (bench, (target,), line):
        if not as_json:
            say(
                out,
                REQUESTS["11.3"],
                f"hash {hash_.hex()[:16]}… on {target.name}",
                "bold",
                indent=0,
            )
        with _watch(out, bench, target, line, quiet=as_json) as watch:
            answer = None
            if direct:
                outcome = bench.run(bench.activate_firmware(hash_, target, watch))
            else:
                answer = _send(bench, ActivateFirmware(hash_), target, user, watch)
        if answer:
            draw_answer(out, bench.dsp.settings, answer, quiet=as_json)
            outcome = outcome_of(answer, bench.dsp, bench.config.node(target.name))
            if not _says_version(answer):
                _without_version(bench, outcome, target, answer, lab, as_json=as_json)
                return
        read = bench.run(bench.wait_until_back(target))
        if as_json:
            print_json(
                outcome=str(outcome),
                device=str(target.eui),
                version=read.firmware,
                **_codes(bench, answer),
                **_counters(bench),
            )
        else:
            say(out, f"✓ {outcome}", f"{target.name} runs {read.firmware}", "green")


def _through_server(
    lab: Path | None,
    service: str,
    name: str,
    body: Callable[[Eui], Body],
    user: str,
    *,
    as_json: bool,
    file: Path | None = None,
    **options: object,
) -> bool:
    """Whether a server has the lab, and the request went through it, which `options` would not."""
    if serving(state_folder(lab, read_lab(lab))) is None:
        return False
    from hanlab.cli.served import refuse_what_is_for_boards
    from hanlab.cli.served_requests import through_server

    refuse_what_is_for_boards(lab, **options)
    return through_server(lab, service, name, body, user, as_json=as_json, file=file)


def _send(bench: Lab, body: Body, device: Device | None, user: str, report: Report) -> Answer:
    """A Service Request to the DSP; raises RequestRefused if it does not go on."""
    sender = named_user(bench.dsp, user) if user else None
    answer = bench.run(bench.send(body, device.eui if device else None, user=sender, report=report))
    check_accepted(answer)
    return answer


def _version_by_dsp(bench: Lab, target: Device, user: str, *, as_json: bool) -> None:
    out = console()
    answer = _send(bench, ReadFirmwareVersion(), target, user, lambda progress: None)
    read = version_of(answer, bench.config.node(target.name))
    if as_json:
        print_json(
            device=str(target.eui), version=read, model=target.model.model, **_codes(bench, answer)
        )
    else:
        sentence = f"{target.name}, a {target.model.model}, runs {read}"
        say(out, REQUESTS["11.2"], sentence, "bold", indent=0)
        draw_answer(out, bench.dsp.settings, answer)


def _says_version(answer: Answer) -> bool:
    body = answer.result and answer.result.body
    return isinstance(body, FirmwareActivated) and body.version is not None


def _without_version(
    bench: Lab,
    outcome: Outcome,
    target: Device,
    answer: Answer,
    lab: Path | None,
    *,
    as_json: bool,
) -> None:
    """The answer to 11.3 lacks the version (rule 95), so nobody but an 11.2 can say it (rule 98)."""
    if as_json:
        print_json(
            outcome=str(outcome), device=str(target.eui), version=None, **_codes(bench, answer)
        )
        return
    out = console()
    say(
        out,
        f"✓ {outcome}",
        "the answer says no version, as this device's never does (rule 95)",
        "green",
    )
    say_next(out, f"hanlab version {target.name}", lab)


def _codes(bench: Lab, answer: Answer | None) -> dict[str, Any]:
    """For --json: what the DSP said."""
    if answer is None:
        return told(bench.notices)
    codes = {"request_id": str(answer.request.id), "code": answer.code, "alerts": answer.alerts}
    return {**codes, **told(bench.notices)}


def draw_shortage(
    out: Console, failure: HanlabError, watch: Watch, hub: DeviceModel, octets: int
) -> None:
    """The store of that CH, and the image that it did not take, where that is for its size."""
    outcome = getattr(failure, "outcome", None)
    if outcome in _SIZE_FAILURES and watch.room:
        full = Outcome(outcome).filled_the_store
        draw_store(out, hub, watch.room, octets, was_full=full)


def draw_answer(
    out: Console, settings: DspSettings, answer: Answer, *, quiet: bool = False
) -> None:
    """The response codes, and each DCC Alert with whom it went to."""
    if quiet:
        return
    codes = [answer.acknowledgement.code, *([answer.result.code] if answer.result else [])]
    say(out, "DSP", f"{', then '.join(codes)}   {answer.request.id}", "bold", indent=4)
    told = Counter((d.code, d.recipient) for d in answer.deliveries if d.request is None)
    for (code, recipient), times in told.items():
        alert = ALERTS[code]
        user = settings.user(recipient)
        about = f"{alert.meaning}{'' if alert.stated else ' (code recalled)'}"
        again = f", {times} times" if times > 1 else ""
        say(out, f"{code} to {user.name if user else recipient}{again}", about, "yellow", indent=4)


def _refuse_for_several(number: int, **options: object) -> None:
    if given := [f"--{name}" for name, value in options.items() if value]:
        raise UsageError(
            f"{given[0]} is for one device, and --to names {number}",
            next_step=f"leave {given[0]} out, or name one device",
        )


@contextmanager
def opened(
    lab: Path | None, names: Sequence[str], pcap: Path | None, impair: str, *, quiet: bool
) -> Iterator[tuple[Lab, list[Device], LiveLine]]:
    """The lab with its boards on, the devices with these names, and the line that says how far it is.

    A wrong name stops before any of that.

    Where wires are impaired it ends by saying what happened on them.
    """
    config = read_lab(lab).impaired(impair)
    for name in names:
        config.node(name)
    with open_lab(lab, pcap=pcap, impair=impair, quiet=quiet) as (bench, line):
        devices = [bench.device(name) for name in names]
        try:
            yield bench, devices, line
        except HanlabError as e:
            e.besides = told(bench.notices)
            _draw_wires(bench, quiet=quiet)
            raise
        _draw_wires(bench, quiet=quiet)


def _draw_wires(bench: Lab, *, quiet: bool) -> None:
    if bench.is_impaired and not quiet:
        draw_counters(console(), bench.run(bench.counters()))


def _counters(bench: Lab) -> dict[str, Any]:
    """For --json: what happened on the wires, if they are impaired."""
    return {"counters": bench.run(bench.counters()).as_dict()} if bench.is_impaired else {}


@contextmanager
def _watch(
    out: Console, bench: Lab, device: Device, line: LiveLine, *, quiet: bool
) -> Iterator[Watch]:
    """Draws the progress of the request; what is said of pending ones stands below what was drawn."""
    tell = bench.on_notice
    with Watch(
        out,
        lambda: bench.clock_us,
        device=device.name,
        quiet=quiet,
        real=bench.config.is_real,
        line=line,
    ) as watch:

        def tell_below(notice: Notice) -> None:
            watch.stage_ends()
            if tell:
                tell(notice)

        bench.on_notice = tell_below
        try:
            yield watch
        finally:
            bench.on_notice = tell


def _hash(image: Path | None, text: str | None) -> bytes:
    """The hash that 11.3 carries, from --image or --hash."""
    if image is not None and text is None:
        return read_image(image).manufacturer_image_hash
    if image is not None or text is None:
        raise UsageError(
            "11.3 carries one hash, and "
            + ("there is none" if text is None else "there are both --image and --hash"),
            next_step="give --image FILE or --hash HEX",
        )
    no_hex = [character for character in text if character not in hexdigits]
    if no_hex or len(text) != _HASH_DIGITS:
        wrong = f"{no_hex[0]!r} in it" if no_hex else f"{len(text)} digits"
        raise UsageError(
            f"--hash has {wrong}; a SHA-256 is {_HASH_DIGITS} hex digits",
            next_step="hanlab image inspect FILE shows it as 11.3 hash",
        )
    return bytes.fromhex(text)
