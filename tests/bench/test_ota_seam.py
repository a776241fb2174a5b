"""Host and firmware read the same OTA file alike: version, device type, which octets 11.3's hash covers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

from labs import make_image

from hanlab.boards.vm import find_vm
from hanlab.images import OtaImage, SubElement, made_body
from hanlab.resources import firmware_dir

READ = """
import binascii, hashlib, json, os, sys
sys.path.insert(0, sys.argv[1])
from smets1 import ota_file
found = {}
for name in os.listdir(sys.argv[2]):
    with open(sys.argv[2] + "/" + name, "rb") as f:
        def read(at, buf):
            f.seek(at)
            return f.readinto(buf)
        head = bytearray(ota_file.HEAD_MAX)
        header = ota_file.OtaHeader(memoryview(head)[:read(0, head)])
        start, end = header.manufacturer_image(read)
        body = bytearray(end - start)
        read(start, body)
        block = body[:ota_file.METADATA]
        found[name] = [
            header.size, header.version(), header.device_type(), list(header.hardware),
            header.file_version, ota_file.metadata_manufacturer(block),
            binascii.hexlify(hashlib.sha256(body).digest()).decode(),
        ]
print(json.dumps(found))
"""


def _with_string(image: OtaImage, text: bytes) -> OtaImage:
    header = dataclasses.replace(image.header, string=text.ljust(32, b"\0"))
    return dataclasses.replace(image, header=header)


def _with_elements(*elements: SubElement) -> OtaImage:
    """A vendor's file: ZCL sub-elements instead of GBCS's layout."""
    raw = b"".join(e.to_bytes() for e in elements)
    image = make_image(for_ch=None)
    header = dataclasses.replace(image.header, total_size=image.header.length + len(raw))
    return OtaImage.from_bytes(header.to_bytes() + raw)


def test_both_read_the_same_file_alike(tmp_path: Path) -> None:
    image = make_image(body=3000)
    files = {
        "raw": make_image(body=3000, for_ch=None),
        "metadata": image,
        "trailer": make_image(body=3000, trailer=True),
        "short": make_image(body=1, for_ch=None),
        "no version": _with_string(image, b"somebody's firmware"),
        "three words": _with_string(image, b"PPMID IHDAE06 x"),
        "two spaces": _with_string(image, b"PPMID  IHDAE06"),
        "nine characters": _with_string(image, b"PPMID IHDAE0612"),
        "full": _with_string(image, b"PPMID 1234567\xff"),
        "after zero": _with_string(image, b"PPMID IHDAE06\0rubbish"),
        "other type": _with_string(image, b"IHD IHDAE06"),
        "elements": _with_elements(
            SubElement(0x0002, b"certificate" * 4),
            SubElement(0x0000, made_body(500)),
            SubElement(0x0000, b"another"),
        ),
        "one element": _with_elements(SubElement(0x0000, image.manufacturer_image)),
    }
    for name, file in files.items():
        (tmp_path / name).write_bytes(file.to_bytes())
    run = subprocess.run(
        [*find_vm().command, "-c", READ, str(firmware_dir()), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    assert found == {
        name: [
            len(file.to_bytes()),
            file.version,
            file.device_type,
            list(file.header.hardware or (0, 0xFFFF)),
            file.header.file_version,
            file.metadata.ch_manufacturer if file.metadata else None,
            file.manufacturer_image_hash.hex(),
        ]
        for name, file in files.items()
    }
