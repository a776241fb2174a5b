"""From whatever a board has to the point where it answers as that board of the lab."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from hanlab.errors import HanlabError, UsageError
from hanlab.flashing import hello, micropython, steps
from hanlab.flashing.hello import Hello
from hanlab.flashing.look import Found, Identity, identity_of
from hanlab.flashing.plan import Plan, check, plan, takes_over
from hanlab.flashing.plugged import Plugged, check_usable, siblings, wait_for
from hanlab.flashing.repl import PortGone
from hanlab.flashing.wanted import wanted
from hanlab.flashing.which import Target, cable_of, repl_of
from hanlab.keys import LabKeys
from hanlab.lab.board_json import board_json
from hanlab.lab.config import LabConfig
from hanlab.lab.nodes import NodeConfig
from hanlab.wan.auth import Credentials
from hanlab.wan.ble_port import is_ble

TRIES: Final = 3
"""How often a port that vanishes is waited for before that is the user's affair."""
BACK_S: Final = 15.0
"""How long (s) it is waited for."""
ANSWER_S: Final = 15.0
"""How long (s) a board has to start and answer."""


class Show(Protocol):
    """Who tells the user how far it is."""

    def step(self, head: str, rest: str) -> None:
        """Something has been found out, or is done."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Octets that are there by now, and in all; `what` goes there next."""


@dataclass(frozen=True)
class Job:
    """What is wanted of a flash. `micropython`: a file to put on the chip first; `library`: see `wanted`."""

    config: LabConfig
    node: NodeConfig
    keys: LabKeys
    port: str | None
    micropython: Path | None = None
    library: Path | None = None
    force: bool = False
    sources: bool = False


@dataclass(frozen=True)
class Done:
    """What has become of it. `hello`: who answers now; None: nobody could be asked."""

    device: str
    cable: str | None
    plan: Plan
    hello: Hello | None


def flash(job: Job, show: Show) -> Done:
    """Do it. What was done before is not done again, so after an error the same command goes on.

    Raises:
        UsageError: refused before anything is written, or a tool or the board could not; with the next step.
        WanError: it answers as another board, or with other keys.
    """
    port, found = _with_micropython(job, show)
    for tries_left in reversed(range(TRIES)):
        try:
            target, made = _firmware(job, port, found, show)
            break
        except PortGone as gone:
            back = _back(port) if tries_left else None
            if back is None:
                raise
            show.step("the cable was out", f"{gone.what}; the board is back at {back.device}")
            port, found = back, None
    cable, who = _answer(job, target)
    return Done(target.port.device, cable, made, who)


def _with_micropython(job: Job, show: Show) -> tuple[Plugged, Found | None]:
    """The port where MicroPython is, put there if that is wanted; what is on the board, if it was looked at."""
    if job.micropython is None:
        return repl_of(job.node, job.port), None
    micropython.check_file(job.micropython, job.node.board)
    try:
        port: Plugged | None = repl_of(job.node, job.port)
    except UsageError:
        if job.node.board.family != "rp2":
            raise
        port = None  # it is in BOOTSEL mode, perhaps
    found = None
    if port:
        check_usable(port.device)
        try:
            found = steps.look_at(port.device, bridge=Target(job.node, port).bridge)
        except PortGone:
            raise
        except UsageError:
            show.step(port.device, "no MicroPython answers there yet")
        else:
            _may_be_written(job, found, newer=True)

    def tell(done: int, total: int) -> None:
        show.progress(done, total, "MicroPython")

    port = micropython.install(
        job.micropython, job.node.board, port, tell, running=found is not None
    )
    show.step("MicroPython", f"{job.micropython.name} is on the board, at {port.device}")
    return port, None


def _may_be_written(job: Job, found: Found, *, newer: bool = False) -> bool:
    """Refuse a wrong chip and another's board; whether it was another's. `newer`: its MicroPython is replaced."""
    config = _board_json(job, job.node)
    check(found, job.node.board, job.node.name, any_version=newer)
    ours: Mapping[Identity, str] = {
        identity_of(_board_json(job, node)): node.name for node in job.config.nodes
    }
    return takes_over(found, identity_of(config), job.node.name, ours, force=job.force)


def _firmware(job: Job, port: Plugged, found: Found | None, show: Show) -> tuple[Target, Plan]:
    node = job.node
    for one in siblings(port):
        check_usable(one.device)
    target = Target(node, port)
    if found is None:
        found = steps.look_at(port.device, bridge=target.bridge)
    show.step(port.device, _what(found))
    if node.is_hub and node.board.memory.frozen and not found.frozen:
        show.step(
            "heap",
            f"a CH needs more of a {node.board.name}'s than its own code leaves: build a MicroPython with the firmware "
            "frozen in (boards/README.md), or let another board play it",
        )
    forget = _may_be_written(job, found)
    usb = node.on_cable and node.board.cable.kind == "usb"
    want = wanted(found, _board_json(job, node), usb=usb, library=job.library, sources=job.sources)
    made = plan(found, want, forget=forget)
    if not made.is_empty:
        total = made.octets
        show.progress(0, total, "")
        after = steps.carry_out(
            port.device, made, lambda done, what: show.progress(done, total, what)
        )
        left = plan(after, want)
        wrong = [name for name, _ in left.copy if name not in dict(made.copy)] or [
            name for name, _ in left.copy if name != "main.py"
        ]
        if wrong or left.library:
            raise UsageError(
                f"{wrong[0] if wrong else 'usb-device-cdc'} is not on the board as it should be",
                next_step="again; if it stays so, the board's flash is worn out",
            )
    steps.start(port.device, made)
    return target, made


def _what(found: Found) -> str:
    firmware = (
        "the firmware frozen in"
        if found.frozen
        else "the firmware"
        if any(name.startswith("smets1/") for name in found.files)
        else "no firmware of hanlab's"
    )
    return f"{found.machine}, MicroPython {found.micropython}, {firmware}"


def _board_json(job: Job, node: NodeConfig) -> dict[str, Any]:
    return board_json(job.config, node, job.keys)


def _back(port: Plugged) -> Plugged | None:
    """The same board after its port has vanished: by its serial number, whatever the port is called now."""
    if port.serial is None:
        return wait_for(lambda p: p.device == port.device, BACK_S)
    return wait_for(lambda p: (p.serial, p.vid, p.interface) == (port.serial, port.vid, 0), BACK_S)


def _answer(job: Job, target: Target) -> tuple[str | None, Hello | None]:
    """Where the board answers, and who it says that it is; both prove that they have the key."""
    node = job.node
    usb = node.on_cable and node.board.cable.kind == "usb"
    if usb and target.port.serial:
        # its ports vanish with the restart, and come back, two of them
        serial = target.port.serial
        wait_for(lambda p: p.serial == serial and p.interfaces > 1, ANSWER_S)
    cable = cable_of(target)
    if cable is None or is_ble(cable):
        return cable, None
    eui = node.eui.octets
    credentials = (
        None
        if job.config.wan_open
        else Credentials(eui, job.keys.wan(eui), random.SystemRandom().randbytes)
    )
    try:
        who = hello.ask(cable, node.baud, ANSWER_S, credentials)
    except UsageError as e:
        raise UsageError(
            f"the firmware is on the board, and {cable} cannot be opened: {e.what}",
            next_step=e.next_step,
        ) from None
    if who is None:
        raise HanlabError(
            f"the firmware is on the board, and nobody answers at {cable} within {ANSWER_S:.0f} s",
            next_step=f"mpremote connect {target.port.device} shows why it ended, if it did; boards/README.md says "
            "which port is which",
        )
    if who.eui is not None and who.eui != str(node.eui):
        raise HanlabError(
            f"at {cable} there is the board {who.eui}, not {node.name} ({node.eui})",
            next_step="that is another board's port: hanlab ports says which is which; port in lab.toml has to be "
            f"{node.name}'s",
        )
    return cable, who
