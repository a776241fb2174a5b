"""`hanlab push` to several devices: one 11.1 for all of them, in as many homes as they are."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import typer

from hanlab.cli.endings import RequestRefused, check_accepted, say_all_that_is_missing
from hanlab.cli.hints import say_next
from hanlab.cli.pending_requests import told
from hanlab.cli.requests import draw_answer, opened
from hanlab.cli.served import refuse_what_is_for_boards, served
from hanlab.cli.show import REQUESTS, console, print_json, say
from hanlab.cli.waiting import LiveLine
from hanlab.dsp.execution import FAILED
from hanlab.dsp.parts import Notice
from hanlab.dsp.service import Dsp
from hanlab.duis.messages import UpdateFirmware
from hanlab.duis.responses import UpdateFirmwareWarning
from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.lab.answers import Answer
from hanlab.lab.config import LabConfig, some
from hanlab.lab.nodes import NodeConfig
from hanlab.lab.office import named_user
from hanlab.s1sp.outcome import Outcome
from hanlab.s1sp.progress import Progress, Report

_LEFT_OUT: Final = "left-out"
_WHY: Final = {
    "invalid": "is none that this 11.1 can be for (InvalidDeviceIDList)",
    "not_commissioned": "is not Commissioned (DeviceNotCommissionedList)",
    "not_applicable": "is no device that the CPL lists this image for (DeviceNotApplicableList)",
    "other_in_progress": "an update is in progress on its HAN (OtherRequestInProgressList, rule 35)",
}
"""What each list of a DSPUpdateFirmwareWarning says of its devices."""
_SHOWN: Final = 12
"""So many devices have a line of their own if all went well."""


@dataclass(frozen=True)
class End:
    """What became of an 11.1 for one of its devices; `why` is empty where it went well."""

    node: NodeConfig
    outcome: str
    why: str = ""


@dataclass
class _Opened:
    """A lab that takes the request: its own boards, or those of a server."""

    config: LabConfig
    dsp: Dsp
    send: Callable[[UpdateFirmware, Report], Answer]
    clock_s: Callable[[], float]
    line: LiveLine
    notices: list[Notice] = field(default_factory=list)
    server: str = ""


def push_all(
    path: Path,
    image: OtaImage,
    nodes: Sequence[NodeConfig],
    *,
    lab: Path | None,
    pcap: Path | None,
    impair: str,
    user: str,
    as_json: bool,
) -> None:
    """11.1 Update Firmware for those devices; exit code 1 if one of them did not get the image.

    Raises:
        RequestRefused: no device of the list can have it.
    """
    refuse_what_is_for_boards(lab, impair=impair, pcap=pcap)
    out = console()
    update = UpdateFirmware(image.to_bytes(), image.version, tuple(node.eui for node in nodes))
    octets = len(update.image)
    with _opened(nodes, lab, pcap, impair, user, quiet=as_json) as there:
        if not as_json:
            whom = some([node.name for node in nodes])
            through = f", through the server at {there.server}" if there.server else ""
            what = f"{image.version}, {octets:,} B, to {whom}{through}"
            say(out, REQUESTS["11.1"], what, "bold", indent=0)
        audited, began = there.dsp.audit.newest(), there.clock_s()
        far = _Far(nodes, octets)
        try:
            there.line.text = far.line
            with there.line:
                answer = there.send(update, far)
            check_accepted(answer)
        except RequestRefused as refused:
            say_all_that_is_missing(refused, there.config, there.dsp, nodes[0], path, image)
            raise
        took = there.clock_s() - began
        ends = list(_ends(there.dsp, answer, nodes, audited))
        if as_json:
            real = bool(there.server) or there.config.is_real
            print_json(
                version=image.version,
                octets=octets,
                hash=image.manufacturer_image_hash.hex(),
                **{"wall_s" if real else "virtual_s": took},
                devices=[
                    {
                        "name": e.node.name,
                        "device": str(e.node.eui),
                        "outcome": e.outcome,
                        "why": e.why,
                    }
                    for e in ends
                ],
                request_id=str(answer.request.id),
                code=answer.code,
                alerts=answer.alerts,
                **told(there.notices),
            )
        else:
            draw_answer(out, there.dsp.settings, answer)
            well = [end for end in ends if not end.why]
            for end in ends:
                if end.why:
                    say(out, f"✗ {end.outcome}", f"{end.node.name}: {end.why}", "yellow", indent=4)
                elif len(ends) <= _SHOWN:
                    say(out, f"✓ {end.outcome}", end.node.name, "green", indent=4)
            sign, style = ("✓", "green") if len(well) == len(ends) else ("✗", "yellow")
            figures = f"{image.version} is there for them, after {took:.1f} s; 11.3 makes it run"
            say(out, f"{sign} {len(well)} of {len(ends)} devices", figures, style)
            if well:
                say_next(
                    out,
                    f"hanlab activate {well[0].node.name} --image {shlex.quote(str(path))}",
                    lab,
                )
    if any(end.why for end in ends):
        raise typer.Exit(1)


@contextmanager
def _opened(
    nodes: Sequence[NodeConfig],
    lab: Path | None,
    pcap: Path | None,
    impair: str,
    user: str,
    *,
    quiet: bool,
) -> Iterator[_Opened]:
    with served(lab) as server:
        if server is not None:
            yield _Opened(
                server.config,
                server.dsp,
                lambda body, report: server.send(body, None, user, report),
                time.monotonic,
                LiveLine(lambda: ""),
                server=server.server.url,
            )
            return
    names = [node.name for node in nodes]
    with opened(lab, names, pcap, impair, quiet=quiet) as (bench, _, line):
        sender = named_user(bench.dsp, user) if user else None
        yield _Opened(
            bench.config,
            bench.dsp,
            lambda body, report: bench.run(bench.send(body, user=sender, report=report)),
            lambda: bench.clock_us / 1e6,
            line,
            bench.notices,
        )


class _Far:
    """How far the devices are, as one line."""

    def __init__(self, nodes: Sequence[NodeConfig], octets: int) -> None:
        self._nodes = len(nodes)
        self._octets = octets
        self._done: dict[str, dict[str, int]] = {"upload": {}, "distribute": {}}

    def __call__(self, step: Progress) -> None:
        if step.stage in self._done:
            self._done[step.stage][step.device] = step.done

    def line(self) -> str:
        """For a terminal, again and again."""
        uploaded, distributed = self._done.values()
        have = sum(done == self._octets for done in list(distributed.values()))
        shares = (
            f"{sum(list(done.values())) / (self._octets * self._nodes):.0%}"
            for done in (uploaded, distributed)
        )
        to_hubs, to_devices = shares
        return (
            f"S1SP → CHs {to_hubs}, CHs → devices {to_devices}, {have} of {self._nodes} have it all"
        )


def _ends(dsp: Dsp, answer: Answer, nodes: Sequence[NodeConfig], audited: int) -> Iterator[End]:
    body = answer.result and answer.result.body
    warning = body if isinstance(body, UpdateFirmwareWarning) else UpdateFirmwareWarning()
    left_out: dict[Eui, str] = {
        eui: why for name, why in _WHY.items() for eui in getattr(warning, name)
    }
    failed = {
        entry.subject: entry
        for entry in dsp.audit.after(audited)
        if entry.action == FAILED and entry.request == str(answer.request.id)
    }
    for node in nodes:
        if node.eui in left_out:
            yield End(node, _LEFT_OUT, left_out[node.eui])
        elif entry := failed.get(str(node.eui)):
            yield End(node, entry.code, entry.why)
        else:
            yield End(node, Outcome.DISTRIBUTED if node.model.two_step else Outcome.STORED)
