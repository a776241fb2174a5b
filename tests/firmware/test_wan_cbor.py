import gc

from smets1.wan import cbor

# value, its octets as cbor2 (canonical) and RFC 8949 appendix A have them
VECTORS = (
    (0, "00"),
    (23, "17"),
    (24, "1818"),
    (255, "18ff"),
    (256, "190100"),
    (65536, "1a00010000"),
    (4294967296, "1b0000000100000000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-1, "20"),
    (-1000, "3903e7"),
    (True, "f5"),
    (False, "f4"),
    (None, "f6"),
    ("", "60"),
    ("ü水", "65c3bce6b0b4"),
    (b"\x01\x02\x03\x04", "4401020304"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    ({}, "a0"),
    ({"a": [True, {"b": None}]}, "a1616182f5a16162f6"),
    ({1: 2}, "a10102"),
)


def encoded(value, room=200):
    buf = bytearray(room)
    end = cbor.encode(value, buf)
    return bytes(buf[:end])


def refused(octets):
    try:
        cbor.decode(octets)
    except cbor.CborError:
        return True
    return False


def noise(seed):
    """Endless octets, the same every time."""
    while True:
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        yield seed >> 16 & 0xFF


def test_values_and_octets_go_both_ways():
    for value, octets in VECTORS:
        octets = bytes.fromhex(octets)
        assert encoded(value) == octets, value
        assert cbor.size(value) == len(octets), value
        assert cbor.decode(octets) == value, octets


def test_heads_of_long_strings():
    for n in (23, 24, 255, 256, 5000):
        octets = encoded(bytes(n), n + 5)
        assert cbor.size(bytes(n)) == len(octets)
        assert len(cbor.decode(octets)) == n


def test_byte_strings_are_views_into_the_buffer():
    buf = bytearray(b"..") + encoded({"off": 7, "data": b"abcd"})
    value = cbor.decode(memoryview(buf)[2:])
    assert isinstance(value["data"], memoryview)
    at = bytes(buf).find(b"abcd")
    buf[at] = 0x7A
    assert value["data"] == b"zbcd"


def test_arrays_and_maps_of_unknown_length():
    assert cbor.decode(b"\xbf\x61a\x9f\x01\x02\xff\xff") == {"a": [1, 2]}
    assert refused(b"\x9f\x01")  # no end
    assert refused(b"\xbf\x61a\xff")  # a key without its value
    assert refused(b"\xff")  # an end of nothing
    assert refused(b"\x5f\x41a\xff") and refused(b"\x7f\x61a\xff")  # strings in pieces


def test_what_smp_does_not_use_is_refused():
    for octets in (
        "f90000",  # floats of 16, 32, 64 bits
        "fa47c35000",
        "fb3ff199999999999a",
        "f7",  # undefined
        "f8ff",
        "c11a514b67b0",  # tag
        "1c",  # reserved lengths
        "5d",
        "a1f500",  # keys that are neither text nor integer
        "a1410000",
        "a1800000",
        "a2616101616102",  # a key twice
        "61ff",  # not UTF-8
        "0000",  # something behind the value
        "",
    ):
        assert refused(bytes.fromhex(octets)), octets


def test_cut_short_at_every_octet():
    whole = encoded({"off": 1000, "data": b"abcd", "list": [1, "x", None]})
    for n in range(len(whole)):
        assert refused(whole[:n]), n


def test_lengths_that_lie_cost_nothing():
    for octets in (
        "5bffffffffffffffff",
        "7affffffff61",
        "9bffffffffffffffff00",
        "baffffffff6161",
        "5affffffff",
    ):
        assert refused(bytes.fromhex(octets)), octets


def test_depth_and_items_are_bounded():
    assert cbor.decode(b"\x81" * 5 + b"\x80") == [[[[[[]]]]]]
    assert refused(b"\x81" * 6 + b"\x80")
    assert refused(b"\x81" * 4000)
    assert refused(b"\x9f" * 4000)
    crowd = b"\x99\x0f\xa0" + b"\x80" * 4000  # 4000 empty arrays: far more heap than octets
    gc.collect()
    before = gc.mem_alloc()
    assert refused(crowd)
    assert gc.mem_alloc() - before < 16000


def test_any_octets_give_a_value_or_a_cbor_error():
    octet = noise(1)
    values = 0
    for _ in range(4000):
        octets = bytes([next(octet) for _ in range(next(octet) % 24)])
        values += not refused(octets)  # any other exception fails the test
    assert 0 < values < 4000


def test_one_wrong_octet_gives_a_value_or_a_cbor_error():
    octet = noise(2)
    whole = encoded(
        {"off": 70000, "len": 3, "sha": bytes(32), "data": b"abcd", "t": ["x", {"y": -9}]}
    )
    for at in range(len(whole)):
        for _ in range(20):
            broken = bytearray(whole)
            broken[at] = next(octet)
            refused(broken)


def test_encoding_never_writes_past_the_buffer():
    parts = {"text": "ü" * 10, "list": [1, 300, 70000], "data": bytes(30)}
    for value in (parts, parts["text"], parts["list"], parts["data"]):
        whole = len(encoded(value))
        for room in range(whole):
            buf = bytearray(room)
            try:
                cbor.encode(value, buf)
            except cbor.CborError:
                assert len(buf) == room
                continue
            raise AssertionError(room)
        assert len(encoded(value, whole)) == whole


def test_what_cannot_be_encoded():
    for value in (1.5, object(), 1 << 64, {"a": {1.5: 1}}):
        try:
            encoded(value)
        except cbor.CborError:
            continue
        raise AssertionError(value)
