"""What vendors' real files have around the OTA image.

For `inspect` only: a device takes nothing but an OTA image that starts at octet 0. Layouts as in
files of the public Zigbee OTA collections.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from hanlab.images.formats import format_of, looks_like
from hanlab.images.header import HEADER_VERSION, MAGIC
from hanlab.images.layout import Layout

_PADDING_LEAST = 2
"""Octets that are believed to be padding."""
_SEARCH_LIMIT = 1000  # magics looked at: a file full of them must not take minutes


@dataclass(frozen=True)
class Container:
    """A vendor's wrapping: what lies before and after the OTA image in it."""

    name: str
    before: str
    after: str
    size_at: int | None = None
    """Where it says how many octets the image in it has (u32)."""


def _is_ikea(data: bytes, start: int) -> bool:
    return data.startswith(b"NGIS") and len(data) >= 24 and _u32(data, 16) == start


def _is_legrand(data: bytes, start: int) -> bool:
    return start == 4 and _u32(data, 0) + 21 == len(data)


def _is_third_reality(data: bytes, start: int) -> bool:
    return (
        start == 152
        and _u32(data, 68) + 64 == len(data)
        and data.startswith(hashlib.sha512(data[64:]).digest())
    )


_CONTAINERS: tuple[tuple[Callable[[bytes, int], bool], Container], ...] = (
    (_is_ikea, Container("IKEA signed container", "'NGIS' container header", "its signature", 20)),
    (_is_legrand, Container("Legrand container", "size of the image, u32", "17-octet suffix", 0)),
    (_is_third_reality, Container("Third Reality container", "SHA-512 header", "octets after it")),
)


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def find_ota(data: bytes) -> int | None:
    """Where the OTA image begins: the first magic with a header version behind it.

    The first magic if none has one; None if there is no magic, and in a file of a kind that no board
    runs: what an archive has of an image, in its own blocks, is not the image.
    """
    found = format_of(data)
    if found and not found.firmware:
        return None
    first = at = data.find(MAGIC)
    version = HEADER_VERSION.to_bytes(2, "little")
    for _ in range(_SEARCH_LIMIT):
        if at < 0:
            break
        if data.startswith(version, at + len(MAGIC)):
            return at
        at = data.find(MAGIC, at + 1)
    return first if first >= 0 else None


@dataclass(frozen=True)
class Rest:
    """The octets behind an OTA image; `known`: they are no part of its firmware.

    `alike`: only that they are all alike speaks for it, and firmware may end so, too.
    """

    note: str
    known: bool = True
    alike: bool = False

    def may_be_firmware(self, layout: Layout) -> bool:
        """Whether the end of the image before them, which `layout` is of, may be a wrong one."""
        ends_there = bool(layout.elements or layout.trailer)
        return not self.known or (self.alike and not ends_there)


def rest_of(data: bytes, start: int, end: int) -> Rest:
    """What data[end:] is, behind the OTA image at data[start:end]."""
    octets = data[end:]
    if container := container_of(data, start):
        at = container.size_at
        if at is not None and (said := _u32(data, at)) != end - start:
            return Rest(
                f"{container.name}, which has {said:,} octets for the image; its header says "
                f"{end - start:,}",
                known=False,
            )
        return Rest(f"{container.name}: {container.after}")
    if padding := _padding(octets):
        return padding
    if octets.startswith(MAGIC):
        return Rest(f"has another OTA magic at {end:,}")
    magic = octets.find(MAGIC)
    if magic >= 0 and (padding := _padding(octets[:magic])):
        return replace(padding, note=f"{padding.note}, and another OTA magic at {end + magic:,}")
    if magic >= 0:
        return Rest(f"has another OTA magic at {end + magic:,}", known=False)
    return Rest(begins(octets), known=False)


def furthest_end(data: bytes, start: int, end: int) -> int:
    """Where the OTA image at data[start:] ends at most if its total size, by which it ends at `end`, is wrong."""
    container = container_of(data, start)
    if container and container.size_at is not None:
        return max(end, min(start + _u32(data, container.size_at), len(data)))
    magic = data.find(MAGIC, end)
    alike = magic == end or (magic > end and _padding(data[end:magic]))
    return magic if alike else len(data)


def _padding(octets: bytes) -> Rest | None:
    """Octets that are all alike; None if they are not.

    One alone, or others than flash and tools fill up with, may be the end of firmware whose total size
    is wrong.
    """
    if len(set(octets)) != 1:
        return None
    known = len(octets) >= _PADDING_LEAST and octets[0] in (0x00, 0xFF)
    note = f"{'padding, ' if known else ''}all {octets[:1].hex().upper()}"
    return Rest(note, known, alike=known)


def begins(octets: bytes) -> str:
    """What octets that nobody asked for begin with, in words."""
    seems = looks_like(octets)
    return f"like {seems}" if seems else f"begins {octets[:8].hex(' ').upper()}"


def container_of(data: bytes, start: int) -> Container | None:
    """The known container that `data` is, with the OTA image at `start`."""
    for matches, container in _CONTAINERS:
        if matches(data, start):
            return container
    return None
