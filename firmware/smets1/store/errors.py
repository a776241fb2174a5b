# Why the store says no. A role turns the kind into the answer of its own protocol.
from micropython import const

TOO_LARGE = const(1)  # does not fit: known before the first octet
OVERFLOW = const(2)  # the budget was full in mid-transfer
SILENT = const(3)  # the same, on a Device Model that stops answering
MISMATCH = const(4)  # what lies in flash is not what was announced
NO_IMAGE = const(5)  # no such image, or this upload was dropped
BAD_OFFSET = const(6)  # octets outside the image, or some still missing
FLASH = const(7)  # the flash itself failed
IN_USE = const(8)  # the running image cannot be evicted

_WORDS = (
    "",
    "image too large",
    "store overflow",
    "store full, no answer",
    "image does not match",
    "no such image",
    "bad offset",
    "flash error",
    "image is running",
)


class StoreError(Exception):
    """kind: a constant above; need, free: octets asked for and there, None if they say nothing."""

    def __init__(self, kind, need=None, free=None):
        text = _WORDS[kind]
        if need is not None:
            text += ": need {} B, free {} B".format(need, free)
        super().__init__(text)
        self.kind = kind
        self.need = need
        self.free = free
