"""A sweep's join: 8.11, the join itself and what commissions it; made once without a cut, and with one."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hanlab.bench.kernel import BenchError
from hanlab.dsp.smi import Status
from hanlab.duis.messages import Body, UpdateHanDeviceLog
from hanlab.errors import HanlabError, UsageError
from hanlab.eui import Eui
from hanlab.lab import Device, Lab
from hanlab.lab.boards import wan_client
from hanlab.lab.config import LabConfig
from hanlab.lab.enrolment import commissioning, notification
from hanlab.s1sp.join_time import MINUTE_S, join_window_s
from hanlab.sweep.check import gist
from hanlab.sweep.plan import Course, Phase, Plan, Stage
from hanlab.sweep.recorder import QUIET_S, Recorder, copy
from hanlab.wan.messages import DevicesRead, NetworkRead

TRIES: Final = 4
"""How often a user joins the device again before it counts as stuck."""
_SETTLED_S: Final = 90
"""So long both sides may take to agree: a CH's window, and a device's last try."""
_AGREED: Final = {("joined", "joined"), ("none", "none"), ("none", "trial")}
"""What CH and device say of it. A device that a CH has let in and forgotten is on trial there, and looks around."""


@dataclass(frozen=True)
class Join:
    """Of `device`, onto the HAN of its home's CH."""

    device: str
    end: tuple[object, ...]
    """What was there when it was done without a cut (see _holdings)."""

    name = "join"

    @property
    def octets(self) -> None:
        """No firmware is in it."""

    async def command(self, lab: Lab, phase: Phase, course: Course) -> None:
        course.done = await _join(lab, lab.device(self.device))

    async def rest(self, lab: Lab, phase: Phase, course: Course) -> list[str]:
        device = lab.device(self.device)
        await lab.meet_pending()  # an 8.11 that was acknowledged outlives its command
        found = await _disagreements(lab, device)
        error = await self._finish(lab, device, course)
        if error:
            return [*found, error]
        await asyncio.sleep(QUIET_S)
        states = await _states(lab, device)
        if states != ("joined", "joined"):
            found.append(f"joined, the CH says {states[0]} and the device {states[1]}")
        if (holds := await _holdings(lab, device)) != self.end:
            found.append(f"at the end there is {holds}, without a cut {self.end}")
        return found

    async def _finish(self, lab: Lab, device: Device, course: Course) -> str:
        """Join it as a user does, until it is commissioned; what stands in the way, if it is not."""
        error = "it does not come"
        for _ in range(TRIES):
            if course.done:
                return ""
            course.repeated += 1
            try:
                course.done = await _join(lab, device)
            except BenchError:
                raise
            except HanlabError as e:
                error = e.what
        return "" if course.done else f"it cannot be joined again: {error}"


def make_plan(
    config: LabConfig,
    device: str,
    folder: Path,
    firmware: Path | None,
    tell: Callable[[str], None] = lambda what: None,
) -> Plan:
    """Join `device` to the HAN of its home's CH in a fresh lab, where it is pre-notified and on no HAN.

    `tell` is told what is done now. Raises as `Lab.send`.

    Raises:
        UsageError: the device is a CH.
    """
    if config.node(device).is_hub:
        raise UsageError(
            f"{device} is a CH, and devices join it",
            next_step=f"--join takes one of {', '.join(d.name for d in config.devices)}",
        )
    config = _away(config, device)
    start = folder / Phase.JOIN
    tell("12.2")
    with Lab(config, start, firmware=firmware) as lab:
        lab.run(lab.send(notification(config.node(device))))
        lab.run(asyncio.sleep(QUIET_S))
    tell("8.11, the join, 8.7.2")
    recorder = Recorder()
    with Lab(config, copy(start, folder / "work"), firmware=firmware) as lab:
        recorder.start(lab)
        node = lab.device(device)
        if not lab.run(_join(lab, node)):
            raise BenchError(f"{device} does not join", next_step="hanlab join says more")
        lab.run(asyncio.sleep(QUIET_S))
        operations = {board: tuple(kinds) for board, kinds in recorder.operations.items()}
        swept = Join(device, lab.run(_holdings(lab, node)))
    stage = Stage(Phase.JOIN, start, dict.fromkeys(operations, 1), operations)
    return Plan(config, device, swept, folder, firmware, (stage,))


def _away(config: LabConfig, device: str) -> LabConfig:
    """The lab with that device on no HAN."""
    (home,) = config.homes
    devices = tuple(
        dataclasses.replace(node, joined=node.joined and node.name != device)
        for node in home.devices
    )
    return dataclasses.replace(config, homes=(dataclasses.replace(home, devices=devices),))


async def _join(lab: Lab, device: Device) -> bool:
    """8.11, the wait for the join, and what commissions the device, as far as it needs that; whether it has come.

    Raises:
        HanlabError: a Service Request came to nothing.
    """
    hub = lab.hub.eui
    await lab.installations.look()
    lab.dsp.see_joined()
    if _status(lab, device) in (Status.PENDING, Status.WHITELISTED):
        code = lab.install_code(device)
        await _send(lab, UpdateHanDeviceLog(device.eui, True, MINUTE_S, code), hub)
        if not await lab.wait_until_joined(device, join_window_s(MINUTE_S)):
            return False
    if _status(lab, device) is Status.INSTALLED_NOT_COMMISSIONED:
        node = lab.config.node(device.name)
        await _send(lab, commissioning(lab.dsp, node, hub), device.eui)
    return True


async def _send(lab: Lab, body: Body, to: Eui) -> None:
    answer = await lab.send(body, to)
    if answer.code != "I0":
        raise answer.cause or HanlabError(f"{answer.request.reference} ended in {answer.code}")


def _status(lab: Lab, device: Device) -> Status | None:
    found = lab.dsp.smi.find(device.eui)
    return found.status if found else None


async def _states(lab: Lab, device: Device) -> tuple[str, str]:
    """What the CH says of the device, and the device of its network."""
    table = await lab.home().wan.read_all(DevicesRead, "devices")
    states = [d.state for d in table.devices if d.eui == device.eui.octets]
    client = wan_client(lab.desk, device.name)
    try:
        network = (await client.read(NetworkRead)).state
    finally:
        await client.close()
    return (states or ["none"])[0], network


async def _disagreements(lab: Lab, device: Device) -> list[str]:
    """Where CH, device and inventory do not agree, once they have had the time to."""
    for _ in range(_SETTLED_S):
        states = await _states(lab, device)
        if states in _AGREED or states == ("none", "joined"):
            break
        await asyncio.sleep(1)
    await lab.installations.look()
    lab.dsp.see_joined()
    found = []
    if states not in _AGREED:
        found.append(f"half joined: the CH says {states[0]}, the device {states[1]}")
    status = _status(lab, device)
    here = states[0] == "joined"
    if here != (status in (Status.INSTALLED_NOT_COMMISSIONED, Status.COMMISSIONED)):
        found.append(f"the CH says {states[0]}, the inventory {status}")
    return found


async def _holdings(lab: Lab, device: Device) -> tuple[object, ...]:
    """What there is in the end: on the HAN, in the inventory, in the stores, and what the device says."""
    table = await lab.han_devices()
    runs = (await lab.read_firmware_version(device)).firmware
    stores = [gist(await lab.store_of(board)) for board in (lab.hub, device)]
    return sorted((d.eui, d.type, d.address) for d in table), _status(lab, device), runs, stores
