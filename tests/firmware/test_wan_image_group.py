# Uploads into a real store on a real littlefs, through the whole server.
import asyncio
import gc
import hashlib

import vfs
from test_wan_framing import Link, cobs, console, unframe
from test_wan_server import READ, V1, V2, WRITE, open_session, parse, request, serve

from smets1.store import (
    BAD_OFFSET,
    FLASH,
    IN_USE,
    MISMATCH,
    NO_IMAGE,
    OVERFLOW,
    SILENT,
    TOO_LARGE,
    ImageStore,
    StoreError,
)
from smets1.wan import cbor
from smets1.wan.framing import COBS
from smets1.wan.image_group import GROUP, INVALID_IMAGE_HEADER, ImageGroup
from smets1.wan.server import Server
from smets1.wan.smp import EBUSY, SmpError

FOLDER = "/wan/images"
BLOCK = 4096
MEMORY = bytearray(BLOCK * 24)
IMAGE = bytearray(24000)
for i in range(0, len(IMAGE) - 31, 32):
    IMAGE[i : i + 32] = hashlib.sha256(b"%d" % i).digest()
IMAGE = bytes(IMAGE)
SHA = hashlib.sha256(IMAGE).digest()
CHUNK = 2000


class Flash:
    dead = False  # the power went

    def readblocks(self, block, buf, offset=0):
        if self.dead:
            return -5
        start = block * BLOCK + offset
        buf[:] = memoryview(MEMORY)[start : start + len(buf)]
        return 0

    def writeblocks(self, block, buf, offset=0):
        if self.dead:
            return -5
        start = block * BLOCK + offset
        memoryview(MEMORY)[start : start + len(buf)] = buf
        return 0

    def ioctl(self, op, arg):
        if op == 4:
            return len(MEMORY) // BLOCK
        if op == 5:
            return BLOCK
        return 0


flash = None
stores = []  # that are on this flash


def power_off():
    """Files that are still open lose what littlefs has not recorded."""
    if flash is None or flash.dead:
        return
    flash.dead = True
    for store in stores:
        if store.upload:
            try:
                store.upload.close()
            except OSError:
                pass
    stores.clear()
    vfs.umount("/wan")
    gc.collect()


def power_on(capacity=None, behaviour="refuse"):
    global flash
    power_off()
    flash = Flash()
    vfs.mount(vfs.VfsLfs2(flash), "/wan")
    stores.append(ImageStore(FOLDER, capacity, behaviour))
    return stores[0]


def fresh_store(capacity=None, behaviour="refuse"):
    power_off()
    vfs.VfsLfs2.mkfs(Flash())
    return power_on(capacity, behaviour)


def on_flash(test):
    async def run():
        try:
            await test()
        finally:
            power_off()

    return run


class Hub:
    """A role: notes what it was asked, and can be told to say no."""

    head_octets = 101

    def __init__(self):
        self.busy = False
        self.bad_head = False
        self.bad_image = False
        self.slow = False
        self.asked = []

    def may_upload(self):
        if self.busy:
            raise SmpError(EBUSY)

    def check_head(self, octets, size):
        self.asked.append(("head", bytes(octets[:4]), size))
        if self.bad_head:
            raise SmpError(INVALID_IMAGE_HEADER, GROUP)

    def accept(self, upload):
        self.asked.append(("accept", upload.size, upload.offset))
        if self.bad_image:
            raise SmpError(INVALID_IMAGE_HEADER, GROUP)
        return self._later() if self.slow else {"version": "IHDAE06"}

    async def _later(self):
        await asyncio.sleep_ms(1)
        return {"version": "IHDAE06"}


class Client:
    """Asks one server; keeps nothing between requests but the sequence number."""

    def __init__(self, store, hub=None, version=V2):
        self.hub = hub or Hub()
        self.version = version
        self.sequence = 0
        self.groups = {GROUP: ImageGroup(store, self.hub)}

    async def ask(self, op, command, payload=None):
        """The answer's payload, None if there is no answer."""
        return (await self.ask_all([(op, command, payload)]))[0]

    async def ask_all(self, requests):
        """Answers to requests that are all under way at once, None where there was none."""
        first = self.sequence
        messages = []
        for op, command, payload in requests:
            messages.append(
                cobs(request(op, GROUP, command, payload, self.sequence & 255, self.version))
            )
            self.sequence += 1
        link = Link(b"".join(messages), 1000)
        messages = None
        sent = await serve(Server(link, self.groups, 4096, 4, open_session()), link)
        answers = {head[3]: payload for head, payload in [parse(m) for m in unframe(sent, COBS)]}
        return [answers.get(n & 255) for n in range(first, self.sequence)]

    async def chunk(self, off, image=IMAGE, size=CHUNK, sha=SHA):
        return await self.ask(WRITE, 1, chunk(off, image, size, sha))

    async def upload(self, image=IMAGE, size=CHUNK, sha=SHA, off=0, until=None):
        """As smpclient does: each answer says where to go on. The last answer."""
        answer = {"off": off}
        while "off" in answer and answer["off"] < (until or len(image)):
            answer = await self.chunk(answer["off"], image, size, sha)
            if answer is None or answer.get("match"):
                return answer
        return answer


def chunk(off, image=IMAGE, size=CHUNK, sha=SHA):
    start = min(off, len(image))
    payload = {"off": off, "data": image[start : start + size]}
    if off == 0:
        payload["len"] = len(image)
        payload["image"] = 0
        payload["upgrade"] = False
        if sha:
            payload["sha"] = sha
    return payload


def refusal(rc):
    return {"err": {"group": GROUP, "rc": rc}}


@on_flash
async def test_an_upload_ends_in_the_store():
    store = fresh_store()
    client = Client(store)
    assert await client.upload() == {"off": len(IMAGE), "match": True}
    assert client.hub.asked == [("head", IMAGE[:4], len(IMAGE)), ("accept", len(IMAGE), len(IMAGE))]
    image = store.images()[0]
    assert store.digest(image) == SHA == image.sha and image.info == {"version": "IHDAE06"}
    assert await client.ask(READ, 0) == {
        "images": [{"slot": image.id, "image": 0, "version": "IHDAE06", "hash": SHA}]
    }
    store.run(image)
    assert (await client.ask(READ, 0))["images"][0] == {
        "slot": image.id,
        "image": 0,
        "version": "IHDAE06",
        "hash": SHA,
        "bootable": True,
        "confirmed": True,
        "active": True,
    }


@on_flash
async def test_accept_may_take_its_time():
    client = Client(fresh_store())
    client.hub.slow = True
    assert await client.upload() == {"off": len(IMAGE), "match": True}


@on_flash
async def test_an_upload_without_a_sha():
    store = fresh_store()
    assert await Client(store).upload(sha=None) == {"off": len(IMAGE)}  # nothing to match with
    assert store.images()[0].sha == SHA


@on_flash
async def test_the_image_that_is_there_already_is_not_sent_again():
    store = fresh_store()
    client = Client(store)
    await client.upload()
    assert await client.chunk(0) == {"off": len(IMAGE), "match": True}
    assert len(store.images()) == 1
    assert len([a for a in client.hub.asked if a[0] == "accept"]) == 1


@on_flash
async def test_a_duplicate_chunk_is_not_written_twice():
    store = fresh_store()
    client = Client(store)
    await client.chunk(0)
    for off in (0, 0, CHUNK, CHUNK, 0, CHUNK):
        await client.chunk(off)
    assert store.upload.offset == 2 * CHUNK
    assert await client.upload(off=2 * CHUNK) == {"off": len(IMAGE), "match": True}


@on_flash
async def test_a_chunk_from_elsewhere_is_told_where_to_go_on():
    client = Client(fresh_store())
    assert await client.chunk(0) == {"off": CHUNK}
    for off in (2 * CHUNK, CHUNK - 1, CHUNK + 1, len(IMAGE) - 10, 1 << 31):
        assert await client.chunk(off) == {"off": CHUNK}
    assert await client.upload(off=CHUNK) == {"off": len(IMAGE), "match": True}


@on_flash
async def test_several_chunks_under_way_and_one_lost():
    client = Client(fresh_store())
    requests = [(WRITE, 1, chunk(n * CHUNK)) for n in range(5)]
    del requests[2]
    answers = await client.ask_all(requests)
    assert answers == [{"off": CHUNK}, {"off": 2 * CHUNK}, {"off": 2 * CHUNK}, {"off": 2 * CHUNK}]
    requests = [(WRITE, 1, chunk(n * CHUNK)) for n in range(2, 7)]
    assert [a["off"] for a in await client.ask_all(requests)] == [n * CHUNK for n in range(3, 8)]
    assert await client.upload(off=7 * CHUNK) == {"off": len(IMAGE), "match": True}


@on_flash
async def test_the_answer_to_the_last_chunk_was_lost():
    client = Client(fresh_store())
    await client.upload()
    assert await client.chunk(len(IMAGE) // CHUNK * CHUNK - CHUNK, size=CHUNK) == {
        "off": len(IMAGE),
        "match": True,
    }
    assert await client.chunk(CHUNK) == {"off": 0}  # any other chunk: nothing is open


@on_flash
async def test_a_chunk_with_no_upload_open():
    assert await Client(fresh_store()).chunk(CHUNK) == {"off": 0}


@on_flash
async def test_resume_after_a_reboot():
    client = Client(fresh_store())
    await client.upload(until=20000)
    store = power_on()
    client = Client(store)
    kept = store.upload.offset
    assert 0 < kept < 20000
    assert await client.chunk(CHUNK * 3) == {"off": 0}
    assert await client.chunk(0) == {"off": kept}  # the first chunk's octets are there already
    assert await client.upload(off=kept) == {"off": len(IMAGE), "match": True}
    assert store.digest(store.images()[0]) == SHA


@on_flash
async def test_resume_when_only_the_seal_is_missing():
    store = fresh_store()
    upload = store.reserve(len(IMAGE), SHA)
    upload.write(IMAGE)
    assert await Client(store).chunk(0) == {"off": len(IMAGE), "match": True}


@on_flash
async def test_another_image_takes_the_place_of_an_unfinished_one():
    store = fresh_store()
    client = Client(store)
    await client.upload(until=8000)
    other = IMAGE[:-1]
    sha = hashlib.sha256(other).digest()
    assert await client.upload(other, sha=sha) == {"off": len(other), "match": True}
    assert [i.sha for i in store.images()] == [sha]


@on_flash
async def test_exactly_at_the_limit_and_one_octet_over():  # rules 4 and 5
    store = fresh_store(len(IMAGE))
    assert (await Client(store).upload())["match"] is True
    store = fresh_store(len(IMAGE) - 1)
    client = Client(store)
    assert await client.chunk(0) == refusal(30)
    assert await client.chunk(CHUNK) == {"off": 0}
    assert store.images() == [] and store.report()["used"] == 0


@on_flash
async def test_the_size_behaviours():  # rule 6
    client = Client(fresh_store(20000, "overflow"))
    assert await client.upload() == refusal(31)
    assert await client.chunk(20000) == {"off": 0}

    client = Client(fresh_store(20000, "truncate"))
    assert await client.upload() == refusal(24)
    assert await client.ask(READ, 0) == {"images": []}

    client = Client(fresh_store(20000, "silent"))
    assert await client.upload(until=20000) == {"off": 20000}
    for _ in range(3):
        assert await client.chunk(20000) is None
    assert await client.ask(READ, 0) == {"images": []}  # the hub itself is well
    assert await client.chunk(0) == {"off": CHUNK}  # and a new upload begins as the first did


@on_flash
async def test_a_wrong_hash():
    store = fresh_store()
    wrong = hashlib.sha256(b"another").digest()
    assert await Client(store).upload(sha=wrong) == refusal(24)
    assert store.images() == [] and store.upload is None


@on_flash
async def test_a_head_that_comes_in_pieces_is_collected():
    for size in (1, 7, 50, 100, 101, 102):
        store = fresh_store()
        client = Client(store)
        head = IMAGE[:300]
        sha = hashlib.sha256(head).digest()
        assert await client.upload(head, size, sha) == {"off": 300, "match": True}, size
        assert client.hub.asked == [("head", IMAGE[:4], 300), ("accept", 300, 300)]
        assert store.digest(store.images()[0]) == sha


@on_flash
async def test_nothing_is_reserved_before_the_head_is_there_and_good():
    store = fresh_store()
    client = Client(store)
    client.hub.bad_head = True
    for off in (0, 50):
        assert await client.chunk(off, size=50) == {"off": off + 50}
        assert store.upload is None and client.hub.asked == []
    assert await client.chunk(20, size=50) == {"off": 100}, "it wants what comes next"
    assert await client.chunk(100, size=50) == refusal(INVALID_IMAGE_HEADER)
    assert store.upload is None and len(client.hub.asked) == 1
    assert await client.chunk(150, size=50) == {"off": 0}
    client.hub.bad_head = False
    assert await client.chunk(0, size=0) == {"off": 0}
    assert await client.chunk(0, size=50) == {"off": 50}
    client.hub.busy = True
    assert await client.chunk(0, size=50) == {"rc": EBUSY}


@on_flash
async def test_an_upload_in_small_pieces_goes_on_where_it_stopped():
    store = fresh_store()
    await Client(store).upload(until=20000)
    store = power_on()
    kept = store.upload.offset
    assert kept > 4096
    client = Client(store)
    assert await client.chunk(0, size=60) == {"off": 60}
    assert await client.chunk(60, size=60) == {"off": kept}
    assert await client.upload(off=kept) == {"off": len(IMAGE), "match": True}
    assert store.digest(store.images()[0]) == SHA


@on_flash
async def test_more_octets_than_announced_in_a_head():
    client = Client(fresh_store())
    whole = {"off": 0, "data": IMAGE[:50], "len": 80}
    assert await client.ask(WRITE, 1, whole) == {"off": 50}
    assert await client.ask(WRITE, 1, {"off": 50, "data": IMAGE[50:90]}) == refusal(31)


@on_flash
async def test_slot_info_says_how_large_an_image_may_be():
    store = fresh_store(12000)
    client = Client(store)
    free = {"slot": 0, "size": 12000, "upload_image_id": 0}
    assert await client.ask(READ, 6) == {
        "images": [{"image": 0, "slots": [free], "max_image_size": 12000}]
    }
    await client.upload(IMAGE[:5000], sha=None)
    await client.upload(IMAGE[:3000], sha=None, until=2000)  # one that is not whole yet
    held = store.images()[0]
    room = 12000 - 5000
    assert await client.ask(READ, 6) == {
        "images": [
            {
                "image": 0,
                "slots": [
                    {"slot": 0, "size": room, "upload_image_id": 0},
                    {"slot": held.id, "size": 5000},
                ],
                "max_image_size": room,
            }
        ]
    }
    for size, fits in ((room, True), (room + 1, False)):
        answer = await client.ask(WRITE, 1, {"off": 0, "data": IMAGE[:200], "len": size})
        assert ("off" in answer) is fits, size
    for capacity in (None, 1 << 30):  # flash is the limit
        client = Client(fresh_store(capacity))
        room = (await client.ask(READ, 6))["images"][0]["max_image_size"]
        assert 0 < room < len(MEMORY)
        for size, fits in ((room, True), (room + 1, False)):
            answer = await client.ask(WRITE, 1, {"off": 0, "data": IMAGE[:200], "len": size})
            assert ("off" in answer) is fits, size


@on_flash
async def test_the_role_may_refuse_head_image_and_moment():
    store = fresh_store()
    client = Client(store)
    client.hub.bad_head = True
    assert await client.chunk(0) == refusal(22)
    assert store.upload is None  # nothing was reserved
    client.hub.bad_head = False
    client.hub.bad_image = True
    assert await client.upload() == refusal(22)
    assert store.images() == [] and store.upload is None
    client.hub.bad_image = False
    await client.upload()
    client.hub.busy = True
    assert await client.chunk(0) == {"rc": EBUSY}
    assert await client.ask(WRITE, 5, {"slot": store.images()[0].id}) == {"rc": EBUSY}
    assert len(store.images()) == 1


@on_flash
async def test_more_octets_than_announced():
    store = fresh_store()
    client = Client(store)
    await client.upload(until=22000)
    assert await client.ask(WRITE, 1, {"off": 22000, "data": bytes(2001)}) == refusal(31)
    assert store.upload.offset == 22000
    assert await client.upload(off=22000) == {"off": len(IMAGE), "match": True}


@on_flash
async def test_bad_fields():
    client = Client(fresh_store())
    for payload, answer in (
        ({}, refusal(20)),
        ({"off": -1}, refusal(20)),
        ({"off": "0"}, refusal(20)),
        ({"off": 0, "data": "text"}, {"rc": 3}),
        ({"off": 0, "data": b"x"}, refusal(21)),
        ({"off": 0, "data": b"x", "len": 0}, refusal(21)),
        ({"off": 0, "data": b"x", "len": -5}, refusal(21)),
        ({"off": 0, "data": b"x", "len": 9, "sha": bytes(31)}, refusal(24)),
        ({"off": 0, "data": b"x", "len": 9, "sha": "x"}, refusal(24)),
    ):
        assert await client.ask(WRITE, 1, payload) == answer, payload
    assert (await client.ask(WRITE, 1, {"off": 0, "data": bytes(101), "len": 1 << 40})) == refusal(
        30
    )


@on_flash
async def test_erase():
    store = fresh_store()
    client = Client(store)
    await client.upload()
    slot = store.images()[0].id
    assert await client.ask(WRITE, 5, {"slot": slot + 1}) == refusal(3)
    assert await client.ask(WRITE, 5, {"slot": -1}) == refusal(14)
    assert await client.ask(WRITE, 5, {"slot": slot}) == {}
    assert store.images() == []
    assert (await client.upload())["match"] is True  # there is room again
    store.run(store.images()[0])
    assert await client.ask(WRITE, 5, {"slot": store.images()[0].id}) == refusal(9)


@on_flash
async def test_a_version_1_client():
    client = Client(fresh_store(20000), version=V1)
    assert await client.chunk(0) == {"rc": 2}  # no room
    assert await client.ask(WRITE, 5, {"slot": 9}) == {"rc": 5}
    assert await client.ask(WRITE, 5, {"slot": "9"}) == {"rc": 3}


class Stub:
    """A store that says no, or swallows everything."""

    def __init__(self, kind=None):
        self.kind = kind
        self.upload = None

    def reserve(self, size, sha=None):
        if self.kind:
            raise StoreError(self.kind)
        self.upload = self.upload or Sink(size, sha)
        return self.upload

    def images(self):
        return []


class Sink:
    image = None

    def __init__(self, size, sha):
        self.size = size
        self.sha = sha
        self.offset = 0
        self.digest = hashlib.sha256()

    def write(self, buf):
        self.digest.update(buf)
        self.offset += len(buf)

    def seal(self, info):
        if self.digest.digest() != self.sha:
            raise StoreError(MISMATCH)


async def test_each_refusal_of_the_store_has_its_code():
    for kind, rc in (
        (TOO_LARGE, 30),
        (OVERFLOW, 31),
        (MISMATCH, 24),
        (NO_IMAGE, 3),
        (BAD_OFFSET, 20),
        (FLASH, 12),
        (IN_USE, 9),
    ):
        assert await Client(Stub(kind)).chunk(0) == refusal(rc), kind
    assert await Client(Stub(SILENT)).chunk(0) is None


class Uploader(Link):
    """Sends 500 chunks, each when the answer to the one before is there."""

    def __init__(self, frame):
        Link.__init__(self)
        self.frame = frame
        self.chunks = 0
        self.heap = []
        self.data = bytes(range(200))
        whole = hashlib.sha256()
        for _ in range(500):
            whole.update(self.data)
        self.sha = whole.digest()

    async def write(self, buf):
        self.answer = bytes(buf)

    async def readinto(self, buf):
        if self.at == len(self.incoming):
            if self.chunks == 500:
                raise EOFError
            if self.chunks % 100 == 50:
                gc.collect()
                self.heap.append(gc.mem_alloc())
            payload = {"off": self.chunks * 200, "data": self.data}
            if not self.chunks:
                payload["len"] = 100000
                payload["sha"] = self.sha
            self.incoming = self.frame(request(WRITE, GROUP, 1, payload, self.chunks & 255))
            self.at = 0
            self.chunks += 1
        return await Link.readinto(self, buf)


async def test_500_chunks_leave_the_heap_as_it_was():
    for frame in (console, cobs):
        store = Stub()
        link = Uploader(frame)
        server = Server(link, {GROUP: ImageGroup(store, Hub())}, 512, 1, open_session())
        await serve(server, link)
        assert store.upload.offset == 100000 and server.failures == 0
        assert server.reader.dropped == 0
        assert max(link.heap) - min(link.heap) < 512, link.heap


async def test_the_octets_of_a_chunk_are_never_copied():
    """What the store is given lies in the server's receive buffer."""

    class Peek(Sink):
        def write(self, buf):
            seen.append(buf)
            Sink.write(self, buf)

    seen = []
    store = Stub()
    store.upload = Peek(len(IMAGE), SHA)
    server = Server(None, {GROUP: ImageGroup(store, Hub())}, 4096, 1, open_session())
    server.reader._link = Link(cobs(request(WRITE, GROUP, 1, chunk(0))))
    message = await server.reader.read()
    await server._answer(message)
    assert isinstance(seen[0], memoryview) and bytes(seen[0]) == IMAGE[:CHUNK]
    for i in range(len(message)):
        message[i] = 0x5A
    assert bytes(seen[0]) == b"\x5a" * CHUNK


async def test_the_longest_state_answer_fits():
    class Full(Stub):
        def images(self):
            return [Entry(n) for n in range(40)]

    class Entry:
        def __init__(self, id):
            self.id = id
            self.sha = SHA
            self.state = "running" if id == 0 else "stored"
            self.info = {"version": "IHDAE06"}

    answer = await Client(Full()).ask(READ, 0)
    assert 8 < len(answer["images"]) < 40
    assert cbor.size(answer) <= 1024 - 8
