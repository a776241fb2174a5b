from smets1 import octets


def test_crc16_check_values_of_both_polynomials():
    # the check values over "123456789" of the CRC catalogue: XMODEM, KERMIT
    assert octets.crc16_xmodem(b"123456789", 0, 9) == 0x31C3
    assert octets.crc16_fcs(b"123456789", 0, 9) == 0x2189
    assert octets.crc16_xmodem(b"..123456789..", 2, 11) == 0x31C3


def test_cobs_known_frames():
    for plain, coded in (
        (b"", b"\x01"),
        (b"\x00", b"\x01\x01"),
        (b"\x11\x00\x22", b"\x02\x11\x02\x22"),
        (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255)) + b"\x01"),
    ):
        out = bytearray(len(plain) + len(plain) // 254 + 1)
        end = octets.cobs_encode(plain, len(plain), out, 0)
        assert bytes(out[:end]) == coded, (plain, out[:end])
        assert octets.cobs_decode(out, end) == len(plain)
        assert bytes(out[: len(plain)]) == plain


def test_cobs_refuses_what_is_no_frame():
    assert octets.cobs_decode(bytearray(b"\x00"), 1) == -1
    assert octets.cobs_decode(bytearray(b"\x05\x11"), 2) == -1
    assert octets.cobs_decode(bytearray(b"\x03\x11\x00"), 3) == -1


def test_xor_and_find():
    buf = bytearray(b"\x00\x0f\xf0\x55")
    octets.xor_into(buf, 1, b"\xff\xff", 2)
    assert buf == b"\x00\xf0\x0f\x55"
    assert octets.find(buf, 0x0F, 0, 4) == 2
    assert octets.find(buf, 0x0F, 3, 4) == -1
    assert octets.find(buf, 0x55, 0, 4) == 3, "the last one"
    assert octets.find(buf, 0x55, 0, 3) == -1
