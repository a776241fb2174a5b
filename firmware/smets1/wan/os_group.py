# Group 0: what every SMP client asks first.
import asyncio
import sys
from binascii import hexlify

from micropython import const

from .smp import EINVAL, SmpError

GROUP = const(0)

# The group's own error codes
UNKNOWN = const(1)
INVALID_FORMAT = const(2)  # app info: a letter that is no field

_RESET_MS = const(50)  # the answer to a reset is out by then
_BLOCK = const(16)  # octets of a heap block, as the memory statistics count them


class OsGroup:
    """port: unique_id(), reset(); application: its name, such as "comms-hub"; version: its version;
    heap: a HeapWatch."""

    def __init__(self, port, application, version, heap):
        self._port = port
        self._application = application
        self._version = version
        self._heap = heap
        self._task = None
        self.reads = {
            0: self._echo,
            3: self._memory,
            7: self._info,
        }  # 6, the parameters, is the server's
        self.writes = {0: self._echo, 5: self._reset}
        self.v1_codes = {INVALID_FORMAT: EINVAL}

    def _echo(self, request):
        text = request.get("d")
        if not isinstance(text, str):
            raise SmpError(EINVAL)
        return {"r": text}

    def _memory(self, request):
        free = self._heap.sample()
        return {
            "heap": {
                "blksiz": _BLOCK,  # as Mynewt and Zephyr spell it
                "blksize": _BLOCK,  # and as Python's smp does
                "nblks": self._heap.total // _BLOCK,
                "nfree": free // _BLOCK,
                "min": self._heap.lowest // _BLOCK,
            }
        }

    def _reset(self, request):
        self._task = asyncio.create_task(self._reset_soon())

    async def _reset_soon(self):
        await asyncio.sleep_ms(_RESET_MS)
        self._port.reset()

    def _info(self, request):
        """Like uname: the fields whose letters `format` has, in this order whatever the letters' order."""
        wanted = request.get("format", "s")
        if not isinstance(wanted, str) or not wanted:
            raise SmpError(INVALID_FORMAT, GROUP)
        machine = getattr(sys.implementation, "_machine", sys.platform)
        fields = (
            ("s", self._application),
            ("n", hexlify(self._port.unique_id()).decode()),
            ("r", self._version),
            ("v", "{} {}.{}.{}".format(sys.implementation[0], *sys.implementation[1][:3])),
            ("m", machine),
            ("p", sys.platform),
            ("i", machine),
            ("o", "MicroPython"),
        )
        letters = [letter for letter, _ in fields]
        for letter in wanted:
            if letter != "a" and letter not in letters:
                raise SmpError(INVALID_FORMAT, GROUP)
        return {
            "output": " ".join(
                [text for letter, text in fields if "a" in wanted or letter in wanted]
            )
        }
