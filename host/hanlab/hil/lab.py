"""A lab in a test: `hanlab.lab.Lab` for plain code, with handles of its homes, boards, DSP and wires.

Nothing here is a coroutine: what a handle is asked for has happened when it returns, on the lab's own clock.
"""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from hanlab.errors import HanlabError, UsageError
from hanlab.hil.boards import Board, CommsHub, Device
from hanlab.hil.dsp import Dsp
from hanlab.hil.wire import Wire
from hanlab.lab.facade import Lab as Facade
from hanlab.lab.home import Home as FacadeHome
from hanlab.lab.own_clock import refuse_unrun

T = TypeVar("T")
_SYNCHRONOUS: Final = {
    "update_firmware": "ppmid.update(image)",
    "activate_firmware": "ppmid.activate(image)",
    "read_firmware_version": "ppmid.version",
    "wait_until_back": "ppmid.wait_until_back()",
    "send": "dsp.send(body, ppmid)",
    "store": "comms_hub.store",
    "store_of": "ppmid.store",
    "events": "ppmid.events",
    "counters": "wire.counters",
    "power_cycle": "wire.cut_power(ppmid)",
}
"""What a test writes in place of a façade's method."""


class Lab:
    """The lab of a test; `facade` is the `hanlab.lab.Lab` behind it, whose coroutines `run` runs."""

    def __init__(self, facade: Facade, folder: Path | None = None) -> None:
        self.facade = facade
        self.folder = folder or facade.folder
        """Of the test that has made it, for what it leaves behind."""
        self.wire = Wire(self)
        self.dsp = Dsp(self)
        self.homes = tuple(Home(self, home) for home in facade.homes)
        self.shelf = tuple(Device(self, device) for device in facade.shelf)
        """Devices in no home."""
        self.figures: dict[str, int | float | str] = {}
        """What the test has measured, with the unit in each name; pytest puts it into the JUnit report."""
        self._began_us = 0
        self.begin()

    def begin(self) -> None:
        """A test begins: figures and alerts are counted from here."""
        self.figures = {}
        self._began_us = self.facade.clock_us
        self.facade.unrun.clear()
        self.wire.begin()
        self.dsp.begin()

    def end(self) -> str:
        """The test's own code has ended; what it has called and never run, in words, "" if there is nothing."""
        self.figures["bench_s"] = round(self.seconds, 6)
        try:
            refuse_unrun(self.facade)
        except UsageError as forgotten:
            return str(forgotten)
        return ""

    @property
    def name(self) -> str:
        return self.facade.config.name

    @property
    def seed(self) -> int:
        return self.facade.config.seed

    @property
    def emulated(self) -> bool:
        """Its boards are emulated ones."""
        return not self.facade.config.is_real

    @property
    def is_open(self) -> bool:
        return self.facade.is_open

    @property
    def seconds(self) -> float:
        """The lab's time since the test began (s): the bench's if it is emulated, else the wall clock's."""
        return (self.facade.clock_us - self._began_us) / 1e6

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run one of the façade's coroutines to its end: `lab.run(lab.facade.heap(…))`.

        Raises:
            HanlabError: as the coroutine does; the traceback begins here, and not in the bench.
        """
        __tracebackhide__ = True
        try:
            return self.facade.run(coroutine)
        except HanlabError as error:
            raise error.with_traceback(None) from None

    def wait(self, seconds: float) -> None:
        """Let the lab's time pass (s): none of the wall clock's, where it is emulated."""
        __tracebackhide__ = True
        from asyncio import sleep

        self.run(sleep(seconds))

    def note(self, figure: str, value: float | str) -> None:
        """Put a figure into the JUnit report; its name ends in its unit (`_s`, `_octets`), a second one's in #2."""
        number = 1
        while (name := figure if number == 1 else f"{figure}#{number}") in self.figures:
            number += 1
        self.figures[name] = value

    @property
    def boards(self) -> tuple[Board, ...]:
        """Every board, home by home, in each the CH first; those on the shelf last."""
        return (*(b for home in self.homes for b in (home.comms_hub, *home.devices)), *self.shelf)

    def home(self, name: str | None = None) -> Home:
        """The home with that name; without a name the only one.

        Raises:
            UsageError: there is none, or there are several and no name.
        """
        return self.homes[self.facade.homes.index(self.facade.home(name))]

    def device(self, name: str) -> Device:
        """The device with that name, EUI-64 or type.

        Raises:
            UsageError: there is none, or there are several.
        """
        node = self.facade.config.node(name)
        found = next(board for board in self.boards if board.name == node.name)
        if isinstance(found, Device):
            return found
        raise UsageError(
            f"{found.name} is a CH", next_step="a test has it as the fixture comms_hub"
        )

    def __getattr__(self, name: str) -> Any:
        instead = _SYNCHRONOUS.get(name)
        hint = f": a test writes {instead}" if instead else "; lab.facade is the hanlab.lab.Lab"
        raise AttributeError(f"a test's lab has no {name}{hint}")


class Home:
    """One CH with its HAN."""

    def __init__(self, lab: Lab, home: FacadeHome) -> None:
        self.lab = lab
        self.name = home.name
        self.comms_hub = CommsHub(lab, home.hub)
        self.devices = tuple(Device(lab, device) for device in home.devices)
        """What stands here, as lab.toml has it."""

    @property
    def ppmids(self) -> tuple[Device, ...]:
        return tuple(d for d in self.devices if d.model.device_type == "PPMID")

    def __repr__(self) -> str:
        return f"<home {self.name}>"
