"""A board at a serial port that has a REPL and nothing else: MicroPython's unix VM behind a PTY, with its own littlefs.

It says that it is a Raspberry Pi Pico. mpremote works on it; what it copies is not run.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

VM: Final = Path(sys.executable).parent / "micropython"
"""pip's: the REPL of the 32-bit VM has no raw mode."""
PICO: Final = ("rp2", (1, 28, 0), "Raspberry Pi Pico with RP2040", "RPI_PICO", 4870)
"""As MicroPython 1.28.0 says it on one: sys.platform, its version, _machine, _build, _mpy."""

BOOT: Final = """
import os, sys
from collections import namedtuple

FACTS = {facts!r}
class Flash:
    def __init__(self):
        try:
            self.f = open({file!r}, "r+b")
        except OSError:
            open({file!r}, "wb").close()
            self.f = open({file!r}, "r+b")
            for i in range({blocks}):
                self.f.write(b"\\xff" * 4096)
    def readblocks(self, n, buf, at=0):
        self.f.seek(n * 4096 + at)
        self.f.readinto(buf)
    def writeblocks(self, n, buf, at=0):
        self.f.seek(n * 4096 + at)
        self.f.write(buf)
        self.f.flush()
    def ioctl(self, op, arg):
        if op == 4:
            return {blocks}
        if op == 5:
            return 4096
        if op == 6:
            return 0
flash = Flash()
try:
    fs = os.VfsLfs2(flash)
except OSError:
    os.VfsLfs2.mkfs(flash)
    fs = os.VfsLfs2(flash)
os.umount("/")
os.mount(fs, "/")
os.chdir("/")
class Sys: pass
s = Sys()
for name in dir(sys):
    setattr(s, name, getattr(sys, name))
s.platform = FACTS[0]
s.implementation = namedtuple("i", ("name", "version", "_machine", "_build", "_mpy"))("micropython", *FACTS[1:])
sys.path[:] = ["", ".frozen", "/lib"]
class Machine:
    def unique_id(self): return b"\\xe6\\x61\\x41\\x04\\x03\\x12\\x34\\x56"
    def reset(self): sys.exit(3)
sys.modules["machine"] = Machine()
if {usb!r}:
    sys.modules["usb.device.cdc"] = None
sys.modules["sys"] = s
"""


class SparePort:
    """A port behind which nothing is."""

    def __init__(self) -> None:
        self.host, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.device = os.ttyname(self._slave)

    def close(self) -> None:
        for fd in (self._slave, self.host):
            with suppress(OSError):
                os.close(fd)


class ReplBoard:
    """Switched on; `device` is its port. Its flash is in `folder`, and stays when it is switched off."""

    def __init__(self, folder: Path, *, facts: object = PICO, blocks: int = 352) -> None:
        self._folder = folder
        self._boot = folder / "boot.py"
        text = BOOT.format(facts=facts, file=str(folder / "flash"), blocks=blocks, usb=False)
        self._boot.write_text(text)
        self.resets = 0
        self._restarted = threading.Condition()
        self.received = 0
        """Octets that have come from the computer."""
        self.pull_at: int | None = None
        """The cable is pulled when so many have come."""
        self.on_pull: Callable[[], object] = lambda: None
        self.is_on = False
        self.device = ""
        self.plug_in()

    def plug_in(self) -> None:
        """Give it a port, another one each time, and power."""
        self.is_on = True
        before, port = self.device, SparePort()
        while port.device == before:
            taken, port = port, SparePort()
            taken.close()
        self._port, self.device = port, port.device
        self._host = port.host
        self._start()
        threading.Thread(target=self._to_board, args=(self._host,), daemon=True).start()

    def _start(self) -> None:
        inner, slave = pty.openpty()
        tty.setraw(slave)
        self._inner = inner
        self._process = subprocess.Popen(
            [VM, "-X", "heapsize=400k", "-i", self._boot],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=self._folder,
            start_new_session=True,
        )
        os.close(slave)
        threading.Thread(target=self._from_board, args=(inner, self._process), daemon=True).start()

    def _to_board(self, host: int) -> None:
        with suppress(OSError):
            while octets := os.read(host, 4096):
                self.received += len(octets)
                if self.pull_at is not None and self.received >= self.pull_at:
                    self.pull_at = None
                    self.pull()
                    self.on_pull()
                    return
                os.write(self._inner, octets)

    def _from_board(self, inner: int, process: subprocess.Popen[bytes]) -> None:
        with suppress(OSError):
            while octets := os.read(inner, 4096):
                os.write(self._host, octets)
        os.close(inner)
        process.wait()
        if self.is_on:  # machine.reset()
            self._start()
            with self._restarted:
                self.resets += 1
                self._restarted.notify_all()

    def wait_for_reset(self, number: int) -> None:
        """Until it has restarted so often: mpremote does not wait for that."""
        with self._restarted:
            assert self._restarted.wait_for(lambda: self.resets >= number, timeout=10)

    def pull(self) -> None:
        """Take its cable out: the port is gone, and so is its power."""
        self.is_on = False
        self._process.kill()
        self._port.close()

    def close(self) -> None:
        if self.is_on:
            self.pull()
