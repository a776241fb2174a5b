from binascii import hexlify

from test_han_network import PPMID, FastClock, Han, flash, lots, settle

from smets1.han.tunnel import (
    ACTIVATED,
    ACTIVATION_FAILURE,
    HASH_MISMATCH,
    NO_IMAGE_HELD,
    TunnelClient,
    TunnelServer,
    answer_der,
    parse_answer,
    parse_request,
    request_der,
)
from smets1.han.zcl import NoAnswer

CLOCK = FastClock()
HASH = bytes(range(0x20, 0x40))
VERSION = 0x00060006


class Tunnel:
    """A HAN whose PPMID can be activated."""

    def __init__(self, code=ACTIVATED):
        self.root = flash()
        self.han = Han(self.root)
        self.calls = []
        self.after = []
        self.code = code
        self.client = TunnelClient(self.han.ch)
        self.boot()
        self.han.start()

    def boot(self):
        self.server = TunnelServer(
            self.han.ppmid,
            self.activate,
            lambda code: self.after.append(code),
            self.root + "/activation",
        )

    def activate(self, hash, counter):
        self.calls.append((hash, counter))
        return self.code, VERSION


def test_der_as_gbcs_has_it():
    der = request_der(HASH, 1001)
    assert hexlify(der) == b"30260420" + hexlify(HASH) + b"020203e9"
    assert hexlify(answer_der(0, 0x00020001)) == b"3009020100040400020001"
    for counter, number in (
        (0, b"020100"),
        (0x7F, b"02017f"),
        (0x80, b"02020080"),
        (1660286628923, b"0206018290cb743b"),
    ):
        der = request_der(HASH, counter)
        assert hexlify(der).endswith(number), (counter, hexlify(der))
        assert der[1] == len(der) - 2
        assert parse_request(der) == (HASH, counter)
    assert parse_request(request_der(HASH, 2**63 - 1)) == (HASH, 2**63 - 1)
    assert parse_answer(answer_der(3, 0xFFFFFFFF)) == (3, 0xFFFFFFFF)


def test_der_that_is_no_request():
    good = bytearray(request_der(HASH, 1001))
    for n in range(len(good)):
        assert parse_request(good[:n]) is None
    for at in (0, 1, 2, 3, 36, 37):
        bad = bytearray(good)
        bad[at] ^= 1
        assert parse_request(bad) is None, at
    good[38] = 0x83  # negative
    assert parse_request(good) is None
    good[38:40] = b"\x00\x05"  # longer than need be
    assert parse_request(good) is None
    assert parse_request(bytes(good) + b"\x00") is None


async def test_activation_and_its_codes():
    for code in (ACTIVATED, NO_IMAGE_HELD, HASH_MISMATCH, ACTIVATION_FAILURE):
        tunnel = Tunnel(code)
        assert await tunnel.client.activate(PPMID, HASH, 1001) == (code, VERSION)
        assert tunnel.calls == [(HASH, 1001)] and tunnel.after == [code]
        await settle()
        assert tunnel.han.ch.stats["tx"] == 3  # open, data, close
        tunnel.han.stop()


async def test_lost_answer_does_not_activate_twice():
    tunnel = Tunnel()
    tunnel.han.ppmid_link.lose = lambda number, octets: 2 <= number < 4
    assert await tunnel.client.activate(PPMID, HASH, 1001) == (ACTIVATED, VERSION)
    assert tunnel.calls == [(HASH, 1001)] and tunnel.after == [ACTIVATED]
    # another request is another activation: by its counter, or by its hash
    assert await tunnel.client.activate(PPMID, HASH, 1002) == (ACTIVATED, VERSION)
    assert await tunnel.client.activate(PPMID, bytes(32), 1002) == (ACTIVATED, VERSION)
    assert len(tunnel.calls) == 3
    tunnel.han.stop()


async def test_answer_lost_in_the_reset_of_the_activation():
    tunnel = Tunnel()
    tunnel.han.ppmid_link.lose = lambda number, octets: number == 2

    def reset(code):
        tunnel.code = NO_IMAGE_HELD  # it runs now, so none is held
        tunnel.boot()  # which knows no tunnel

    tunnel.server._after = reset
    assert await tunnel.client.activate(PPMID, HASH, 1001) == (ACTIVATED, VERSION)
    assert len(tunnel.calls) == 1
    tunnel.han.stop()


async def test_device_that_does_not_answer():
    tunnel = Tunnel()
    tunnel.han.ch_link.lose = lambda number, octets: True
    before = CLOCK.ticks_ms()
    try:
        await tunnel.client.activate(PPMID, HASH, 1001, 1000, 3)
        raise AssertionError("an answer")
    except NoAnswer as e:
        assert "3D01" in str(e)
    assert 7000 <= CLOCK.ticks_ms() - before < 7200 and not tunnel.calls
    tunnel.han.stop()


async def test_damaged_record_is_as_none():
    tunnel = Tunnel()
    await tunnel.client.activate(PPMID, HASH, 1001)
    with open(tunnel.root + "/activation", "r+b") as f:
        f.write(b"\xff")
    tunnel.boot()
    await tunnel.client.activate(PPMID, HASH, 1001)
    assert len(tunnel.calls) == 2
    tunnel.han.stop()


async def test_answer_to_another_request_is_none():
    """On a tunnel of the same number, as each start of a device has it: the challenge in it is another one."""
    tunnel = Tunnel()
    data = tunnel.server.commands[2][1]
    earlier = []

    def answer(peer, frame, reply):
        n = data(peer, frame, reply)
        earlier.append(bytes(reply[7:15]))
        reply[7:15] = earlier[0]
        return n

    tunnel.server.commands[2] = (2, answer)
    tunnel.han.ch.counters.random = lots(1)
    assert await tunnel.client.activate(PPMID, HASH, 1001) == (ACTIVATED, VERSION)
    tunnel.server._tunnel = 0
    try:
        await tunnel.client.activate(PPMID, HASH, 1001, 100, 3)
        raise AssertionError("an answer")
    except NoAnswer:
        pass
    assert len(earlier) == 4 and len(set(earlier)) == 2
    tunnel.han.stop()


async def test_request_without_a_challenge_is_none():
    tunnel = Tunnel()
    asked = []

    def send(short, frame, n):
        asked.append(bytes(frame))
        return TunnelClient.send(tunnel.client, short, frame[:5] + frame[15:], n - 10)

    tunnel.client.send = lambda short, frame, n: (
        TunnelClient.send(tunnel.client, short, frame, n) if n < 20 else send(short, frame, n)
    )
    try:
        await tunnel.client.activate(PPMID, HASH, 1001, 100, 2)
        raise AssertionError("an answer")
    except NoAnswer:
        pass
    assert len(asked) == 2 and not tunnel.calls and tunnel.han.ppmid.stats["malformed"] == 2
    tunnel.han.stop()
