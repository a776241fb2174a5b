"""A serial port as a `Link`: a real board's UART or USB, or what `socket://` and `rfc2217://` URLs reach."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import serial
from serial.tools.list_ports import comports
from serial.tools.list_ports_common import ListPortInfo

from hanlab.errors import UsageError

BITS_PER_OCTET: Final = 10
"""8N1."""
POLL_S: Final = 0.1
"""How long (s) a read waits before it looks whether the port is to be closed."""
WRITE_S: Final = 5.0
"""After so long (s) a port that takes nothing has lost it: the largest frame at 19,200 baud takes 3 s."""
REOPEN_S: Final = 0.5
"""How often (s) a port that is gone is looked for."""
_PORTION: Final = 4096
_NETWORK: Final = ("socket://", "rfc2217://")
_LOG: Final = logging.getLogger(__name__)


class SerialPort:
    """Octets to and from `url`, for coroutines of `loop`.

    A cable that is pulled out is a wire that carries nothing: what is written meanwhile is lost, and the
    port is opened again as soon as it is back, by its USB serial number also under another name. Whoever waits
    for an answer has his own patience.
    """

    framing: Final = "cobs"

    def __init__(
        self,
        url: str,
        baud: int,
        loop: asyncio.AbstractEventLoop,
        *,
        flow_control: bool = False,
        reopen_s: float = REOPEN_S,
        feed: Callable[[bytes], None] | None = None,
    ) -> None:
        """
        Args:
            url: a device, or a URL of pyserial's.
            baud: bit/s.
            flow_control: RTS/CTS are wired.
            reopen_s: see `REOPEN_S`.
            feed: takes what has arrived, in `loop`; None: `read` gives it.

        Raises:
            UsageError: it is not there, or another program has it.
        """
        self.url = url
        self.octets_s = baud / BITS_PER_OCTET
        self._loop = loop
        self._reopen_s = reopen_s
        self._feed = feed or self._keep
        self._received = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._unsent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        _check_url(url)
        try:
            self._serial = serial.serial_for_url(
                url,
                baudrate=baud,
                timeout=POLL_S,
                write_timeout=WRITE_S,
                rtscts=flow_control,
                do_not_open=True,
            )
            with suppress(AttributeError, ValueError):  # a URL's port has no such lock
                self._serial.exclusive = True
            self._serial.open()
        except (OSError, ValueError) as e:  # serial.SerialException is an OSError
            raise _cannot_open(url, e) from None
        self._usb = _usb_of(url)
        self._threads = [
            threading.Thread(target=work, name=f"{url} {what}", daemon=True)
            for work, what in ((self._read, "reads"), (self._write, "writes"))
        ]
        for thread in self._threads:
            thread.start()

    def write(self, octets: bytes) -> None:
        """Queue octets for sending."""
        self._unsent.put(octets)

    from_host = write

    async def read(self) -> bytes:
        """The octets that have arrived since the last read (at least one)."""
        while not self._received:
            self._waiter = self._loop.create_future()
            await self._waiter
        octets = bytes(self._received)
        self._received.clear()
        return octets

    def close(self) -> None:
        self._closing.set()
        self._unsent.put(None)
        for thread in self._threads:
            thread.join()
        self._serial.close()

    def _keep(self, octets: bytes) -> None:
        self._received += octets
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _read(self) -> None:
        while not self._closing.is_set():
            try:
                octets = self._serial.read(min(self._serial.in_waiting, _PORTION) or 1)
            except OSError as e:
                self._find_again(e)
                continue
            if octets:
                with suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._feed, octets)

    def _find_again(self, why: OSError) -> None:
        """The port is gone; only the reading thread closes and opens it."""
        _LOG.warning("%s is gone: %s", self.url, why)
        while not self._closing.is_set():
            with suppress(OSError):
                self._serial.close()
            name = _device_with(self._usb) or self.url
            try:
                if self._serial.port != name:  # a URL's port takes no other
                    self._serial.port = name
                self._serial.open()
            except (OSError, ValueError):
                self._closing.wait(self._reopen_s)
                continue
            _LOG.warning("%s is back%s", self.url, "" if name == self.url else f", as {name}")
            return

    def _write(self) -> None:
        while (octets := self._unsent.get()) is not None:
            try:
                self._serial.write(octets)
            except serial.SerialTimeoutException:
                if self._closing.is_set():
                    return  # whoever closes it need not wait as long for each of the others
            except (OSError, TypeError):
                pass  # gone: the reading thread sees to it; TypeError: it does so this very moment


@dataclass(frozen=True)
class _Usb:
    """What a USB port has whatever it is called: the device's serial number, and which interface of it."""

    serial_number: str
    interface: str


def _usb(port: ListPortInfo) -> _Usb | None:
    location = str(port.location or "")
    return _Usb(port.serial_number, location.partition(":")[2]) if port.serial_number else None


def _usb_of(url: str) -> _Usb | None:
    """None: it is no USB port, or has no serial number."""
    device = os.path.realpath(url)  # /dev/serial/by-id/… is a link
    return next((_usb(port) for port in comports() if port.device == device), None)


def _device_with(usb: _Usb | None) -> str | None:
    """What the port is called now."""
    return next((port.device for port in comports() if usb and _usb(port) == usb), None)


def _check_url(url: str) -> None:
    """pyserial would say of a wrong address what its own code stumbles over."""
    if not url.startswith(_NETWORK):
        return
    try:
        parts = urlsplit(url)
        right = parts.hostname and parts.port
    except ValueError:
        right = None
    if not right:
        raise UsageError(
            f"the port {url} has no HOST:PORT, PORT from 1 to 65535",
            next_step='port = "socket://127.0.0.1:5331", or rfc2217://HOST:PORT',
        )


def _cannot_open(url: str, error: Exception) -> UsageError:
    return UsageError(
        f"the port {url} cannot be opened: {_cause(error)}", next_step=_next_step(url, error)
    )


def _cause(error: BaseException) -> str:
    """What the system said, without pyserial's words around it, which name the port again, and again."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):  # its numbers are no errno's
            return str(cause.strerror)
        number = getattr(cause, "errno", None) or (cause.args or (None,))[0]
        if isinstance(number, int):  # a termios.error has it in its arguments
            return os.strerror(number)
        cause = cause.__context__
    return str(error)


def _next_step(url: str, error: Exception) -> str:
    """By what is wrong: the port, who may use it, who has it, or how it is written."""
    found = ", ".join(port.device for port in comports())
    there = (
        f"there are {found}" if found else "no serial port is there; connect the board's adapter"
    )
    code = error.errno if isinstance(error, OSError) else None
    if "://" in url:
        return "check host and port: whoever serves them has to be up (socket://HOST:PORT)"
    if code in (errno.EAGAIN, errno.EBUSY, errno.EWOULDBLOCK):
        return f"another program has {url} (a terminal, mpremote): end it"
    if code in (errno.EACCES, errno.EPERM):
        return "sudo usermod -aG dialout $USER, then log in again"
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"the cable is out, or the port has another name: {there}"
    return f"{url} is no serial port: {there}"
