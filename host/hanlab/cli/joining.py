"""`hanlab join`, `leave`, `move`: the Service Requests that take a device onto a HAN, off it, and to another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hanlab.cli.endings import RequestRefused, check_accepted
from hanlab.cli.pending_requests import told
from hanlab.cli.served import POLL_S, ServedLab, served
from hanlab.cli.show import console, say
from hanlab.cli.waiting import LiveLine, open_lab
from hanlab.dsp.parts import Notice
from hanlab.dsp.service import Dsp
from hanlab.dsp.service_requests import SERVICE_REQUESTS
from hanlab.dsp.smi import SmiDevice, Status
from hanlab.duis.messages import (
    Body,
    DecommissionDevice,
    SetStatus,
    UpdateHanDeviceLog,
    UpdateInventory,
)
from hanlab.duis.responses import HanDeviceLogUpdated
from hanlab.errors import CarriedOn, HanlabError, UsageError
from hanlab.eui import Eui
from hanlab.keys import LabKeys
from hanlab.lab.answers import Answer
from hanlab.lab.board_json import install_code
from hanlab.lab.boards import lab_keys
from hanlab.lab.config import LabConfig
from hanlab.lab.enrolment import commissioning, notification
from hanlab.lab.homes import HomeConfig
from hanlab.lab.nodes import NodeConfig
from hanlab.s1sp.join_time import MINUTE_S, join_window_s


@dataclass
class _Desk:
    """Where the Service Requests of one command are sent from, and what came of each."""

    config: LabConfig
    dsp: Dsp
    keys: LabKeys
    post: Callable[[Body, Eui | None], Answer]
    wait: Callable[[NodeConfig, float], bool]
    """Until the device is on the HAN, for so many seconds; whether it is."""
    notices: Sequence[Notice]
    as_json: bool
    codes: dict[str, str] = field(default_factory=dict)

    def send(self, body: Body, to: Eui | None = None) -> None:
        """Send it, print its code; RequestRefused or ServiceRequestFailed where it came to nothing."""
        answer = self.post(body, to)
        reference = answer.request.reference
        self.codes[reference] = answer.code
        try:
            _check(answer)
        except HanlabError as e:
            e.besides = {"codes": self.codes, **told(self.notices)}
            raise
        if not self.as_json:
            say(
                console(),
                f"{reference} {SERVICE_REQUESTS[reference].name}",
                f"✓ {answer.code}",
                "green",
            )

    def known(self, node: NodeConfig) -> SmiDevice | None:
        return self.dsp.smi.find(node.eui)


def _check(answer: Answer) -> None:
    check_accepted(answer)
    done = answer.result
    if done is None:
        return
    body = done.body
    if done.code != "I0" or (isinstance(body, HanDeviceLogUpdated) and not body.success):
        if answer.cause:
            answer.cause.code = done.code
            raise answer.cause
        raise RequestRefused(
            done.code, f"{done.code}: no answer came to the DSP", next_step="hanlab audit says why"
        )


def join(name: str, to: str | None, minutes: int, *, lab: Path | None, as_json: bool) -> None:
    """12.2 (or 8.4) if it needs that, 8.11 Add, the join itself, and what commissions it."""
    with _desk(lab, as_json=as_json) as desk:
        node = desk.config.node(name)
        home = _home(desk, node, to)
        _join(desk, node, home, minutes)
        _end(desk, node, f"{node.name} is on the HAN of {home.hub.name}")


def leave(name: str, *, decommission: bool, lab: Path | None, as_json: bool) -> None:
    """8.11 Remove, and 8.3 if that is wanted."""
    with _desk(lab, as_json=as_json) as desk:
        node = desk.config.node(name)
        _leave(desk, node)
        if decommission:
            desk.send(DecommissionDevice(node.eui))
        _end(desk, node, f"{node.name} is on no HAN")


def move(name: str, to: str, minutes: int, *, lab: Path | None, as_json: bool) -> None:
    """8.11 Remove at the one CH, then `join` at the other."""
    with _desk(lab, as_json=as_json) as desk:
        node = desk.config.node(name)
        home = desk.config.home(to)
        known = desk.known(node)
        if known and known.hub == home.hub.eui:
            raise UsageError(
                f"{node.name} is at {home.hub.name} already", next_step="--to takes another home"
            )
        if known and known.hub:
            _leave(desk, node)
        _join(desk, node, home, minutes)
        _end(desk, node, f"{node.name} has moved to {home.hub.name}")


def _home(desk: _Desk, node: NodeConfig, to: str | None) -> HomeConfig:
    """The home that was named, else where the device stands, else the only one."""
    stands = desk.config.home_of(node)
    return stands if stands and to is None else desk.config.home(to)


def _join(desk: _Desk, node: NodeConfig, home: HomeConfig, minutes: int) -> None:
    hub = home.hub
    known = desk.known(node)
    if known is None:
        desk.send(notification(node))
    elif known.status is Status.DECOMMISSIONED:
        desk.send(UpdateInventory(node.eui, SetStatus("Pending")))
    join_s = MINUTE_S * minutes
    code = install_code(node, desk.keys)
    desk.send(UpdateHanDeviceLog(node.eui, True, join_s, code), hub.eui)
    if not desk.wait(node, join_window_s(join_s)):
        raise HanlabError(
            f"{node.name} has not joined {hub.name} within {minutes} min; {hub.name} lets it join no longer",
            next_step="check that it is switched on and has the install code of lab.toml, then hanlab join "
            "again",
        )
    known = desk.known(node)
    if known and known.status is Status.INSTALLED_NOT_COMMISSIONED:
        desk.send(commissioning(desk.dsp, node, hub.eui), node.eui)


def _leave(desk: _Desk, node: NodeConfig) -> None:
    known = desk.known(node)
    if known is None or known.hub is None:
        raise UsageError(
            f"{node.name} is on no CH's whitelist", next_step="hanlab join lets it onto a HAN"
        )
    desk.send(UpdateHanDeviceLog(node.eui, add=False), known.hub)


def _end(desk: _Desk, node: NodeConfig, what: str) -> None:
    known = desk.known(node)
    status = str(known.status) if known else None
    if desk.as_json:
        report = {"device": str(node.eui), "codes": desk.codes, "status": status}
        print(
            json.dumps(
                {**report, "hub": known and known.hub and str(known.hub), **told(desk.notices)}
            )
        )
        return
    say(console(), f"✓ {status}", what, "green")


@contextmanager
def _desk(lab: Path | None, *, as_json: bool) -> Iterator[_Desk]:
    """The lab's DSP, through a server if one has the lab."""
    with served(lab) as there:
        if there is not None:
            keys = lab_keys(there.config, there.server.folder)

            def at_the_server(node: NodeConfig, within_s: float) -> bool:
                return _wait_at_server(there, node, within_s)

            yield _Desk(
                there.config, there.dsp, keys, lambda body, to: there.send(body, to, ""),
                at_the_server, (), as_json,
            )  # fmt: skip
            return
    with open_lab(lab, quiet=as_json) as (bench, line):

        def wait(node: NodeConfig, within_s: float) -> bool:
            shown = line.text
            left = within_s

            def report(seconds: float) -> None:
                nonlocal left
                left = seconds

            line.text = lambda: f"{node.name} may join for {left:.0f} s more"
            try:
                return bench.run(
                    bench.wait_until_joined(bench.device(str(node.eui)), within_s, report)
                )
            except KeyboardInterrupt:
                raise CarriedOn(next_step=_after_ctrl_c(real=bench.config.is_real)) from None
            finally:
                line.text = shown

        keys = lab_keys(bench.config, bench.folder)
        yield _Desk(
            bench.config, bench.dsp, keys, lambda body, to: bench.run(bench.send(body, to)),
            wait, bench.notices, as_json,
        )  # fmt: skip


def _wait_at_server(there: ServedLab, node: NodeConfig, within_s: float) -> bool:
    until = time.monotonic() + within_s
    line = LiveLine(lambda: f"{node.name} may join for {until - time.monotonic():.0f} s more")
    try:
        with line:
            while time.monotonic() < until:
                known = there.dsp.smi.find(node.eui)
                if known and known.status is not Status.WHITELISTED:
                    return known.hub is not None
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        raise CarriedOn(next_step=_after_ctrl_c(real=True)) from None
    return False


def _after_ctrl_c(*, real: bool) -> str:
    """What goes on: the boards of this command's own lab are switched off with it, others are not."""
    if real:
        return (
            "the CH lets the device join as long as 8.11 said; hanlab inventory shows when it has, hanlab "
            "join then commissions it"
        )
    return "8.11 was carried out, and a CH that is switched off lets nobody join: hanlab join again"
