"""Building images: firmware (or made-up octets) wrapped as an OTA file, in GBCS's layout or Zigbee's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from hanlab.boards.data import ch_makers
from hanlab.errors import UsageError
from hanlab.images.device_types import (
    GFI_MANUFACTURER,
    check_version,
    device_type_named,
    file_version_for,
)
from hanlab.images.doubts import doubts_about
from hanlab.images.errors import ImageError
from hanlab.images.header import (
    ANY_HARDWARE,
    HAS_HARDWARE,
    STRING_LENGTH,
    HardwareRange,
    OtaHeader,
    length_for,
)
from hanlab.images.layout import (
    TRAILER_LEAD,
    TRAILER_LENGTH,
    UPGRADE_IMAGE,
    SubElement,
    find_layout,
    looks_trailed,
)
from hanlab.images.metadata import MetadataBlock, has_metadata
from hanlab.images.ota import OtaImage, check_file_version, check_size
from hanlab.texts import like

LAYOUTS = ("gbcs", "zigbee")
"""What may follow the header: the Manufacturer Image itself, or a ZCL sub-element that holds it."""

NO_BOOT = b"hanlab: does not boot\x00"
"""How made-up firmware begins that never confirms: an activation that fails (illustrative)."""


class MadeBody(bytes):
    """Made-up firmware. `build` puts into it what it is for, as real firmware has its version in it.

    So two versions never share a Manufacturer Image hash, and 11.3 starts the one that is meant.
    """

    seed: int
    boots: bool

    def for_identity(self, identity: str) -> MadeBody:
        """The same firmware for a device type, version and hardware: as many octets."""
        return made_body(len(self), self.seed, boots=self.boots, identity=identity)


def made_body(size: int, seed: int = 0, *, boots: bool = True, identity: str = "") -> MadeBody:
    """`size` octets of made-up firmware that look random: the same for the same arguments, always.

    They never end like a body with a trailer, which `build` would refuse. A board of this lab that
    activates firmware with `boots=False` hangs in it, and goes back to the firmware before.
    `identity` is `build`'s: what the firmware says of itself.
    """
    name = f"hanlab made-up firmware {seed}" + (f" for {identity}" if identity else "")
    body = hashlib.shake_128(name.encode()).digest(size)
    if not boots:
        if size < len(NO_BOOT):
            raise UsageError(f"{size} octets are too few to say that they do not boot")
        body = NO_BOOT + body[len(NO_BOOT) :]
    if looks_trailed(body, 0, size):
        cut = size - TRAILER_LENGTH
        body = body[:cut] + b"\xff" + body[cut + 1 :]
    made = MadeBody(body)
    made.seed, made.boots = seed, boots
    return made


def build(
    body: bytes,
    *,
    device_type: str,
    version: str,
    hardware: tuple[int, int] = ANY_HARDWARE,
    manufacturer: int = GFI_MANUFACTURER,
    for_ch: str | MetadataBlock | None = None,
    file_version: int | None = None,
    trailer: bool = False,
    layout: str = "gbcs",
) -> OtaImage:
    """An OTA image around the firmware `body`, in one of `LAYOUTS`.

    `device_type` is a name of `DEVICE_TYPES`, `version` the 1 to 8 characters that the device will
    report, `hardware` the lowest and highest hardware version that may run it. `for_ch` locks it to
    the hubs of one CH manufacturer (rules 28 to 31): a known one's by name (`lock_for`), of any other
    by a MetadataBlock. `file_version` is the header's u32 (default:
    `file_version_for(version)`). `trailer` adds a 66-octet trailer, which is illustrative: its
    "signature" is the SHA-512 of the Manufacturer Image, signed by nobody. Firmware of `made_body` gets
    all of these that make it another firmware into its octets, so that its hash is its own.

    Raises UsageError for a value that does not fit, ImageError for a body that makes no image:
    empty, too long for DUIS, or read as something else by the rule of `hanlab.images.layout`.
    """
    kind = device_type_named(device_type)
    check_version(version)
    if hardware[0] > hardware[1]:
        raise UsageError(
            f"hardware versions 0x{hardware[0]:04X} to 0x{hardware[1]:04X} are the wrong way round",
            next_step=f"give 0x{hardware[1]:04X}:0x{hardware[0]:04X}",
        )
    number = file_version_for(version) if file_version is None else file_version
    check_file_version(number)
    if layout not in LAYOUTS:
        raise UsageError(f"there is no layout {layout!r}", next_step=f"one of {', '.join(LAYOUTS)}")
    if trailer and layout != "gbcs":
        raise UsageError(
            "an authorisation trailer belongs to GBCS's layout", next_step="leave one of them out"
        )
    if not body:
        raise ImageError(
            "the firmware body is empty (0 octets)", next_step="give a file with at least 1 octet"
        )
    if isinstance(body, MadeBody):
        body = body.for_identity(
            f"{kind.name} {version}, file version {number}, manufacturer {manufacturer}, "
            f"hardware {hardware[0]} to {hardware[1]}"
        )
    lock = lock_for(for_ch) if isinstance(for_ch, str) else for_ch
    block = lock.to_bytes() if lock else b""
    tail = _illustrative_trailer(block + body) if trailer else b""
    _refuse_locked(body)
    elements = (SubElement(UPGRADE_IMAGE, block + body),) if layout == "zigbee" else ()
    payload = b"".join(e.to_bytes() for e in elements) or block + body + tail
    total = length_for(HAS_HARDWARE) + len(payload)
    check_size(total, "the image")
    if not elements:
        _refuse_misread(block, body, tail)
    header = OtaHeader(
        manufacturer=manufacturer,
        image_type=kind.image_type,
        file_version=number,
        string=f"{kind.name} {version}".encode("ascii").ljust(STRING_LENGTH, b"\x00"),
        total_size=total,
        hardware=HardwareRange(*hardware),
    )
    _refuse_doubtful(header, payload)
    return OtaImage(
        header=header, body=bytes(body), metadata=lock, trailer=tail or None, elements=elements
    )


def lock_for(maker: str, others: Iterable[str] = (), *, code: int = 0) -> MetadataBlock:
    """The metadata block for the CHs of `maker`: one with a CH among the Device Models, or of `others`.

    Raises UsageError for a name that is none of them. `code` is the manufacturer's Zigbee code.
    """
    known = sorted({*ch_makers(), *others})
    if maker not in known:
        raise UsageError(
            f"no CH is made by {maker!r}{like(maker, known)}",
            next_step=f"CHs are made by {', '.join(known)}; hanlab image build --lab asks the lab for its CH's",
        )
    return MetadataBlock(maker, code)


def _illustrative_trailer(image: bytes) -> bytes:
    return TRAILER_LEAD + hashlib.sha512(image).digest()


def is_illustrative_trailer(trailer: bytes, image: bytes) -> bool:
    """Whether `trailer` is one that `build` made for the Manufacturer Image `image`."""
    return trailer == _illustrative_trailer(image)


def _refuse_locked(body: bytes) -> None:
    if has_metadata(body):
        raise ImageError(
            "the firmware body begins with a metadata block already, so it is locked to a CH "
            "manufacturer",
            next_step="give the plain firmware, and the manufacturer with --for-ch",
        )


def _refuse_doubtful(header: OtaHeader, payload: bytes) -> None:
    """ImageError if `push` would refuse what is built."""
    for doubt in doubts_about(header, payload):
        if doubt.refused:
            raise ImageError(doubt.why, next_step="add an octet at the firmware's end")


def _refuse_misread(block: bytes, body: bytes, tail: bytes) -> None:
    """ImageError if everybody else would cut the Manufacturer Image out at other places."""
    payload = block + body + tail
    size = len(payload)
    read = find_layout(payload, 0, size)
    if read.elements:
        raise ImageError(
            f"the firmware body reads as {len(read.elements)} ZCL sub-elements with an upgrade "
            f"image of {read.image.size:,} octets, so devices would hash those, not all of its "
            f"{len(body):,}",
            next_step="give the data of the upgrade image alone, or add an octet at the end",
        )
    if read.image.end != len(block) + len(body):
        raise ImageError(
            "the firmware body has 00 40 at 66 octets before its end, so its last 66 octets read "
            f"as an authorisation trailer and devices would hash {read.image.end:,} octets, not "
            f"{size:,} (chance: 1 in 65,536)",
            next_step="add --trailer, so that one follows it, or add an octet at its end",
        )
