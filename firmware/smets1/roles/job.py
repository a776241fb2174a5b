# One thing that a Communications Hub does over its HAN, as progress() tells it and as flash keeps it.
import asyncio
import struct

from smets1.han.ids import SUCCESS

DISTRIBUTE = "distribute"
ACTIVATE = "activate"
_OPS = (DISTRIBUTE, ACTIVATE)
_RECORD = (
    "<IB8s32s32sQB"  # number, place in _OPS, EUI-64, hash, SHA-256 of the file, counter, jitter
)


class Job:
    """A transfer or an activation on this HAN; one at a time. sha: the file's, of a transfer; counter: of an
    activation; jitter: of the Image Notify; resumed: the start before this one has begun it."""

    def __init__(self, number, op, eui, hash, sha, counter, jitter, resumed=False):
        self.number = number
        self.op = op
        self.eui = eui
        self.hash = hash
        self.sha = sha
        self.counter = counter
        self.jitter = jitter
        self.resumed = resumed
        self.state = "running"
        self.off = 0
        self.len = 0
        self.status = SUCCESS
        self.reason = ""
        self.note = ""  # how it began: afresh, or where an earlier transfer stopped
        self.wanted = ""  # the version that 11.3 is to make run, as far as an 11.1 has told
        self.restarted = False  # the device has announced itself since it was told to activate
        self.misreads = 0
        self.moved = asyncio.Event()  # the device asked for something, or ended

    def record(self):
        """What is on flash of it."""
        return struct.pack(
            _RECORD,
            self.number,
            _OPS.index(self.op),
            self.eui,
            self.hash,
            self.sha,
            self.counter,
            self.jitter,
        )


def of_record(record):
    """The job that record() has kept."""
    number, op, eui, hash, sha, counter, jitter = struct.unpack(_RECORD, record)
    return Job(number, _OPS[op], eui, hash, sha, counter, jitter, True)
