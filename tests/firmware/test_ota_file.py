# Which octets of a file 11.3's hash covers, at the edges of the rule (the host's is host/hanlab/images/layout.py).
import struct

from smets1 import ota_file

TRAILER = b"\x00\x40" + bytes(64)


def a_file(payload, text=b"PPMID IHDAE06"):
    head = struct.pack(
        "<IHHHHHIH32sI",
        ota_file.MAGIC,
        0x0100,
        60,
        4,
        0x121D,
        0x0084,
        6,
        2,
        text + bytes(32 - len(text)),
        60 + len(payload),
    )
    return head + struct.pack("<HH", 0x0100, 0x01FF) + payload


def covered(payload):
    """The octets that the hash covers."""
    data = a_file(payload)

    def read(at, buf):
        part = data[at : at + len(buf)]
        buf[: len(part)] = part
        return len(part)

    start, end = ota_file.OtaHeader(data[: ota_file.HEAD_MAX]).manufacturer_image(read)
    return data[start:end]


def element(tag, data):
    return struct.pack("<HI", tag, len(data)) + data


def test_a_trailer_is_no_part_of_it():
    assert covered(b"firmware" + TRAILER) == b"firmware"
    assert covered(b"x" + TRAILER) == b"x"


def test_a_trailer_alone_is_the_firmware():
    assert covered(TRAILER) == TRAILER
    assert covered(TRAILER[1:]) == TRAILER[1:]


def test_the_first_upgrade_image_counts():
    assert covered(element(2, b"cert") + element(0, b"first") + element(0, b"other")) == b"first"


def test_sub_elements_that_do_not_end_with_the_file_are_none():
    whole = element(0, b"first")
    for more in (b"x", element(0xF000, b"y")[:-1], struct.pack("<HI", 1, 0)):
        assert covered(whole + more) == whole + more
    assert covered(element(1, b"no upgrade image")) == element(1, b"no upgrade image")


def test_a_version_has_eight_characters_at_most():
    for text, version in (
        (b"PPMID IHDAE06", "IHDAE06"),
        (b"PPMID 12345678", "12345678"),
        (b"PPMID 123456789", "00000006"),
        (b"IHD IHDAE06", "00000006"),
    ):
        assert ota_file.OtaHeader(a_file(b"x", text)).version() == version


def test_only_a_metadata_block_names_a_manufacturer():
    block = b"S1MD\x01\x20\x00\x00Secure" + bytes(18)
    assert ota_file.metadata_manufacturer(block) == "Secure"
    assert ota_file.metadata_manufacturer(block[:-1]) is None
    for at in range(6):
        wrong = bytearray(block)
        wrong[at] ^= 1
        assert ota_file.metadata_manufacturer(wrong) is None, at
