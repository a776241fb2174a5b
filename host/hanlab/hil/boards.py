"""A test's handles of boards: what is sent to them, what they answer, what they ran into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanlab.errors import UsageError
from hanlab.files import board_log
from hanlab.hil.asserts import assert_number, assert_same, listed
from hanlab.images import ANY_HARDWARE, GFI_MANUFACTURER, OtaImage, build, made_body, read_image
from hanlab.lab.counters import BoardReport
from hanlab.lab.facade import Heap
from hanlab.lab.fitting import needs_of, next_version
from hanlab.lab.home import Device as FacadeDevice
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.wan.messages import HanDevice, StoreReadResponse

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from hanlab.hil.lab import Lab


@dataclass(frozen=True)
class Event:
    """An entry of a board's event log, since its start."""

    number: int
    seconds: float
    """Since the board's start."""
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.seconds:10.3f} s  {self.name}  {self.text}".rstrip()


@dataclass(frozen=True)
class Ended:
    """How an 11.1 or 11.3 straight to the S1SP ended."""

    outcome: Outcome
    seconds: float
    """On the lab's clock."""
    octets: int = 0
    """Of the OTA file; 0 of an 11.3."""
    why: str = ""
    """What is known of a failure, with the numbers."""

    @property
    def octets_s(self) -> float:
        """The rate of an 11.1, all of its stages together."""
        return self.octets / self.seconds if self.seconds else 0.0


class Board:
    """A board of the lab: `name`, `eui`, `model` (its Device Model) and `board` (what it is)."""

    def __init__(self, lab: Lab, device: FacadeDevice) -> None:
        self.lab = lab
        self.facade = device
        self.name = device.name
        self.eui = device.eui
        self.model = device.model
        self.board = device.board

    def __repr__(self) -> str:
        return f"<{self.model.model} {self.name}>"

    # -- Service Requests straight to the S1SP, past the DSP

    def new_image(
        self, size: int = 16_384, version: str | None = None, *, boots: bool = True
    ) -> OtaImage:
        """Made-up firmware of `size` octets that this board takes: for its type and hardware, with its CH's metadata.

        `version` is by default the next one after what it runs now. The same seed makes the same octets.
        With `boots=False` it hangs when it is started.
        """
        __tracebackhide__ = True
        config = self.lab.facade.config
        node = config.node(self.name, any_board=True)
        needs = needs_of(node, config.home_of(node))
        hardware = ANY_HARDWARE if needs.hardware is None else (needs.hardware, needs.hardware)
        return build(
            made_body(size, self.lab.seed, boots=boots),
            device_type=needs.device_type,
            version=version or next_version(self.version, ()),
            manufacturer=GFI_MANUFACTURER if needs.manufacturer is None else needs.manufacturer,
            for_ch=needs.for_ch or None,
            hardware=hardware,
        )

    def update(
        self, image: OtaImage | bytes | str | Path, *, expect: Outcome | str | None = None
    ) -> Ended:
        """11.1 Update Firmware, and wait for its end; its figures go into the JUnit report.

        `expect` says how it is to end, e.g. "too-large"; without it, well.

        Raises:
            ServiceRequestFailed: it failed, and `expect` says nothing.
            AssertionError: it has not ended as `expect` says.
        """
        __tracebackhide__ = True
        wanted = _outcome(expect)
        image = read_image(Path(image)) if isinstance(image, str | Path) else image
        image = OtaImage.from_bytes(image) if isinstance(image, bytes) else image
        octets = len(image.to_bytes())
        sent = self.lab.facade.update_firmware(image, self.facade, self.lab.wire.progressed)
        ended = self._ended(f"11.1 of {image.version} ({octets:,} B)", sent, wanted, octets)
        figures = {"octets": octets, "s": ended.seconds, "octets_s": ended.octets_s}
        if ended.outcome in (Outcome.STORED, Outcome.DISTRIBUTED):
            for unit, value in figures.items():
                self.lab.note(f"{self.name}.update_{unit}", round(value, 3))
        return ended

    def activate(self, image: OtaImage | bytes, *, expect: Outcome | str | None = None) -> Ended:
        """11.3 Activate Firmware; if that went well, wait until the board is back.

        `image` may be the Manufacturer Image hash itself (32 octets); `expect` and errors as in `update`.
        """
        __tracebackhide__ = True
        wanted = _outcome(expect)
        hash_ = image if isinstance(image, bytes) else image.manufacturer_image_hash
        sent = self.lab.facade.activate_firmware(hash_, self.facade, self.lab.wire.progressed)
        ended = self._ended(f"11.3 with hash {hash_.hex()[:8]}…", sent, wanted)
        if ended.outcome is Outcome.ACTIVATED:
            self.wait_until_back()
            self.lab.note(f"{self.name}.activate_s", round(ended.seconds, 3))
        return ended

    def _ended(
        self,
        what: str,
        sent: Coroutine[Any, Any, Outcome],
        wanted: Outcome | None,
        octets: int = 0,
    ) -> Ended:
        __tracebackhide__ = True
        began = self.lab.seconds
        why = ""
        try:
            outcome = self.lab.run(sent)
        except ServiceRequestFailed as failure:
            if wanted is None:
                raise
            outcome, why = failure.outcome, failure.what
        ended = Ended(outcome, self.lab.seconds - began, octets, why)
        because = f": {why}" if why else ""
        if wanted is not None:
            assert_same(f"the end of {what} on {self.name}", outcome, wanted, because)
        return ended

    @property
    def version(self) -> str:
        """11.2 Read Firmware Version: what the board itself answers over the HAN.

        Raises:
            ServiceRequestFailed: it does not.
        """
        __tracebackhide__ = True
        return self.lab.run(self.lab.facade.read_firmware_version(self.facade)).firmware

    def wait_until_back(self) -> str:
        """The version of a board that restarts, as soon as it answers again.

        Raises:
            ServiceRequestFailed: it does not.
        """
        __tracebackhide__ = True
        return self.lab.run(self.lab.facade.wait_until_back(self.facade)).firmware

    # -- over the board's own link

    @property
    def store(self) -> StoreReadResponse:
        """The board's image store: `capacity`, `used`, `reserved`, `free` (octets), `images`, `partial`."""
        __tracebackhide__ = True
        return self.lab.run(self.lab.facade.store_of(self.facade))

    @property
    def events(self) -> tuple[Event, ...]:
        """The board's event log since its start."""
        __tracebackhide__ = True
        read = self.lab.run(self.lab.facade.events(self.facade))
        return tuple(
            Event(int(e["n"]), int(e["t"]) / 1000, str(e["name"]), str(e["text"])) for e in read
        )

    @property
    def heap(self) -> Heap:
        """The octets of its MicroPython's heap: `total`, `free`, `lowest`."""
        __tracebackhide__ = True
        return self.lab.run(self.lab.facade.heap(self.facade))

    @property
    def counters(self) -> BoardReport:
        """What the board counted since its start: `han` and `wan` by name (frames), `uart_lost` (octets).

        Empty where it does not answer, or has no port of its own.
        """
        __tracebackhide__ = True
        boards = self.lab.run(self.lab.facade.counters()).boards
        asked = (board for board in boards if board.name == self.name)
        return next(asked, BoardReport(self.name, {}, {}, None))

    @property
    def log(self) -> str:
        """What an emulated board's firmware has printed since the lab was opened; "" of a real one."""
        file = board_log(self.lab.facade.folder, self.name)
        return file.read_text(errors="replace") if file.exists() else ""

    # -- asserts

    def assert_version(self, version: str) -> None:
        """11.2 answers that version."""
        __tracebackhide__ = True
        assert_same(f"the version that {self.name} runs", self.version, version)

    def assert_event(self, name: str, text: str = "", *, times: int | None = None) -> None:
        """The event log has `name`, with `text` in its text: at least once, or so many `times`."""
        __tracebackhide__ = True
        log = self.events
        found = [event for event in log if event.name == name and text in event.text]
        lines = listed(map(str, log), "its event log is empty")
        said = f"{name!r}" + (f" with {text!r}" if text else "")
        bounds = (None, 1) if times is None else (times, None)
        assert_number(f"events {said} of {self.name}", len(found), "times", *bounds, besides=lines)

    def assert_counter(
        self,
        counter: str,
        exactly: int | None = None,
        *,
        at_least: int | None = None,
        at_most: int | None = None,
    ) -> None:
        """A counter of the board since its start, e.g. "han.replay" (frames), "uart_lost" (octets).

        Raises:
            UsageError: it counts no such thing.
        """
        __tracebackhide__ = True
        report = self.counters
        known = {
            **{f"han.{name}": n for name, n in report.han.items()},
            **{f"wan.{name}": n for name, n in report.wan.items()},
        }
        if report.uart_lost is not None:
            known["uart_lost"] = report.uart_lost
        if counter not in known:
            raise UsageError(
                f"{self.name} has no counter {counter!r}",
                next_step=f"one of {', '.join(known) or 'none: it does not answer'}",
            )
        unit = "octets" if counter == "uart_lost" else "frames"
        assert_number(
            f"{counter} of {self.name}", known[counter], unit, exactly, at_least, at_most,
            besides=listed((f"{name} {n:,}" for name, n in known.items() if n), "all are 0"),
        )  # fmt: skip

    def assert_store(
        self,
        *,
        used: int | None = None,
        free: int | None = None,
        at_least_free: int | None = None,
        versions: Iterable[str] | None = None,
    ) -> None:
        """The image store's octets, and the versions of the images that are stored in it (not running)."""
        __tracebackhide__ = True
        store = self.store
        held = [f"{i.version} {i.type} {i.size:,} B {i.state}" for i in store.images]
        lines = listed(held, "it holds no image")
        name = f"store of {self.name}"
        assert_number(f"{name}, used", store.used, "octets", used, besides=lines)
        assert_number(f"{name}, free", store.free, "octets", free, at_least_free, besides=lines)
        if versions is not None:
            there = sorted(i.version for i in store.images if i.state == "stored")
            assert_same(f"{name}: images", ", ".join(there), ", ".join(sorted(versions)), lines)


class Device(Board):
    """A device on the HAN: a PPMID, an ESME, a GSME."""


class CommsHub(Board):
    """The Communications Hub."""

    @property
    def han_devices(self) -> list[HanDevice]:
        """The devices that it knows on its HAN."""
        __tracebackhide__ = True
        home = next(h for h in self.lab.facade.homes if h.hub is self.facade)
        return self.lab.run(self.lab.facade.han_devices(home.name))

    def evict(self, image_id: int) -> None:
        """Remove an image from its store, by the `id` that `store.images` has."""
        __tracebackhide__ = True
        home = next(h for h in self.lab.facade.homes if h.hub is self.facade)
        self.lab.run(self.lab.facade.evict(image_id, home.name))


def _outcome(text: Outcome | str | None) -> Outcome | None:
    try:
        return None if text is None else Outcome(text)
    except ValueError:
        raise UsageError(
            f"nothing ends as {text!r}", next_step=f"one of {', '.join(Outcome)}"
        ) from None
