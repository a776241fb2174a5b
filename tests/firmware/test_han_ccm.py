import hashlib
from binascii import hexlify, unhexlify

from smets1.han.ccm import Ccm


def seal(ccm, nonce, header, message):
    buf = bytearray(header + message + bytes(4))
    end = ccm.seal(buf, 0, len(header), len(header) + len(message), nonce)
    assert end == len(buf)
    return buf


def test_published_vectors():
    # NIST CAVP VTT128, Tlen = 4, Count = 0
    ccm = Ccm(unhexlify("43b1a6bc8d0d22d6d1ca95c18593cca5"))
    nonce = unhexlify("9882578e750b9682c6ca7f8f86")
    header = unhexlify("2084f3861c9ad0ccee7c63a7e05aece5db8b34bd8724cc06b4ca99a7f9c4914f")
    message = unhexlify("a2b381c7d1545c408fe29817a21dc435a154c87256346b05")
    sealed = b"cc69ed76985e0ed4c8365a72775e5a19bfccc71aeb116c85a8c74677"
    for _ in range(3):  # one object serves for all frames: CBC carries nothing over
        assert hexlify(seal(ccm, nonce, header, message)[32:]) == sealed
    # Formal Specification of the CCM* Mode of Operation, 2.5 (Zigbee specification, annex C): its MIC has 8 octets, but
    # the cipher text does not depend on that
    ccm = Ccm(bytes(range(0xC0, 0xD0)))
    buf = seal(ccm, unhexlify("a0a1a2a3a4a5a6a70302010006"), bytes(range(8)), bytes(range(8, 0x1F)))
    assert hexlify(buf[8:31]) == b"1a55a36abb6c610d066b3375649cef10d4664ecad854a8"
    # ... and the same with a MIC of 4, by Python's `cryptography`
    assert hexlify(buf[31:]) == b"23c08bfc"


def test_longest_frame_as_by_another_implementation():
    # 22 octets of header, 90 of message; SHA-256 of what `cryptography`'s AESCCM makes of them
    ccm = Ccm(bytes(range(16)))
    message = bytes((7 * i + 3) & 255 for i in range(90))
    buf = seal(ccm, bytes(range(100, 113)), bytes(range(22)), message)
    assert hexlify(hashlib.sha256(buf[22:]).digest()) == (
        b"f5f982225eee894bd4271e0516969b27c9a7044d8dbe4571ac2e6490995c1913"
    )


def test_opens_what_it_sealed_at_every_length():
    ccm = Ccm(b"0123456789abcdef")
    for n in range(97):
        buf = seal(ccm, bytes(13), bytes(range(22)), bytes(range(n)))
        assert ccm.open(buf, 0, 22, 22 + n, bytes(13))
        assert bytes(buf[: 22 + n]) == bytes(range(22)) + bytes(range(n))


def test_any_flipped_bit_is_noticed():
    ccm = Ccm(b"0123456789abcdef")
    sealed = bytes(seal(ccm, bytes(13), b"header", b"message of some length"))
    for bit in range(8 * len(sealed)):
        buf = bytearray(sealed)
        buf[bit >> 3] ^= 1 << (bit & 7)
        assert not ccm.open(buf, 0, 6, 28, bytes(13))
    assert not ccm.open(bytearray(sealed), 0, 6, 28, b"another nonce")
    assert not Ccm(b"another key.....").open(bytearray(sealed), 0, 6, 28, bytes(13))


def test_what_does_not_fit_is_refused():
    for header, message in ((22, 97), (0, 10), (64, 96)):
        try:
            seal(Ccm(bytes(16)), bytes(13), bytes(header), bytes(message))
        except ValueError:
            continue
        raise AssertionError((header, message))
