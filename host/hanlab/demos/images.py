"""The images of the demos' steps."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from dataclasses import dataclass
from typing import Final

from hanlab.demos.parts import ImageSpec
from hanlab.images import OtaImage, build, made_body

_SIZE_AT: Final = 52
"""Where the OTA header has the total size."""


def make_image(spec: ImageSpec) -> OtaImage:
    """The image that a demo's step uses; the same for the same spec."""
    if spec.own:
        return spec.own
    image = build(
        made_body(spec.body, seed=zlib.crc32(spec.version.encode()), boots=spec.boots),
        device_type=spec.device_type,
        version=spec.version,
        hardware=spec.hardware,
        for_ch=spec.for_ch,
    )
    if spec.claims is None:
        return image
    fields = {f.name: getattr(image, f.name) for f in dataclasses.fields(image)}
    return _LyingImage(**fields, claims=spec.claims)


@dataclass(frozen=True)
class _LyingImage(OtaImage):
    """Its header claims another total size than it has."""

    claims: int = 0

    def to_bytes(self) -> bytes:
        octets = super().to_bytes()
        return octets[:_SIZE_AT] + struct.pack("<I", self.claims) + octets[_SIZE_AT + 4 :]
