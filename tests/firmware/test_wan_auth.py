# Who may change anything: login by challenge and response, what needs it, and the two MACs of 11.3.
import asyncio
import hashlib
import struct
from binascii import hexlify, unhexlify

import vfs
from test_wan_framing import COBS, Link, cobs, unframe
from test_wan_server import READ, V1, V2, WRITE, Port, ask, parse, request, serve

from smets1 import saved
from smets1.wan import han_group, image_group
from smets1.wan.auth import GROUP, Session, hmac_sha256, same, seal_of
from smets1.wan.dual_control import DualControl
from smets1.wan.heap import HeapWatch
from smets1.wan.os_group import OsGroup
from smets1.wan.server import Server

EUI = unhexlify("00db1234567890a2")
KEY = bytes(range(32))
DCO_KEY = bytes(range(100, 132))
DENIED = {"rc": 11}
ALL_WRITES = ((0, 5), (1, 1), (1, 5), (GROUP, 2), (GROUP, 4), (GROUP, 13), (GROUP, 14), (GROUP, 12))

# RFC 4231: key, data, HMAC-SHA-256 (case 5's is cut off in the RFC)
VECTORS = (
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)


def test_hmac_sha256_of_rfc_4231():
    for key, data, mac in VECTORS:
        mac = unhexlify(mac)
        assert hmac_sha256(key, data)[: len(mac)] == mac
        assert hmac_sha256(key, data[:3], b"", data[3:])[: len(mac)] == mac  # in parts
    assert hmac_sha256(b"k" * 64, b"x") != hmac_sha256(b"k" * 65, b"x")


def test_same_compares_every_octet_and_the_length():
    assert same(KEY, bytes(KEY)) and same(b"", b"") and same(memoryview(KEY), KEY)
    for i in range(len(KEY)):
        other = bytearray(KEY)
        other[i] ^= 0x80
        assert not same(other, KEY)
    assert not same(KEY[:31], KEY) and not same(KEY, KEY + b"\0") and not same(b"", KEY)


class Hub:
    """Whatever gets through the gate ends here."""

    def __init__(self):
        self.done = []

    def distribute(self, eui, hash, sha, jitter):
        self.done.append("distribute")
        return {"job": 1}

    def activate(self, eui, hash, counter, mac, dco_mac):
        self.done.append("activate")
        return {"job": 1}

    def join(self, eui, code, type, steps, minutes):
        self.done.append("join")
        return {"open_ms": 60_000}

    def leave(self, eui):
        self.done.append("leave")
        return {}

    def store_report(self, verify, skip, most):
        return {"images": []}


class Images:
    def __init__(self, hub):
        self.reads = {0: lambda request: {"images": []}}
        self.writes = {1: lambda request: hub.done.append(1), 5: lambda request: hub.done.append(5)}
        self.v1_codes = {}


def sealed(message, key, number):
    """A write with the seal that whoever has a session's key puts to its end."""
    message = bytearray(message)
    message[8] += 1
    n = len(message) - 8 + 26
    message[2:4] = bytes((n >> 8, n & 0xFF))
    message = bytes(message) + b"\x64seal\x54" + number.to_bytes(4, "big")
    return message + hmac_sha256(key, message)[:16]


def asked(message, nonce=b"nonce 01"):
    """A read that wants its answer sealed."""
    message = bytearray(message)
    message[8] += 1
    message[3] += 7 + len(nonce)
    return bytes(message) + b"\x65nonce" + bytes((0x40 | len(nonce),)) + nonce


def opened(request, answer, key=KEY):
    """An answer's payload without the seal, which it has to have if, and only if, the request wants one."""
    reply = parse(answer)[1]
    if seal_of(request) or request[-15:-8] == b"\x65nonce\x48":
        covered = answer[:-16]
        assert covered[-6:] == b"\x64seal\x50"
        assert (
            answer[-16:]
            == hmac_sha256(hmac_sha256(key, b"hanlab WAN answer"), request, covered)[:16]
        )
        del reply["seal"]
    assert "seal" not in reply
    return reply


class Board:
    """A board's groups behind one session, and a client that seals what it sends once it is logged in."""

    def __init__(self, **wan):
        wan = wan or {"open": False, "key": hexlify(KEY).decode()}
        self.hub = Hub()
        self.session = Session(Port(), {"eui": hexlify(EUI).decode(), "wan": wan})
        self.session.delay_ms = 5
        self.groups = {
            0: OsGroup(Port(), "comms-hub", "0.1.0", HeapWatch()),
            1: Images(self.hub),
            GROUP: han_group.HanGroup(self.hub),
        }
        self.sequence = 0
        self.key = None  # of the client's session
        self.number = 0  # of its last write

    async def ask(self, op, group, command, payload=None, version=V2):
        self.sequence += 1
        message = request(op, group, command, payload, self.sequence & 0xFF, version)
        if self.key and op == WRITE:
            self.number += 1
            message = sealed(message, self.key, self.number)
        return await self.say(message)

    async def say(self, message):
        """The answer's payload; its seal has been looked at, and is not in it."""
        return opened(message, await self.answer(message))

    async def answer(self, message):
        """Its octets."""
        link = Link(cobs(message))
        sent = await serve(Server(link, self.groups, 512, 1, self.session), link)
        return unframe(sent, COBS)[0]

    async def challenge(self):
        return await self.ask(READ, GROUP, 10)

    async def login(self, key=KEY, nonce=None, host=b"h" * 16, eui=EUI, label=b"hanlab WAN host"):
        """What the board answers to a login."""
        if nonce is None:
            nonce = (await self.challenge())["nonce"]
        mac = hmac_sha256(key, label, nonce, host, eui)
        self.said = {"nonce": host, "mac": mac}
        reply = await self.ask(WRITE, GROUP, 11, self.said)
        if "mac" in reply:
            self.key = hmac_sha256(KEY, b"hanlab WAN session", nonce, host, EUI)
            self.number = 0
        return reply

    async def writes(self):
        """Of each write that there is, whether the gate lets it through."""
        through = []
        for group, command in ALL_WRITES:
            payload = {"eui": EUI, "hash": bytes(32), "counter": 1}
            payload.update({"code": bytes(6), "type": "PPMID", "minutes": 1})
            through.append(await self.ask(WRITE, group, command, payload) != DENIED)
        return through


NONE = [False] * len(ALL_WRITES)
ALL = [True] * len(ALL_WRITES)


async def test_without_a_login_everybody_reads_and_echoes_and_no_more():
    board = Board()
    assert await board.writes() == NONE
    assert board.hub.done == [] and board.session.stats["denied"] == len(ALL_WRITES)
    assert (await board.ask(WRITE, 0, 0, {"d": "x"})) == {"r": "x"}
    for group, command in ((0, 0), (0, 3), (0, 6), (0, 7), (1, 0), (GROUP, 0), (GROUP, 10)):
        reply = await board.ask(READ, group, command, {"d": "x"})
        assert "rc" not in reply and "err" not in reply, (group, command)
    # the same words to an old client, and before the payload is even looked at
    assert await board.ask(WRITE, 1, 1, {}, V1) == DENIED
    head = bytes((0x0A, 0, 0, 1, 0, 1, 1, 1))
    assert (await ask(head + b"\xff", board.groups, cobs, board.session))[1] == DENIED


async def test_every_write_that_exists_is_in_this_test():
    board = Board()
    await board.challenge()
    there = {(g, c) for g in board.groups for c in board.groups[g].writes}
    there |= {(g, c) for op, g, c in board.session.commands if op == WRITE}
    real = {(1, c) for c in image_group.ImageGroup(None, None).writes}
    assert there | real == set(ALL_WRITES) | {(0, 0), (GROUP, 11)}


async def test_login_opens_the_gate_and_the_board_proves_itself():
    board = Board()
    nonce = (await board.challenge())["nonce"]
    host = bytes(range(16))
    reply = await board.login(nonce=nonce, host=host)
    assert reply == {"mac": hmac_sha256(KEY, b"hanlab WAN board", nonce, host, EUI)}
    assert await board.writes() == ALL
    assert board.hub.done == [1, 5, "distribute", "activate", "join", "leave"]
    assert board.session.stats == {"logins": 1, "wrong_key": 0, "denied": 0, "forged": 0}


async def test_wrong_logins():
    for wrong in (
        {"key": DCO_KEY},
        {"eui": bytes(8)},  # for another board
        {"label": b"hanlab WAN board"},  # the board's own words, sent back
        {"nonce": bytes(16)},  # for a challenge that was never given
    ):
        board = Board()
        await board.challenge()
        assert await board.login(**wrong) == DENIED, wrong
        assert board.session.stats["wrong_key"] == 1
        assert await board.writes() == NONE
        assert (
            "mac" in await board.login() and await board.writes() == ALL
        )  # the right one still works


async def test_a_challenge_is_for_one_login():
    board = Board()
    nonce = (await board.challenge())["nonce"]
    assert await board.login(DCO_KEY, nonce) == DENIED
    assert await board.login(KEY, nonce) == DENIED, "a wrong MAC has used it up"
    nonce = (await board.challenge())["nonce"]
    assert "mac" in await board.login(KEY, nonce)
    assert await board.login(KEY, nonce) == DENIED, "a right one as well"
    nonce = (await board.challenge())["nonce"]
    assert (await board.challenge())["nonce"] != nonce
    assert await board.login(KEY, nonce) == DENIED, "there is a newer one"
    assert await Board().login(KEY, bytes(16)) == DENIED, "there is none at all"


async def test_a_recorded_login_is_worth_nothing():
    board = Board()
    await board.login()
    said = board.said
    for again in (board, Board()):  # the second one has restarted
        assert await again.ask(WRITE, GROUP, 11, said) == DENIED
        await again.challenge()
        assert await again.ask(WRITE, GROUP, 11, said) == DENIED


async def test_a_wrong_login_takes_its_time_and_ends_nobodys_session():
    board = Board()
    await board.login()
    board.session.delay_ms = 60
    began = asyncio.core.ticks()
    assert await board.login(DCO_KEY) == DENIED
    assert asyncio.core.ticks_diff(asyncio.core.ticks(), began) >= 60
    assert await board.writes() == ALL


async def test_bad_fields():
    board = Board()
    for payload in (
        {},
        {"nonce": b"x" * 16},
        {"nonce": b"x" * 15, "mac": KEY},
        {"nonce": "x" * 16, "mac": KEY},
    ):
        await board.challenge()
        assert await board.ask(WRITE, GROUP, 11, payload) == {"rc": 3}
    assert await board.writes() == NONE


async def test_an_idle_session_ends():
    board = Board()
    board.session.idle_ms = 40
    await board.login()
    for _ in range(8):  # twice as long as the idle time, but it is used
        await asyncio.sleep_ms(20)
        assert await board.ask(WRITE, 1, 1, {}) == {}
    for _ in range(5):  # what needs no login keeps none alive
        await asyncio.sleep_ms(20)
        await board.challenge()
        await board.ask(WRITE, 0, 0, {"d": "x"})
    assert await board.writes() == NONE
    assert "mac" in await board.login() and await board.writes() == ALL
    await asyncio.sleep_ms(20)
    assert "mac" in await board.login(), "logged in twice"
    assert await board.writes() == ALL


async def test_an_open_board_asks_for_nothing_but_answers_a_login():
    board = Board(open=True, key=hexlify(KEY).decode())
    assert (await board.challenge())["open"] is True
    assert await board.writes() == ALL
    assert "mac" in await board.login()
    assert await board.login(DCO_KEY) == DENIED
    assert await board.writes() == ALL
    assert (await Board().challenge())["open"] is False


async def test_a_board_without_a_key_is_closed_to_everybody():
    for config in (
        {},
        {"wan": {}},
        {"wan": {"open": False, "key": ""}},
        {"wan": {"open": 1, "key": "aabb"}},
    ):
        board = Board()
        config["eui"] = hexlify(EUI).decode()
        board.session = Session(Port(), config)
        board.session.delay_ms = 0
        for key in (b"", b"\xaa\xbb", bytes(32)):
            assert await board.login(key) == DENIED, config
        assert await board.writes() == NONE


async def test_login_is_on_a_board_with_no_group_of_its_own():
    board = Board()
    board.groups = {0: board.groups[0]}
    assert "mac" in await board.login()
    assert await board.ask(WRITE, 0, 5) == {}


ERASE = request(WRITE, 1, 5, {"slot": 1}, 9)


async def test_a_write_without_the_sessions_seal_is_nobodys():
    board = Board()
    await board.login()
    good = sealed(ERASE, board.key, 1)
    for forged in (
        ERASE,
        sealed(ERASE, KEY, 1),  # the board's key is not the session's
        sealed(ERASE, DCO_KEY, 1),
        good[:-1] + bytes((good[-1] ^ 1,)),
        good[:6] + b"\x08" + good[7:],  # another sequence number
        good[:7] + b"\x01" + good[8:],  # another command
        b"\x02" + good[1:],  # another version of SMP
        good.replace(b"slot\x01", b"slot\x02"),
        good[:-20] + b"\x00\x00\x00\x02" + good[-16:],  # another number
        sealed(ERASE, board.key, 0),
        sealed(sealed(ERASE, board.key, 1), DCO_KEY, 2),
    ):
        assert await board.say(forged) == DENIED, forged
    assert board.hub.done == [] and board.session.stats["forged"] == 11
    assert await board.say(good) == {} and board.hub.done == [5]
    assert board.session.stats["denied"] == 0


async def test_each_seal_is_good_once_and_in_order():
    board = Board()
    await board.login()
    first, second, later = [sealed(ERASE, board.key, n) for n in (1, 2, 300)]
    assert await board.say(second) == {}
    assert await board.say(first) == DENIED and await board.say(second) == DENIED
    assert await board.say(later) == {} and await board.say(second) == DENIED
    assert await board.say(sealed(ERASE, board.key, 0xFFFFFFFF)) == {}
    assert board.hub.done == [5, 5, 5]


async def test_a_seal_is_of_one_session():
    board = Board()
    await board.login()
    recorded = sealed(ERASE, board.key, 1)
    await board.login(host=b"i" * 16)
    assert await board.say(recorded) == DENIED
    assert await board.say(sealed(ERASE, board.key, 1)) == {}
    assert board.hub.done == [5]


async def test_a_logout_ends_the_session_and_is_its_clients_alone():
    board = Board()
    await board.login()
    logout = request(WRITE, GROUP, 12, {}, 3)
    for forged in (logout, sealed(logout, KEY, 1)):
        assert await board.say(forged) == DENIED
    assert await board.ask(WRITE, 1, 1) == {}
    assert await board.ask(WRITE, GROUP, 12) == {}
    assert await board.ask(WRITE, 1, 1) == DENIED and board.session.stats["denied"] == 1
    assert board.hub.done == [1]


async def test_a_login_after_a_logout_lasts_as_long_as_any():
    board = Board()
    board.session.idle_ms = 60
    for _ in range(3):
        await board.login()
        await board.ask(WRITE, GROUP, 12)
        await asyncio.sleep_ms(25)
    await board.login()
    for _ in range(8):
        await asyncio.sleep_ms(20)
        assert await board.ask(WRITE, 1, 1) == {}, "no clock of a session before ends it"


async def test_a_sealed_write_that_comes_again_is_answered_whatever_came_between():
    board = Board()
    await board.login()
    write = sealed(request(WRITE, GROUP, 2, {"eui": EUI, "hash": bytes(32)}), board.key, 1)
    between = (
        request(READ, GROUP, 0),
        ERASE,
        request(WRITE, 0, 0, {"d": "x"}),
        request(READ, GROUP, 10),
    )
    link = Link(b"".join([cobs(m) for m in (write, between[0], write) + between + (write,)]))
    server = Server(link, board.groups, 512, 1, board.session)
    answers = [parse(m)[1] for m in unframe(await serve(server, link), COBS)]
    jobs = [a for a in answers if "job" in a]
    assert len(jobs) == 3 and jobs[0] == jobs[1] == jobs[2] and jobs[0]["job"] == 1
    assert board.hub.done == ["distribute"] and server.repeats == 2


async def test_a_login_whose_answer_was_lost_gets_it_again():
    board = Board()
    nonce = (await board.challenge())["nonce"]
    mac = hmac_sha256(KEY, b"hanlab WAN host", nonce, b"h" * 16, EUI)
    login = cobs(request(WRITE, GROUP, 11, {"nonce": b"h" * 16, "mac": mac}))
    link = Link(login + login)
    sent = await serve(Server(link, board.groups, 512, 1, board.session), link)
    answers = [parse(m)[1] for m in unframe(sent, COBS)]
    assert len(answers) == 2 and answers[0] == answers[1] and "mac" in answers[0]
    assert board.session.stats["logins"] == 1


# -- answers


async def test_the_answer_to_what_is_sealed_is_sealed_and_no_other():
    board = Board()
    await board.login()
    read = request(READ, GROUP, 0, {"skip": 0}, 5)
    sent = {
        "a read": asked(read),
        "a write": sealed(ERASE, board.key, 2),
        "a refused field": sealed(request(WRITE, GROUP, 2, {}), board.key, 3),
        "a command that is not there": asked(request(READ, 1, 9)),
        "version 1": asked(request(READ, 1, 0, None, 1, V1)),
        "a seal that is used up": sealed(ERASE, board.key, 1),
        "the seal of a session that is over": sealed(ERASE, DCO_KEY, 7),
    }
    for what in sent:
        answer = await board.answer(sent[what])
        assert "seal" in parse(answer)[1], what
        opened(sent[what], answer)
    other = asked(read, b"of 16 octets, no")
    for message in (read, other, ERASE, request(WRITE, 0, 0, {"d": "x"})):
        assert "seal" not in parse(await board.answer(message))[1]


async def test_a_board_that_has_restarted_proves_that_nobody_is_logged_in():
    board = Board()
    await board.login()
    assert await Board().say(sealed(ERASE, board.key, 1)) == DENIED
    assert await Board().say(asked(request(READ, GROUP, 0))) == {"images": []}


async def test_an_answers_seal_is_of_its_own_request():
    board = Board()
    await board.login()
    seals = []
    for skip, nonce in ((0, b"nonce 01"), (0, b"nonce 02"), (1, b"nonce 01")):
        read = asked(request(READ, GROUP, 0, {"skip": skip}), nonce)
        seals.append(bytes(parse(await board.answer(read))[1]["seal"]))
    assert len(set(seals)) == 3, "of its nonce, and of its octets"
    other = Board(open=False, key=hexlify(DCO_KEY).decode())
    assert bytes(parse(await other.answer(read))[1]["seal"]) not in seals, "and of its board"


async def test_a_board_without_a_key_seals_nothing():
    board = Board(open=True)
    assert parse(await board.answer(sealed(ERASE, KEY, 1)))[1] == {}


async def test_the_longest_answer_has_room_for_a_seal():
    board = Board()
    text = {"text": ""}
    for n in (1024 - 8 - 6 - 3, 1024 - 8 - 6 - 3 + 1):
        text["text"] = "x" * n  # the first one fills the answer to the last octet
        board.groups[1].reads[0] = lambda request: text
        reply = await board.say(asked(request(READ, 1, 0)))
        assert reply == (text if n == 1007 else {"rc": 7})
    d = "x" * 470
    assert await board.say(sealed(request(WRITE, 0, 0, {"d": d}), KEY, 1)) == {"r": d}


# -- dual control of 11.3

ROOT = "/auth"
MEMORY = bytearray(512 * 64)
HASH = hashlib.sha256(b"an image").digest()
OTHER = unhexlify("00db1234567890ff")


class Flash:
    full = False

    def readblocks(self, block, buf, offset=0):
        at = block * 512 + offset
        buf[:] = memoryview(MEMORY)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        if self.full:
            return -28
        at = block * 512 + offset
        memoryview(MEMORY)[at : at + len(buf)] = buf
        return 0

    def ioctl(self, op, arg):
        return {4: len(MEMORY) // 512, 5: 512}.get(op, 0)


flash = Flash()


def fresh():
    """DualControl on a new filesystem."""
    try:
        vfs.umount(ROOT)
    except OSError:
        pass
    vfs.VfsLfs2.mkfs(flash)
    vfs.mount(vfs.VfsLfs2(flash), ROOT)
    return restarted()


def restarted(**keys):
    wan = {"key": hexlify(KEY).decode(), "dco_key": hexlify(DCO_KEY).decode()}
    for name in keys:
        wan[name] = keys[name]
    return DualControl({"wan": wan}, ROOT + "/authorised")


def macs(eui=EUI, hash=HASH, counter=1, key=KEY, dco_key=DCO_KEY):
    covered = b"11.3" + eui + hash + struct.pack(">Q", counter)
    return hmac_sha256(key, covered), hmac_sha256(dco_key, covered)


def refusal(control, counter=1, eui=EUI, hash=HASH, **other):
    mac, dco_mac = macs(eui, hash, counter, **other)
    return control.refusal(eui, hash, counter, mac, dco_mac)


def test_both_macs_are_needed():
    control = fresh()
    mac, dco_mac = macs()
    for first, second, why in (
        (mac, None, "the DCO's MAC is missing"),
        (None, dco_mac, "the S1SP's MAC is missing"),
        (None, None, "the S1SP's MAC is missing"),
        (mac, mac, "the DCO's MAC is wrong"),
        (dco_mac, dco_mac, "the S1SP's MAC is wrong"),
        (dco_mac, mac, "the S1SP's MAC is wrong"),
        (bytes(32), dco_mac, "the S1SP's MAC is wrong"),
        (mac, bytes(32), "the DCO's MAC is wrong"),
        (mac, dco_mac[:31], "the DCO's MAC is wrong"),
    ):
        assert control.refusal(EUI, HASH, 1, first, second) == why
        assert control.last(EUI) == 0
    assert control.refusal(EUI, HASH, 1, mac, dco_mac) == ""


def test_an_authorisation_is_for_one_device_hash_and_counter():
    control = fresh()
    mac, dco_mac = macs()
    assert control.refusal(OTHER, HASH, 1, mac, dco_mac) == "the S1SP's MAC is wrong"
    assert control.refusal(EUI, bytes(32), 1, mac, dco_mac) == "the S1SP's MAC is wrong"
    assert control.refusal(EUI, HASH, 2, mac, dco_mac) == "the S1SP's MAC is wrong"
    for field in ({"eui": OTHER}, {"hash": bytes(32)}, {"counter": 2}):  # the DCO's is for another
        assert control.refusal(EUI, HASH, 1, mac, macs(**field)[1]) == "the DCO's MAC is wrong"
    assert control.refusal(EUI, HASH, 1, mac, dco_mac) == ""


def test_it_counts_once_and_old_ones_never():
    control = fresh()
    assert refusal(control, 5) == ""
    for old in (0, 1, 4, 5):
        assert refusal(control, old) == "counter %d is not above 5" % old
    assert refusal(control, 6) == "" and refusal(control, 2**63 - 1) == ""
    assert refusal(control, 7).startswith("counter 7 is not above")
    assert control.last(EUI) == 2**63 - 1


def test_counters_are_each_devices_own():
    control = fresh()
    assert refusal(control, 9) == "" and refusal(control, 3, OTHER) == ""
    assert (control.last(EUI), control.last(OTHER)) == (9, 3)
    assert refusal(control, 4) and refusal(control, 4, OTHER) == ""


def test_a_restart_forgets_no_counter():
    control = fresh()
    assert refusal(control, 9) == "" and refusal(control, 2**40, OTHER) == ""
    control = restarted()
    assert (control.last(EUI), control.last(OTHER)) == (9, 2**40)
    assert refusal(control, 9) == "counter 9 is not above 9"
    assert refusal(control, 10) == ""


def test_what_was_authorised_for_a_device_that_left_never_counts_again():
    """And one number is kept for all of them, however many have left."""
    control = fresh()
    others = [bytes((7, n, 0, 0, 0, 0, 0, 0)) for n in range(50)]
    for n, eui in enumerate(others):
        assert refusal(control, 100 + n, eui) == ""
        control.forget(eui)
    assert refusal(control, 7) == "counter 7 is not above 149", "who comes new is above them all"
    assert refusal(control, 200) == ""
    assert len(saved.load(ROOT + "/authorised")) == 2 * 16
    for again in (control, restarted()):
        assert again.last(others[0]) == again.last(others[49]) == 149
        assert refusal(again, 149, others[0]) == "counter 149 is not above 149"
        again.forget(OTHER)
        assert again.last(EUI) == 200
    assert refusal(restarted(), 150, others[0]) == ""


def damage(name):
    with open(ROOT + name, "r+b") as f:
        f.seek(6)
        f.write(b"\xff")


def test_bit_rot_in_one_copy_costs_nothing_and_in_both_it_ends():
    for name in ("/authorised", "/authorised.copy"):
        control = fresh()
        assert refusal(control, 9) == ""
        damage(name)
        control = restarted()
        assert refusal(control, 9) == "counter 9 is not above 9"
        assert refusal(control, 10) == "", "and the other copy is whole again"
    control = fresh()
    assert refusal(control, 9) == ""
    damage("/authorised")
    damage("/authorised.copy")
    assert refusal(restarted(), 10) == "the counters on flash are damaged"
    fresh()
    assert refusal(restarted(), 9) == "", "a new board"


def test_a_power_cut_between_the_two_copies():
    control = fresh()
    assert refusal(control, 1) == ""
    real = saved.save

    def cut(path, record):
        if path.endswith(".copy"):
            raise OSError(5)
        real(path, record)

    saved.save = cut
    try:
        assert refusal(control, 2) == "flash does not take the counter"
    finally:
        saved.save = real
    assert refusal(restarted(), 2) == "counter 2 is not above 2"


def test_flash_that_takes_no_counter_authorises_nothing():
    control = fresh()
    flash.full = True
    try:
        assert refusal(control, 1) == "flash does not take the counter"
    finally:
        flash.full = False
    assert control.last(EUI) == 0


def test_keys_that_are_no_two_keys():
    fresh()
    no_dco = "no key of the DCO here"
    assert refusal(restarted(dco_key="")) == no_dco
    assert refusal(restarted(dco_key=hexlify(KEY).decode()), dco_key=KEY) == no_dco
    assert refusal(restarted(key="")) == "no key of the S1SP here"
    assert refusal(DualControl({}, ROOT + "/authorised")) == "no key of the S1SP here"
    assert refusal(restarted(key="", dco_key=""), key=b"", dco_key=b"") == "no key of the S1SP here"
