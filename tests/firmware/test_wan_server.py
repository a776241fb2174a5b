import asyncio
import gc
import os
import struct

from test_wan_framing import ECHO, ECHO_V1, PARAMS, Link, cobs, console, noise, unframe

from smets1.wan import cbor
from smets1.wan import server as server_module
from smets1.wan.auth import Session
from smets1.wan.framing import COBS, CONSOLE, RAW
from smets1.wan.heap import HeapWatch
from smets1.wan.os_group import OsGroup
from smets1.wan.server import Server
from smets1.wan.smp import Silent, SmpError

READ, WRITE = 0, 2
V1, V2 = 0, 1


class Port:
    def __init__(self):
        self.resets = 0

    def random(self, n):
        return os.urandom(n)

    def unique_id(self):
        return b"\x00\xdb\x12\x34"

    def reset(self):
        self.resets += 1


class Awkward:
    """A group whose handlers do what handlers may do."""

    def __init__(self):
        self.reads = {
            0: lambda request: {"sync": True},
            1: self.slow,
            2: lambda request: None,
            3: self.silent,
            4: self.refuse,
            5: lambda request: 1 // 0,
            6: self.slow_failure,
            7: lambda request: {"text": "x" * 2000},
            8: lambda request: {"hungry": len(bytearray(1 << 30))},
            9: lambda request: {"odd": object()},
        }
        self.writes = {0: lambda request: request}
        self.v1_codes = {7: 5}

    async def slow(self, request):
        await asyncio.sleep_ms(0)
        return {"slow": True}

    async def slow_failure(self, request):
        await asyncio.sleep_ms(0)
        raise ValueError

    def silent(self, request):
        raise Silent

    def refuse(self, request):
        if "generic" in request:
            raise SmpError(request["generic"])
        raise SmpError(request.get("rc", 7), 70)


def open_session():
    return Session(Port(), {"eui": "00db1234567890a2", "wan": {"open": True}})


def groups():
    return {0: OsGroup(Port(), "comms-hub", "0.1.0", HeapWatch()), 70: Awkward()}


def request(op, group, command, payload=None, sequence=1, version=V2):
    n = cbor.size(payload or {})
    message = bytearray(8 + n)
    cbor.encode(payload or {}, message, 8)
    struct.pack_into(">BBHHBB", message, 0, version << 3 | op, 0, n, group, sequence, command)
    return bytes(message)


def parse(message):
    """(op, version, group, sequence, command), payload of an answer."""
    assert (message[2] << 8 | message[3]) == len(message) - 8 and message[1] == 0
    head = (message[0] & 7, message[0] >> 3, message[4] << 8 | message[5], message[6], message[7])
    return head, cbor.decode(message[8:], 1000)


async def serve(server, link):
    try:
        await server.run()
    except EOFError:
        return link.sent


async def ask(message, handlers=None, frame=console, session=None):
    """The answer's header and payload, None if there is no answer."""
    link = Link(frame(message))
    server = Server(link, handlers or groups(), 4096, 2, session or open_session())
    sent = await serve(server, link)
    answers = unframe(sent, CONSOLE if frame is console else COBS)
    assert len(answers) < 2
    return parse(answers[0]) if answers else None


async def test_echo_of_a_real_client_in_both_framings_and_versions():
    for vector, version, sequence in ((ECHO, V2, 7), (ECHO_V1, V1, 8)):
        for frame in (console, cobs):
            head, payload = await ask(bytes.fromhex(vector[0]), frame=frame)
            assert head == (3, version, 0, sequence, 0) and payload == {"r": "Hello"}


async def test_echo_answers_octet_for_octet():
    for frame, answer in (
        # what smp 4.2 parses as EchoWriteResponse(sequence=7, r="Hello")
        (ECHO[1], b"\x06\x09ABMLAAAJAAAHAKFhcmVIZWxsbwXK\n"),
        (bytes.fromhex(ECHO[2]), bytes.fromhex("00020b0102090102070ca161726548656c6c6f05ca00")),
    ):
        link = Link(frame)
        server = Server(link, groups(), 512, 1, open_session())
        assert await serve(server, link) == answer, link.sent


async def test_raw_request_has_a_raw_answer():
    link = Link(bytes.fromhex(ECHO[0]) + bytes.fromhex(PARAMS[0]))
    server = Server(link, groups(), 512, 1, open_session())
    sent = await serve(server, link)
    n = 8 + len("a161726548656c6c6f") // 2
    assert sent[:n] == bytes.fromhex("0b00000900000700a161726548656c6c6f")
    head, payload = parse(sent[n:])
    assert head == (1, V2, 0, 9, 6) and payload == {"buf_size": 512, "buf_count": 1}
    assert server.reader.framing == RAW


async def test_echo_as_long_as_a_request_can_be():
    for text in ("x" * 1007, "x" * 1008, "x" * 4080, "\u00e9" * 2000):
        for frame in (console, cobs, bytes):
            message = request(WRITE, 0, 0, {"d": text})
            link = Link(frame(message) + frame(request(WRITE, 0, 0, {"d": "short"})))
            sent = await serve(Server(link, groups(), 4096, 1, open_session()), link)
            if frame is bytes:
                answers = [sent[: len(message)], sent[len(message) :]]
            else:
                answers = unframe(sent, CONSOLE if frame is console else COBS)
            assert [parse(a)[1]["r"] for a in answers] == [text, "short"]


async def test_parameters_are_the_servers_own():
    head, payload = await ask(bytes.fromhex(PARAMS[0]))
    assert head == (1, V2, 0, 9, 6) and payload == {"buf_size": 4096, "buf_count": 2}


async def test_every_request_has_one_answer_in_its_framing_and_order():
    requests = [request(WRITE, 0, 0, {"d": str(n)}, n) for n in range(60)]
    frames = [(cobs if n % 3 else console)(requests[n]) for n in range(60)]
    link = Link(b"".join(frames), 100)
    await serve(Server(link, groups(), 512, 4, open_session()), link)
    assert len(link.writes) == 60
    for n in range(60):
        answer = unframe(link.writes[n], COBS if n % 3 else CONSOLE)
        assert parse(answer[0]) == ((3, V2, 0, n, 0), {"r": str(n)})


async def test_handlers_may_be_sync_or_async_and_answer_nothing_much():
    assert (await ask(request(READ, 70, 0)))[1] == {"sync": True}
    assert (await ask(request(READ, 70, 1)))[1] == {"slow": True}
    assert (await ask(request(READ, 70, 2)))[1] == {}
    assert (await ask(request(WRITE, 70, 0, {"a": [b"bc", -5]})))[1] == {"a": [b"bc", -5]}


async def test_silence_is_no_answer_and_the_next_request_has_one():
    link = Link(cobs(request(READ, 70, 3)) + cobs(request(READ, 70, 0)))
    answers = unframe(await serve(Server(link, groups(), 512, 1, open_session()), link), COBS)
    assert [parse(m)[1] for m in answers] == [{"sync": True}]


async def test_refusals_take_the_form_of_the_clients_version():
    assert (await ask(request(READ, 70, 4)))[1] == {"err": {"group": 70, "rc": 7}}
    assert (await ask(request(READ, 70, 4, version=V1)))[1] == {"rc": 5}
    assert (await ask(request(READ, 70, 4, {"rc": 99}, version=V1)))[1] == {"rc": 1}
    # a general code has no group, so it looks the same under both
    for version in (V1, V2):
        assert (await ask(request(READ, 70, 4, {"generic": 10}, version=version)))[1] == {"rc": 10}


async def test_unknown_groups_and_commands():
    for op, group, command in ((READ, 99, 0), (READ, 70, 99), (WRITE, 70, 1), (WRITE, 0, 6)):
        for version in (V1, V2):
            head, payload = await ask(request(op, group, command, sequence=200, version=version))
            assert head == (op + 1, version, group, 200, command) and payload == {"rc": 8}


async def test_a_newer_header_version_is_told_so():
    head, payload = await ask(request(READ, 0, 6, version=3))
    assert head[1] == V2 and payload == {"rc": 13}


async def test_an_answer_is_not_answered():
    for op in (1, 3, 5):
        assert await ask(request(op, 0, 0, {"r": "x"})) is None


async def test_bad_payloads_are_refused():
    for payload in (
        b"\x80",
        b"\x01",
        b"\xa1\x61d",
        b"\xff",
        b"\xa0\xa0",
        b"\xfb\x00\x00\x00\x00\x00\x00\x00\x00",
    ):
        head = bytes((0x0A, 0, 0, len(payload), 0, 0, 1, 0))
        assert (await ask(head + payload))[1] == {"rc": 3}, payload
    assert (await ask(bytes((0x0A, 0, 0, 9, 0, 0, 1, 0)) + b"\xa0"))[1] == {"rc": 3}  # length lies
    assert (await ask(request(WRITE, 0, 0, {"d": 5})))[1] == {"rc": 3}
    assert (await ask(bytes((0x08, 0, 0, 0, 0, 0, 1, 6))))[1][
        "buf_size"
    ] == 4096  # no payload is {}


async def test_a_failing_handler_does_not_stop_the_server():
    for command, rc in ((5, 1), (6, 1), (8, 1), (7, 7), (9, 7)):
        link = Link(console(request(READ, 70, command)) + console(request(READ, 70, 0)))
        server = Server(link, groups(), 512, 1, open_session())
        answers = [parse(m)[1] for m in unframe(await serve(server, link), CONSOLE)]
        assert answers == [{"rc": rc}, {"sync": True}], command
        assert server.failures == (1 if rc == 1 else 0)


async def test_random_octets_between_requests():
    for frame, framing in ((console, CONSOLE), (cobs, COBS)):
        hello = frame(request(WRITE, 0, 0, {"d": "still here"}))
        link = Link(b"".join([noise(n, 1000) + hello for n in range(5)]), 77)
        server = Server(link, groups(), 512, 1, open_session())
        answers = unframe(await serve(server, link), framing)
        assert [parse(m)[1] for m in answers] == [{"r": "still here"}] * 5


async def test_reset_answers_first():
    port = Port()
    link = Link(cobs(request(WRITE, 0, 5)))
    handlers = {0: OsGroup(port, "x", "1", HeapWatch())}
    sent = await serve(Server(link, handlers, 512, 1, open_session()), link)
    assert parse(unframe(sent, COBS)[0])[1] == {}
    assert port.resets == 0
    await asyncio.sleep_ms(80)
    assert port.resets == 1


class Counting:
    """A group that changes something: how often it was asked to."""

    def __init__(self):
        self.asked = 0
        self.reads = {0: lambda request: {}}
        self.writes = {0: self.add, 1: self.silent}
        self.v1_codes = {}

    def add(self, request):
        self.asked += 1
        if "refuse" in request:
            raise SmpError(10)
        return {"asked": self.asked}

    def silent(self, request):
        self.asked += 1
        raise Silent


async def count(*frames, framing=COBS):
    """What a Counting answers to these frames, and how often it was asked."""
    group = Counting()
    link = Link(b"".join(frames))
    server = Server(link, {70: group}, 512, 1, open_session())
    answers = [parse(m)[1] for m in unframe(await serve(server, link), framing)]
    return answers, group.asked, server.repeats


async def test_a_write_that_comes_again_is_answered_again_and_not_carried_out():
    write = request(WRITE, 70, 0, {"a": 1}, 5)
    for frame, framing in ((cobs, COBS), (console, CONSOLE)):
        answers = await count(*[frame(write)] * 4, framing=framing)
        assert answers == ([{"asked": 1}] * 4, 1, 3)
    refused = request(WRITE, 70, 0, {"refuse": 1}, 5)
    assert await count(cobs(refused), cobs(refused)) == ([{"rc": 10}] * 2, 1, 1)


async def test_another_write_is_another_one():
    write = request(WRITE, 70, 0, {"a": 1}, 5)
    for other in (
        request(WRITE, 70, 0, {"a": 1}, 6),
        request(WRITE, 70, 0, {"a": 2}, 5),
        request(WRITE, 70, 0, {"a": 1}, 5, V1),
    ):
        assert await count(cobs(write), cobs(other)) == ([{"asked": 1}, {"asked": 2}], 2, 0)
        # the first again, but not with nothing between
        assert (await count(cobs(write), cobs(other), cobs(write)))[1:] == (3, 0)
    link = Link(cobs(write) + console(write))
    group = Counting()
    await serve(Server(link, {70: group}, 512, 1, open_session()), link)
    assert group.asked == 2


async def test_after_a_read_or_a_silent_write_nothing_is_answered_from_memory():
    write = request(WRITE, 70, 0, {"a": 1}, 5)
    between = cobs(request(READ, 70, 0, None, 6))
    assert (await count(cobs(write), between, cobs(write)))[1:] == (2, 0)
    silent = cobs(request(WRITE, 70, 1, None, 6))
    assert await count(cobs(write), silent, cobs(write)) == ([{"asked": 1}, {"asked": 3}], 3, 0)
    assert await count(silent, silent) == ([], 2, 0)


async def test_the_same_write_much_later_is_a_new_one():
    real = server_module.core
    try:
        server_module.core = Clock()
        write = cobs(request(WRITE, 70, 0, {"a": 1}, 5))
        for later, asked in ((119_999, 1), (120_000, 2), (2**29 + 5, 2)):
            Clock.step = later
            assert (await count(write, write))[1] == asked, later
    finally:
        server_module.core = real


class Clock:
    """asyncio.core's, `step` ms later each time that it is read."""

    now = 0
    step = 0

    def ticks(self):
        Clock.now = (Clock.now + Clock.step) & (2**30 - 1)
        return Clock.now

    def ticks_diff(self, end, start):
        return ((end - start + 2**29) & (2**30 - 1)) - 2**29


async def test_application_info():
    async def info(format):
        return (await ask(request(READ, 0, 7, {"format": format} if format else {})))[1]

    assert await info(None) == {"output": "comms-hub"}
    assert await info("rns") == {"output": "comms-hub 00db1234 0.1.0"}
    assert (await info("a"))["output"].startswith("comms-hub 00db1234 0.1.0 micropython 1.")
    assert await info("sx") == {"err": {"group": 0, "rc": 2}}


async def test_heap_statistics():
    heap = HeapWatch()
    handlers = {0: OsGroup(Port(), "x", "1", heap)}
    kept = bytearray(20000)
    heap.sample()
    deepest = heap.lowest
    del kept
    pool = (await ask(request(READ, 0, 3), handlers))[1]["heap"]
    assert sorted(pool) == ["blksiz", "blksize", "min", "nblks", "nfree"]
    assert pool["blksize"] == pool["blksiz"] == 16
    assert pool["min"] <= deepest // 16
    assert pool["min"] <= pool["nfree"] < pool["nblks"]
    free = gc.mem_free()
    used = gc.mem_alloc()
    assert abs(pool["nblks"] * 16 - free - used) < 64
