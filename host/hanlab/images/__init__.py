"""Firmware images: build, inspect, hash.

An image file is a Zigbee OTA file: the OTA header, then either GBCS's layout (the Manufacturer
Image, perhaps an authorisation trailer) or ZCL sub-elements. Both are read and written.

    >>> image = build(made_body(1024), device_type="PPMID", version="IHDAE06")
    >>> image.header.total_size, image.version
    (1084, 'IHDAE06')
    >>> OtaImage.from_bytes(image.to_bytes()) == image
    True

`hanlab.images.layout` has the rule that host and firmware share: which octets 11.3's hash covers.
"""

from hanlab.images.device_types import (
    DEVICE_TYPES,
    GFI_MANUFACTURER,
    DeviceType,
    device_type_named,
    file_version_for,
    version_of,
)
from hanlab.images.doubts import image_to_push, warnings_about, warnings_about_octets
from hanlab.images.errors import ImageError
from hanlab.images.files import read_image
from hanlab.images.header import ANY_HARDWARE, HardwareRange, OtaHeader
from hanlab.images.inspection import Inspection, inspect
from hanlab.images.layout import SubElement, find_layout
from hanlab.images.making import build, made_body
from hanlab.images.metadata import MetadataBlock
from hanlab.images.ota import DUIS_IMAGE_LIMIT, OtaImage

__all__ = [
    "ANY_HARDWARE",
    "DEVICE_TYPES",
    "DUIS_IMAGE_LIMIT",
    "GFI_MANUFACTURER",
    "DeviceType",
    "HardwareRange",
    "ImageError",
    "Inspection",
    "MetadataBlock",
    "OtaHeader",
    "OtaImage",
    "SubElement",
    "build",
    "device_type_named",
    "file_version_for",
    "find_layout",
    "image_to_push",
    "inspect",
    "made_body",
    "read_image",
    "version_of",
    "warnings_about",
    "warnings_about_octets",
]
