"""What is in an image file, octet by octet: explains everything it finds and never fails."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

from hanlab.errors import UsageError
from hanlab.images import header as ota
from hanlab.images.containers import (
    Container,
    begins,
    container_of,
    find_ota,
    furthest_end,
    rest_of,
)
from hanlab.images.device_types import DEVICE_TYPES, device_type_of, said_in, version_of
from hanlab.images.doubts import Doubt, doubts_about, evidence_for_gbcs, image_to_push
from hanlab.images.errors import ImageError
from hanlab.images.formats import looks_like
from hanlab.images.header import OtaHeader
from hanlab.images.header_fields import Field, header_fields, number_field, text
from hanlab.images.layout import (
    TRAILER_LENGTH,
    UPGRADE_IMAGE,
    Layout,
    Span,
    find_layout,
    looks_trailed,
    tag_meaning,
)
from hanlab.images.making import is_illustrative_trailer
from hanlab.images.metadata import METADATA_LENGTH, MetadataBlock, has_metadata
from hanlab.images.ota import OtaImage, check_size, leaves_header_out

REGION_KINDS = ("header", "metadata", "firmware", "trailer", "element", "around", "unknown")
"""What octets can be for; `around` is a vendor's container or padding around the OTA image."""


@dataclass(frozen=True)
class Region:
    """A run of octets with one purpose; `kind` is one of REGION_KINDS."""

    offset: int
    size: int
    kind: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class Inspection:
    """Everything `inspect` found. Hashes are SHA-256 in hex, "" where there is nothing to hash.

    `regions` cover the file without gap or overlap; `missing` octets would follow if it were not
    cut short. `image` is the whole OTA image in the file; where it is None, `problem` says why.
    `mended` says what is put right in `image`, None where it is as it lies in the file. `left_out`
    says why taking `image` out of the file might lose firmware, None where it does not.
    `push_problem` says why the file is not to be pushed as it is, None where it may be.
    `doubts` speak against its being firmware at all, `warnings` are what is likely to be wrong, `notes`
    what to know. It is good where there are no problems and no doubts.
    """

    file_size: int
    file_hash: str
    regions: tuple[Region, ...]
    fields: tuple[Field, ...]
    missing: int
    layout: str
    image: OtaImage | None
    image_hash: str
    manufacturer_image: Span | None
    manufacturer_image_hash: str
    version: str
    device_type: str
    problem: str | None
    mended: str | None
    left_out: str | None
    push_problem: str | None
    doubts: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it in JSON's types, without the image's octets."""
        values = asdict(replace(self, image=None))
        del values["image"]
        span, image = self.manufacturer_image, self.image
        values["manufacturer_image"] = {"offset": span.start, "size": span.size} if span else None
        values["ota_image"] = (
            {"offset": image.prefix_length, "size": image.header.total_size} if image else None
        )
        values["ch_manufacturer"] = (
            image.metadata.ch_manufacturer if image and image.metadata else None
        )
        return values


def inspect(
    data: bytes, *, name: str = "FILE", trailer: bool | None = None, keep_rest: bool = False
) -> Inspection:
    """Explain any octets. `name` is what next steps call the file.

    `trailer` says that an image in GBCS's layout has or has not a trailer, where a person knows
    better than the rule of `hanlab.images.layout`; devices keep to the rule. `keep_rest` says that
    the header's total size is too small: what follows, and may be firmware, belongs to the image.
    """
    return _Inspector(data, name, trailer, keep_rest).inspect()


class _Inspector:
    """One walk over the octets; the lists collect what it finds."""

    def __init__(self, data: bytes, name: str, trailer: bool | None, keep_rest: bool) -> None:
        self.data = data
        self.name = name
        self.trailer = trailer
        self.keep_rest = keep_rest
        self.regions: list[Region] = []
        self.fields: list[Field] = []
        self.doubts: list[Doubt] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.layout = ""
        self.mended: str | None = None
        self.left_out: str | None = None

    def inspect(self) -> Inspection:
        data = self.data
        start = find_ota(data)
        if start is None:
            seems = looks_like(data)
            self._region(0, len(data), "unknown", "no OTA image", f"like {seems}" if seems else "")
            return self._found(None, None, None)
        container = container_of(data, start)
        self._around(Span(0, start), container, "before")
        self.fields += header_fields(data, start)
        control = int.from_bytes(data[start + 8 : start + 10], "little")
        if len(data) - start < max(ota.FIXED_LENGTH, ota.length_for(control)):
            self._region(start, len(data), "unknown", "OTA header", "cut short")
            return self._found(Span(start, len(data)), None, None)
        payload = self._payload_start(start, control)
        end = max(start + int.from_bytes(data[start + 52 : start + 56], "little"), payload)
        self._region(start, payload, "header", "OTA header")
        header = self._header(start)
        layout = find_layout(data, payload, end, trailer=self.trailer)
        if header and (right := self._right_end(start, end, header, layout)) != end:
            out = (
                "the header"
                if right - end in (header.length, ota.FIXED_LENGTH)
                else f"{right - end:,} octets"
            )
            self.mended = (
                f"the header's total size, {header.total_size:,}, leaves {out} out: all "
                f"{right - start:,} octets are the image, and --extract writes them so"
            )
            end = right
            header = replace(header, total_size=end - start)
            layout = find_layout(data, payload, end, trailer=self.trailer)
        self._judge(header, data[payload:end], layout)
        self._payload(Span(payload, end), layout)
        self._after(start, end, layout)
        return self._found(Span(start, end), header, layout)

    def _judge(self, header: OtaHeader | None, payload: bytes, layout: Layout) -> None:
        """Name the layout, as far as anything shows it."""
        self.doubts = doubts_about(header, payload) if header else []
        if layout.elements:
            self.layout = "ZCL sub-elements"
        elif any(doubt.refused for doubt in self.doubts):
            self.layout = "damaged ZCL sub-elements"
        elif header and evidence_for_gbcs(header, payload):
            self.layout = "GBCS"
        else:
            self.layout = "unknown"

    def _found(
        self, image_at: Span | None, header: OtaHeader | None, layout: Layout | None
    ) -> Inspection:
        """The report; `image_at` is where the OTA image is by its header, None if there is none."""
        data = self.data
        octets = data[slice(*image_at)] if image_at else data
        if self.mended and header:
            octets = header.to_bytes() + octets[header.length :]
        image, problem = self._read(octets)
        if image and image_at:
            image = replace(
                image, prefix_length=image_at.start, suffix_length=len(data) - image_at.end
            )
        span = layout.image if layout and layout.image.size else None
        complete = span is not None and span.end <= len(data)
        kind = device_type_of(header) if header else None
        return Inspection(
            file_size=len(data),
            file_hash=_sha256(data),
            regions=tuple(self.regions),
            fields=tuple(self.fields),
            missing=max(image_at.end - len(data), 0) if image_at else 0,
            layout=self.layout,
            image=image,
            image_hash=_sha256(octets) if image else "",
            manufacturer_image=span,
            manufacturer_image_hash=_sha256(data[slice(*span)]) if span and complete else "",
            version=version_of(header) if header else "",
            device_type=kind.name if kind else "",
            problem=problem,
            mended=self.mended,
            left_out=self.left_out,
            push_problem=self._push_problem(),
            doubts=tuple(doubt.why for doubt in self.doubts),
            warnings=tuple(self.warnings),
            notes=tuple(self.notes),
        )

    def _read(self, octets: bytes) -> tuple[OtaImage | None, str | None]:
        try:
            return OtaImage.from_bytes(octets, name=self.name), None
        except UsageError as error:
            return None, str(error)

    def _push_problem(self) -> str | None:
        try:
            check_size(len(self.data))
            image_to_push(self.data, name=self.name)
        except UsageError as error:
            return str(error)
        return None

    def _region(self, start: int, end: int, kind: str, name: str, note: str = "") -> None:
        """Add the octets start to end, as far as the file has them."""
        end = min(end, len(self.data))
        if end > start:
            self.regions.append(Region(start, end - start, kind, name, note))

    def _around(self, span: Span, container: Container | None, side: str) -> None:
        octets = self.data[slice(*span)]
        if container:
            note = f"{container.name}: {container.before}"
        elif len(set(octets)) == 1:
            note = f"padding, all {octets[0]:02X}"
        elif (magic := octets.find(ota.MAGIC)) >= 0:
            note = f"has another OTA magic at {span.start + magic:,}"
        else:
            note = begins(octets)
        self._region(*span, "around", f"{side} the OTA image", note)

    def _right_end(self, start: int, end: int, header: OtaHeader, layout: Layout) -> int:
        """Where the image ends: at `end`, by its total size, unless that is known to be too small."""
        if leaves_header_out(self.data, start, header):
            return len(self.data)
        if not self.keep_rest or end >= len(self.data):
            return end
        rest = rest_of(self.data, start, end)
        return furthest_end(self.data, start, end) if rest.may_be_firmware(layout) else end

    def _after(self, start: int, end: int, layout: Layout) -> None:
        if end >= len(self.data):
            return
        rest = rest_of(self.data, start, end)
        size = len(self.data) - end
        self._region(end, len(self.data), "around", "after the OTA image", rest.note)
        if not rest.known:
            self.left_out = (
                f"{size:,} octets after the image's end ({rest.note}) are neither padding nor a known "
                "vendor's: they may be firmware that the header's total size leaves out"
            )
            return
        most = furthest_end(self.data, start, end)
        if rest.may_be_firmware(layout):
            self.warnings.append(self._either_hash(end, most, layout))
        if self.data.startswith(ota.MAGIC, most):
            self.notes.append(
                f"another OTA image follows: --extract takes the first; tail -c +{most + 1} {self.name} "
                "has the rest"
            )

    def _either_hash(self, end: int, most: int, layout: Layout) -> str:
        """That octets which are taken for padding may be firmware, and how to find out."""
        with_them = find_layout(self.data, layout.image.start, most, trailer=self.trailer)
        without, all_of_it = (_sha256(self.data[slice(*x.image)]) for x in (layout, with_them))
        return (
            f"--extract leaves {most - end:,} octets {self.data[end]:02X} after the image's end out as "
            "padding. If firmware ends so and the header's total size is too small, they belong to it: compare "
            f"11.3's hash with the one that its manufacturer gives, without them {without}, with them "
            f"{all_of_it} (then add --keep-rest)"
        )

    # -- the OTA header

    def _payload_start(self, start: int, control: int) -> int:
        """Where the header ends: where it says, unless that cannot be."""
        said = int.from_bytes(self.data[start + 6 : start + 8], "little")
        expected = ota.length_for(control)
        if said != expected:
            self.warnings.append(
                f"the header length says {said} octets; with field control 0x{control:04X} "
                f"a header has {expected}"
            )
        plausible = expected <= said and start + said <= len(self.data)
        return start + (said if plausible else expected)

    def _header(self, start: int) -> OtaHeader | None:
        try:
            header = OtaHeader.from_bytes(self.data[start:])
        except ImageError:
            return None  # `problem` says it
        said = said_in(header.string)
        if said is None:
            self.notes.append(
                "the header string names no device type and version: a device that runs this image "
                f"reports its file version, {version_of(header)}"
            )
        else:
            self._check_image_type(said[0], header.image_type)
        self._check_rarely_used(header)
        return header

    def _check_rarely_used(self, header: OtaHeader) -> None:
        """Say of fields that few files have what becomes of them here."""
        if header.destination is not None:
            eui = header.destination[::-1].hex("-").upper()
            self.notes.append(f"it is for {eui} alone: a push to another device is refused")
        if header.security_credential is not None:
            self.notes.append(
                "the security credential version is not used: no device here looks at it"
            )

    def _check_image_type(self, name: str, image_type: int) -> None:
        expected = next(kind.image_type for kind in DEVICE_TYPES if kind.name == name)
        if image_type != expected:
            self.warnings.append(
                f"the header string says {name}, whose image type is 0x{expected:04X}; the image "
                f"type here is 0x{image_type:04X}"
            )

    # -- what follows the header

    def _payload(self, span: Span, layout: Layout) -> None:
        if layout.elements:
            self._elements(layout)
            return
        self._manufacturer_image(layout.image)
        if layout.trailer:
            self._trailer(layout.image, layout.trailer)
        elif self.trailer:
            self.warnings.append(
                f"--trailer: the {span.size} octets after the header are too few to end with a "
                f"trailer of {TRAILER_LENGTH}"
            )
        if self.trailer not in (None, looks_trailed(self.data, *span)):
            self.warnings.append(
                f"you said that there is {'a' if self.trailer else 'no'} trailer; a device decides "
                "otherwise, and its hash differs from the one shown here"
            )

    def _elements(self, layout: Layout) -> None:
        for tag, head, data in layout.elements:
            name, meaning = f"sub-element 0x{tag:04X}", tag_meaning(tag)
            if data == layout.image:
                self._region(head, data.start, "element", name, f"{meaning}: tag and length")
                self._manufacturer_image(data)
            else:
                self._region(head, data.end, "element", name, meaning)
        upgrade_images = sum(element.tag == UPGRADE_IMAGE for element in layout.elements)
        self.notes.append(
            "in ZCL sub-elements the Manufacturer Image is the data of the first with tag 0x0000"
            + (f" (there are {upgrade_images})" if upgrade_images > 1 else "")
        )

    def _manufacturer_image(self, image: Span) -> None:
        start = image.start
        if has_metadata(self.data[start : min(start + METADATA_LENGTH, image.end)]):
            self._metadata(start)
            lock_end = min(start + METADATA_LENGTH, image.end)
            self._region(start, lock_end, "metadata", "metadata block", "illustrative format")
            start = lock_end
        seems = looks_like(self.data[start : min(start + 16, image.end)])
        note = f"like {seems}" if seems else ""
        self._region(start, image.end, "firmware", "firmware body", note)

    def _metadata(self, start: int) -> None:
        block = self.data[start : start + METADATA_LENGTH]
        try:
            lock = MetadataBlock.from_bytes(block)
        except ImageError as error:
            self.warnings.append(f"damaged metadata block: {error.what}")
            return
        code, name = lock.ch_manufacturer_code, lock.ch_manufacturer
        self.fields += (
            Field(start, 4, "metadata magic", "S1MD", "illustrative format"),
            number_field(start + 4, 1, "metadata format", block[4], "", hexadecimal=False),
            number_field(start + 5, 1, "metadata length", block[5], "octets", hexadecimal=False),
            number_field(start + 6, 2, "CH manufacturer code", code, "" if code else "unknown"),
            Field(
                start + 8, 24, "CH manufacturer", text(name.encode()), "their CHs take the image"
            ),
        )
        self.notes.append(
            f"locked to CHs made by {name}: the hash covers the metadata too, so the same firmware "
            "has another hash for another manufacturer's CH (the format of the block is "
            "illustrative; the real one is not public)"
        )

    def _trailer(self, image: Span, trailer: Span) -> None:
        octets = self.data[slice(*trailer)]
        if is_illustrative_trailer(octets, self.data[slice(*image)]):
            note = "made by hanlab, illustrative: signed by nobody"
        elif self.trailer:
            note = "because of --trailer"
        else:
            note = "looks like one: begins 00 40"
            self.notes.append(
                "the last 66 octets look like an authorisation trailer (00 40 and a 64-octet "
                "signature); 1 raw image in 65,536 ends like that by chance, and --no-trailer "
                "counts them as firmware"
            )
        self._region(*trailer, "trailer", "authorisation trailer", note)


def _sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()
