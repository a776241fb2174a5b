"""What is at a port that does not answer, by what it says: nobody need wait a minute for a REPL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hanlab.wan.errors import WanError

POKE: Final = b"\0\r\0"
"""Makes who waits for a line's end say who he is, as a REPL in paste mode does; to a board of hanlab's it is noise."""
_KEPT: Final = 1024
"""The last octets that came."""
_TEXT: Final = 24
"""So many characters in a row are words of something, and no damaged frame."""
_WORDS_S: Final = 5.0
"""Chips say this and that while they start; after so long (s) it is what they have to say."""


class NotABoard(WanError):
    """Something is at that port, but no firmware of hanlab's."""


@dataclass(frozen=True)
class _Sign:
    """What gives something away, what it is, and what helps."""

    said: tuple[bytes, ...]
    what: str
    next_step: str


_SIGNS: Final = (
    _Sign(
        (b">>> ", b"raw REPL; CTRL-B", b"paste mode; Ctrl-C", b"\r\n=== "),
        "a MicroPython REPL is at that port, not hanlab's firmware",
        next_step="the board's other port (boards/README.md, which port is which); or the firmware has ended: reset "
        "the board, and Ctrl-C in mpremote shows why",
    ),
    _Sign(
        (b"waiting for download", b"DOWNLOAD_BOOT"),
        "the chip's boot loader is at that port: it waits for a download",
        next_step="press the board's reset button (EN), with BOOT released",
    ),
    _Sign(
        (b"login: ", b"Password: "),
        "a computer's login is at that port",
        next_step="port = that of the board: hanlab boards and boards/README.md say which it may be",
    ),
)


class Heard:
    """Keeps the last that came before the first answer."""

    def __init__(self) -> None:
        self._octets = b""

    def take(self, octets: bytes) -> None:
        self._octets = (self._octets + octets)[-_KEPT:]

    @property
    def anything(self) -> bool:
        return bool(self._octets)

    def verdict(self, seconds: float) -> NotABoard | None:
        """What it is, as far as `seconds` (s) without an answer tell; None: nothing speaks against a board."""
        for sign in _SIGNS:
            if any(text in self._octets for text in sign.said):
                return NotABoard(sign.what, next_step=sign.next_step)
        words = _words(self._octets)
        if seconds >= _WORDS_S and len(words) >= _TEXT:
            return NotABoard(
                f"something else is at that port; it says {words[-2 * _TEXT :]!r}",
                next_step="check which port is which board (boards/README.md), and its baud",
            )
        return None


def _words(octets: bytes) -> str:
    """The longest run of printable characters."""
    text = "".join(chr(o) if 32 <= o < 127 or o in b"\t\r\n" else "\0" for o in octets)
    return max((run.strip() for run in text.split("\0")), key=len)
