# CBOR (RFC 8949), as much as SMP needs: integers of 64 bits, byte and text strings, arrays, maps,
# true, false, null. Floats, tags and strings in pieces are refused. Whatever the octets are, decoding
# ends in a value or in CborError; depth and number of items are bounded, so memory is.
from micropython import const

_DEPTH = const(6)  # arrays and maps inside each other
_ITEMS = const(64)  # values in one message, keys included: more than any SMP request has

_UINT = const(0)
_NEGATIVE = const(1)
_BYTES = const(2)
_TEXT = const(3)
_ARRAY = const(4)
_MAP = const(5)
_SIMPLE = const(7)
_SIMPLE_VALUES = {20: False, 21: True, 22: None}
_INDEFINITE = const(31)
_BREAK = const(0xFF)
_LENGTHS = {1: 24, 2: 25, 4: 26, 8: 27}  # octets that hold the argument -> what the head says


class CborError(Exception):
    """Octets that are not (this) CBOR, or a value that cannot be encoded or does not fit."""


def decode(octets, items=_ITEMS):
    """The value that `octets` (bytes or a memoryview) are; no more than `items` values in it. Byte
    strings come as memoryviews into `octets`."""
    reader = _Reader(octets, items)
    try:
        value = reader.item(_DEPTH)
    except (IndexError, UnicodeError):
        raise CborError("cut short or not UTF-8")
    if reader.at != reader.end:
        raise CborError("octets after the value")
    return value


class _Reader:
    def __init__(self, octets, items):
        self.view = memoryview(octets)
        self.at = 0
        self.end = len(octets)
        self.left = items

    def item(self, depth):
        self.left -= 1
        if self.left < 0:
            raise CborError("too many items")
        first = self.view[self.at]
        self.at += 1
        major = first >> 5
        info = first & 31
        if major == _SIMPLE:
            return self._simple(info)
        if info == _INDEFINITE:
            count = None
            if major != _ARRAY and major != _MAP:
                raise CborError("string in pieces")
        else:
            count = self._argument(info)
        if major == _UINT:
            return count
        if major == _NEGATIVE:
            return -1 - count
        if major == _BYTES:
            return self._string(count)
        if major == _TEXT:
            return _text(self._string(count))
        if not depth:
            raise CborError("too deep")
        if major == _ARRAY:
            return self._array(count, depth - 1)
        if major == _MAP:
            return self._map(count, depth - 1)
        raise CborError("tag")

    def _argument(self, info):
        if info < 24:
            return info
        if info > 27:
            raise CborError("reserved length")
        value = 0
        for _ in range(1 << (info - 24)):
            value = value << 8 | self.view[self.at]
            self.at += 1
        return value

    def _simple(self, info):
        if info in _SIMPLE_VALUES:
            return _SIMPLE_VALUES[info]
        raise CborError("float or unknown simple value")

    def _string(self, length):
        start = self.at
        if length > self.end - start:
            raise CborError("cut short")
        self.at = start + length
        return self.view[start : self.at]

    def _more(self, left):
        """Is there another element? left: how many, None when a break ends them."""
        if left is not None:
            return left > 0
        if self.view[self.at] != _BREAK:
            return True
        self.at += 1
        return False

    def _array(self, left, depth):
        values = []
        while self._more(left):
            values.append(self.item(depth))
            if left is not None:
                left -= 1
        return values

    def _map(self, left, depth):
        values = {}
        while self._more(left):
            key = self.item(depth)
            if not isinstance(key, (str, int)) or key in values:
                raise CborError("bad or doubled key")
            values[key] = self.item(depth)
            if left is not None:
                left -= 1
        return values


def _text(octets):
    """MicroPython itself also takes overlong forms, surrogates, and numbers that Unicode has not."""
    text = str(octets, "utf-8")
    n = len(octets)
    if len(text) != n:  # not ASCII
        for c in text:
            c = ord(c)
            if 0xD800 <= c < 0xE000 or c > 0x10FFFF:
                raise UnicodeError
            n -= 1 if c < 0x80 else 2 if c < 0x800 else 3 if c < 0x10000 else 4
        if n:
            raise UnicodeError
    return text


def encode(value, buf, at=0):
    """Encode `value` to buf[at:] (a memoryview or bytearray); the index after it."""
    for info, simple in _SIMPLE_VALUES.items():
        if value is simple:
            return _octet(buf, at, _SIMPLE << 5 | info)
    if isinstance(value, int):
        return _head(buf, at, _UINT, value) if value >= 0 else _head(buf, at, _NEGATIVE, -1 - value)
    if isinstance(value, str):
        value = value.encode()
        return _octets(buf, _head(buf, at, _TEXT, len(value)), value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _octets(buf, _head(buf, at, _BYTES, len(value)), value)
    if isinstance(value, (list, tuple)):
        at = _head(buf, at, _ARRAY, len(value))
        for element in value:
            at = encode(element, buf, at)
        return at
    if isinstance(value, dict):
        at = _head(buf, at, _MAP, len(value))
        for key in value:
            at = encode(value[key], buf, encode(key, buf, at))
        return at
    raise CborError("cannot encode " + type(value).__name__)


def size(value):
    """How many octets encode(value) takes."""
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, int):
        return _head_size(value if value >= 0 else -1 - value)
    if isinstance(value, str):
        value = value.encode()
    total = _head_size(len(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return total + len(value)
    for element in value:
        total += size(element)
        if isinstance(value, dict):
            total += size(value[element])
    return total


def _head_size(n):
    return 1 if n < 24 else 2 if n < 0x100 else 3 if n < 0x10000 else 5 if n < 0x100000000 else 9


def _head(buf, at, major, n):
    if n >= 0x10000000000000000:
        raise CborError("over 64 bits")
    left = _head_size(n) - 1  # octets that follow
    if not left:
        return _octet(buf, at, major << 5 | n)
    at = _octet(buf, at, major << 5 | _LENGTHS[left])
    while left:
        left -= 1
        at = _octet(buf, at, n >> (8 * left) & 0xFF)
    return at


def _octet(buf, at, octet):
    if at >= len(buf):
        raise CborError("does not fit")
    buf[at] = octet
    return at + 1


def _octets(buf, at, octets):
    end = at + len(octets)
    if end > len(buf):
        raise CborError("does not fit")
    buf[at:end] = octets
    return end
