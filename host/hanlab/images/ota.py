"""A whole OTA file, taken apart and put together octet for octet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from hanlab.images.containers import container_of, find_ota, rest_of
from hanlab.images.device_types import ANY_FILE_VERSION, device_type_of, version_of
from hanlab.images.errors import ImageError
from hanlab.images.formats import format_of
from hanlab.images.header import FIXED_LENGTH, MAGIC, OtaHeader
from hanlab.images.layout import SubElement, find_layout
from hanlab.images.metadata import METADATA_LENGTH, MetadataBlock, has_metadata

DUIS_IMAGE_LIMIT = 10_240_000
"""Octets that the FirmwareImage of 11.1 takes (DUIS schema)."""

MAKE_ONE = (
    "`hanlab image build --size 128K --type PPMID --version IHDAE06 -o OUT.ota` makes one to try"
)
"""The next step for people without an image."""


@dataclass(frozen=True)
class OtaImage:
    """An OTA file as a device takes it: it starts with the header and ends at its total size.

    The Manufacturer Image is `metadata` (if the image is locked to a CH manufacturer) and `body`.
    In GBCS's layout it follows the header, with the 66-octet `trailer` (if any) behind it; in the
    other one it is the data of the first of the `elements` with tag 0x0000.

    `prefix_length` and `suffix_length` are the octets around the image in the file that `inspect`
    found it in (a vendor's container, padding); they are not part of the image or of `to_bytes`.
    """

    header: OtaHeader
    body: bytes = field(repr=False)
    metadata: MetadataBlock | None = None
    trailer: bytes | None = field(default=None, repr=False)
    elements: tuple[SubElement, ...] = field(default=(), repr=False)
    prefix_length: int = 0
    suffix_length: int = 0

    def __post_init__(self) -> None:
        size = self.header.length + len(self._payload())
        if self.header.total_size != size:
            raise ImageError(
                f"the header says {self.header.total_size:,} octets, the image has {size:,}"
            )

    def _payload(self) -> bytes:
        if self.elements:
            return b"".join(element.to_bytes() for element in self.elements)
        return self.manufacturer_image + (self.trailer or b"")

    @property
    def manufacturer_image(self) -> bytes:
        """What 11.3's hash covers: metadata block and firmware body, not the trailer."""
        return (self.metadata.to_bytes() if self.metadata else b"") + self.body

    @property
    def manufacturer_image_hash(self) -> bytes:
        """SHA-256 of the Manufacturer Image: the FirmwareHash of 11.3, 32 octets."""
        return hashlib.sha256(self.manufacturer_image).digest()

    @property
    def file_hash(self) -> bytes:
        """SHA-256 of the whole OTA file, 32 octets."""
        return hashlib.sha256(self.to_bytes()).digest()

    @property
    def version(self) -> str:
        """The version that the device reports once it runs this image (`version_of`)."""
        return version_of(self.header)

    @property
    def device_type(self) -> str | None:
        """The device type it is for ("PPMID"), None for a type that hanlab does not know."""
        kind = device_type_of(self.header)
        return kind.name if kind else None

    @property
    def layout(self) -> str:
        """How a device reads it; `hanlab.images.doubts` says whether anything shows that it is meant."""
        return "ZCL sub-elements" if self.elements else "GBCS"

    def to_bytes(self) -> bytes:
        """The file; `total_size` octets."""
        return self.header.to_bytes() + self._payload()

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "FILE") -> OtaImage:
        """Exactly one whole image, as a device takes it, else ImageError.

        `name` is what the error's next step calls the file. The rule that tells the layouts apart
        is in `hanlab.images.layout`.
        """
        header = _checked_header(data, name)
        start, end = header.length, len(data)
        layout = find_layout(data, start, end)
        image = data[slice(*layout.image)]
        metadata = None
        if has_metadata(image):
            if len(image) <= METADATA_LENGTH:
                raise ImageError(
                    f"it has a metadata block, but no firmware behind it: the Manufacturer Image "
                    f"has {len(image)} octets, the block alone {METADATA_LENGTH}",
                    next_step="build it again from the firmware",
                )
            metadata = MetadataBlock.from_bytes(image)
            image = image[METADATA_LENGTH:]
        return cls(
            header=header,
            body=image,
            metadata=metadata,
            trailer=data[slice(*layout.trailer)] if layout.trailer else None,
            elements=tuple(
                SubElement(element.tag, data[slice(*element.data)]) for element in layout.elements
            ),
        )


def check_size(size: int, what: str = "it") -> None:
    """ImageError if a file of `size` octets, called `what`, is more than DUIS takes."""
    if size > DUIS_IMAGE_LIMIT:
        raise ImageError(
            f"{what} has {size:,} octets; DUIS takes {DUIS_IMAGE_LIMIT:,} at most "
            f"({size - DUIS_IMAGE_LIMIT:,} too many)",
            next_step="use a smaller image; the CH's store is far smaller still",
        )


def _checked_header(data: bytes, name: str) -> OtaHeader:
    """The header of a file that is exactly one OTA image, else ImageError with the next step."""
    if not data:
        raise ImageError(
            "it is empty (0 octets)",
            next_step=MAKE_ONE,
        )
    if not data.startswith(MAGIC):
        raise _not_at_start(data, name)
    if len(data) < FIXED_LENGTH:
        raise ImageError(
            f"it is cut short inside the OTA header: {len(data)} octets, a header has at least "
            f"{FIXED_LENGTH}",
            next_step="copy or download it again",
        )
    try:
        header = OtaHeader.from_bytes(data)
    except ImageError as error:
        raise ImageError(
            f"its OTA header is damaged: {error.what}",
            next_step=f"`hanlab image inspect {name}` shows each field",
        ) from None
    check_file_version(header.file_version)
    total, size = header.total_size, len(data)
    if leaves_header_out(data, 0, header):
        raise ImageError(
            f"its header's total size, {total:,}, leaves the header out: the file has {size:,} octets, "
            f"{size - total} more, as many as the header",
            next_step=f"`hanlab image inspect {name} --extract OUT.ota` writes all of it with the "
            "total size put right",
        )
    if total <= header.length:
        raise ImageError(
            f"its header gives the whole image {total:,} octets, and the header alone has "
            f"{header.length}: no Manufacturer Image follows",
            next_step="build it again from the firmware",
        )
    if total > size:
        twice = ", as if it counted the header twice" if total - size == header.length else ""
        raise ImageError(
            f"it is cut short: its header says {total:,} octets, the file has {size:,}; "
            f"{total - size:,} are missing{twice}",
            next_step="copy or download it again",
        )
    if total < size:
        if _is_text_mode(data, total):
            raise ImageError(
                f"each line feed in it has become CR LF: its header says {total:,} octets, the file has "
                f"{size:,}",
                next_step="copy or download it again, as binary (a transfer in text mode does that)",
            )
        rest = rest_of(data, 0, total)
        raise ImageError(
            f"it has {size - total:,} octets after the image's end ({rest.note}): its header says "
            f"{total:,} octets, the file has {size:,}",
            next_step=_take_out(data, total, name)
            if rest.known
            else f"ask who made it whether they belong to the firmware; `hanlab image inspect {name}` "
            "shows where they are",
        )
    return header


def _is_text_mode(data: bytes, total: int) -> bool:
    """Whether a transfer in text mode has put a CR before each LF of an image of `total` octets."""
    more = len(data) - total
    return more >= 4 and data.count(b"\n") == data.count(b"\r\n") == more


def _take_out(data: bytes, end: int, name: str) -> str:
    extract = f"`hanlab image inspect {name} --extract OUT.ota` takes the"
    if data.startswith(MAGIC, end):
        return f"{extract} first image out; `tail -c +{end + 1} {name}` has the other"
    return f"{extract} image out"


def check_file_version(number: int) -> None:
    """ImageError for the file version that means "any": no image may have it."""
    if number == ANY_FILE_VERSION:
        raise ImageError(
            f"file version 0x{ANY_FILE_VERSION:X} means 'any version' in the OTA Upgrade cluster, so no "
            "image may have it",
            next_step="build it with another --file-version, for example 0x00000001",
        )


def leaves_header_out(data: bytes, start: int, header: OtaHeader) -> bool:
    """Whether the total size of the header at data[start:] counts what follows it alone."""
    end = start + header.total_size
    more = len(data) - end
    return more in (header.length, FIXED_LENGTH) and not rest_of(data, start, end).known


def _not_at_start(data: bytes, name: str) -> ImageError:
    start = find_ota(data)
    if start is not None:
        container = container_of(data, start)
        inside = f" ({container.name})" if container else ""
        return ImageError(
            f"the OTA image in it begins at octet {start:,}{inside}; a device takes a file that "
            "begins with it",
            next_step=f"`hanlab image inspect {name} --extract OUT.ota` takes the image out",
        )
    seems = format_of(data)
    wrap = f"`hanlab image build {name} --lab --version IHDAE06 -o OUT.ota`"
    next_step = f"{wrap} wraps it as firmware for this lab's PPMID"
    if seems and seems.convertible:
        next_step = f"{wrap} converts and wraps it"
    elif seems and seems.next_step:
        next_step = seems.way_out(name)
    nowhere = f"the OTA magic {MAGIC.hex(' ').upper()} is nowhere in its {len(data):,} octets"
    if seems:
        nowhere = f"it looks like {seems.name}" + (f"; {nowhere}" if seems.firmware else "")
    return ImageError(f"it is no OTA image: {nowhere}", next_step=next_step)
