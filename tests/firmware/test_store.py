# The image store on a real littlefs, in a RAM flash whose power can go at any operation.
import binascii
import gc
import hashlib
import json
import os

import vfs

from smets1.store import (
    BAD_OFFSET,
    FLASH,
    IN_USE,
    MISMATCH,
    NO_IMAGE,
    OVERFLOW,
    PREVIOUS,
    RUNNING,
    SILENT,
    STORED,
    TOO_LARGE,
    ImageStore,
    StoreError,
)
from smets1.store.flash import blocks_for, octets_in

BLOCK = 4096
BLOCKS = 34
FOLDER = "/t/images"
MEMORY = bytearray(BLOCK * BLOCKS)  # one flash for all tests: the heap holds no second one
LIMIT = 20000
OCTETS = bytearray(24000)  # what images are made of
for i in range(0, len(OCTETS), 32):
    OCTETS[i : i + 32] = hashlib.sha256(b"%d" % i).digest()


class Flash:
    """A block device over MEMORY. `left`: writes and erases until the power goes (None: it stays).

    The operation at which it goes is done by half (`torn`) or not, later ones not at all; they
    answer EIO, so whatever the store still tries is in vain. `once`: only that one fails.
    `failing`: a bad chip that answers EIO, to "writes" (and erases) or to "all".
    """

    def __init__(self, left=None, torn=False):
        self.left = left
        self.torn = torn
        self.dead = False
        self.once = False
        self.failing = None
        self.erased = 0

    def _change(self, start, content):
        if self.dead or self.failing:
            return -5
        n = len(content)
        fails = self.left == 0
        if fails:
            n = n // 2 if self.torn else 0
        memoryview(MEMORY)[start : start + n] = memoryview(content)[:n]
        if self.left is not None:
            self.left -= 1
        if fails:
            self.dead = not self.once
            return -5
        return 0

    def readblocks(self, block, buf, offset=0):
        if self.dead or self.failing == "all":
            return -5
        start = block * BLOCK + offset
        buf[:] = memoryview(MEMORY)[start : start + len(buf)]
        return 0

    def writeblocks(self, block, buf, offset=0):
        return self._change(block * BLOCK + offset, buf)

    def ioctl(self, op, arg):
        if op == 4:
            return BLOCKS
        if op == 5:
            return BLOCK
        if op == 6:
            self.erased += 1
            return self._change(arg * BLOCK, ERASED)
        return 0


ERASED = b"\xff" * BLOCK
flash = None
stores = []  # of this boot


def power_off():
    """What the file system still had open is lost."""
    if flash is not None:
        flash.dead = True
        for store in stores:
            for close in (store.upload and store.upload.close, store._close_reader):
                try:
                    if close:
                        close()
                except OSError:
                    pass
        stores.clear()
        vfs.umount("/t")
        gc.collect()


def power_on(left=None, torn=False):
    global flash
    flash = Flash(left, torn)
    vfs.mount(vfs.VfsLfs2(flash, progsize=256), "/t")


def start(capacity=LIMIT, behaviour="refuse"):
    store = ImageStore(FOLDER, capacity, behaviour)
    stores.append(store)
    return store


def fresh(capacity=LIMIT, behaviour="refuse"):
    """An empty flash, and a store on it."""
    power_off()
    for i in range(0, len(MEMORY), BLOCK):
        memoryview(MEMORY)[i : i + BLOCK] = ERASED
    vfs.VfsLfs2.mkfs(Flash(), progsize=256)
    power_on()
    return start(capacity, behaviour)


def again(capacity=LIMIT, behaviour="refuse"):
    """The store after the power went and came back."""
    power_off()
    power_on()
    return start(capacity, behaviour)


def octets(size, seed=0):
    return memoryview(OCTETS)[seed : seed + size]


def sha(size, seed=0):
    return hashlib.sha256(octets(size, seed)).digest()


def send(upload, seed=0, end=None, chunk=1000):
    data = octets(upload.size, seed)
    end = end or upload.size
    while upload.offset < end:
        upload.write(data[upload.offset : min(upload.offset + chunk, end)])


def put(store, size, seed=0, info=None):
    upload = store.reserve(size, sha(size, seed))
    send(upload, seed)
    return upload.seal(info)


def refused(kind, call, *args):
    try:
        call(*args)
    except StoreError as e:
        if e.kind != kind:
            raise
        return e
    raise AssertionError("not refused")


def files():
    return sorted(os.listdir(FOLDER))


def image_files():
    return [f for f in files() if f.endswith(".img")]


def adds_up(store):
    r = store.report()
    stored = sum(i.size for i in store.images() if i.state == STORED)
    assert r["used"] == stored
    assert r["reserved"] == (store.upload.size if store.upload else 0)
    assert r["free"] == max(0, r["capacity"] - r["used"] - r["reserved"])
    assert r["behaviour"] == store.behaviour


def check(store):
    """What must hold at any time."""
    adds_up(store)
    for image in store.images():
        assert store.digest(image) == image.sha
    assert len([i for i in store.images() if i.state == RUNNING]) <= 1
    known = ["{}.img".format(i.id) for i in store.images()]
    if store.upload and store.upload.offset == 0 and image_files() != known:
        known.append("{}.img".format(store.upload.id))  # begun, but not one octet is recorded
    elif store.upload and store.upload.offset:
        known.append("{}.img".format(store.upload.id))
    assert image_files() == sorted(known), (image_files(), known)


def run(store, image):
    store.run(image)
    store.confirm()


# -- an image comes in ---------------------------------------------------------------


def test_image_is_stored_with_its_identity_and_info():
    store = fresh()
    image = put(store, 9000, 3, {"version": "HUB3F0X", "hw": [1, 2]})
    assert (image.size, image.sha, image.state) == (9000, sha(9000, 3), STORED)
    assert store.find(sha=sha(9000, 3)) is image and store.find(id=image.id) is image
    assert store.find(sha=sha(10)) is None and store.find(id=99) is None and store.find() is None
    assert store.report() == {
        "capacity": LIMIT,
        "used": 9000,
        "reserved": 0,
        "free": 11000,
        "behaviour": "refuse",
    }
    check(store)
    store = again()
    assert store.recovered == ""
    (image,) = store.images()
    assert (image.size, image.sha, image.state) == (9000, sha(9000, 3), STORED)
    assert image.info == {"version": "HUB3F0X", "hw": [1, 2]}
    check(store)


def test_reserve_counts_before_the_first_octet():
    store = fresh()
    store.reserve(15000, sha(15000))
    assert store.report()["reserved"] == 15000 and store.report()["free"] == 5000


def test_without_a_sha_the_computed_one_is_the_identity():
    store = fresh()
    upload = store.reserve(5000)
    send(upload)
    image = upload.seal()
    assert image.sha == sha(5000) and image.info == {}
    # the same file once more is not stored twice
    upload = store.reserve(5000)
    send(upload)
    assert upload.seal({"v": 2}) is image
    assert len(store.images()) == 1 and again().images()[0].info == {"v": 2}
    check(again())


def test_same_image_is_already_complete():
    store = fresh()
    image = put(store, 5000)
    upload = store.reserve(5000, sha(5000))
    assert upload.offset == upload.size == 5000 and upload.image is image and upload.seal() is image
    upload.drop()  # nothing: it is sealed
    assert store.images() == [image] and store.report()["reserved"] == 0


def test_wrong_sha_drops_the_partial():
    store = fresh()
    upload = store.reserve(5000, sha(5000, 1))
    send(upload, seed=2)
    refused(MISMATCH, upload.seal)
    assert store.images() == [] and store.upload is None and store.report()["free"] == LIMIT
    check(store)
    check(again())


def test_octet_that_rots_in_flash_is_found_at_seal():
    store = fresh()
    upload = store.reserve(9000, sha(9000))
    send(upload)
    upload.close()
    at = MEMORY.find(OCTETS[5000:5064])
    MEMORY[at] ^= 1
    refused(MISMATCH, upload.seal)
    check(store)


def test_offsets_are_kept():
    store = fresh()
    upload = store.reserve(1000, sha(1000))
    send(upload, end=600)
    refused(BAD_OFFSET, upload.write, bytes(401))
    e = refused(BAD_OFFSET, upload.seal)
    assert (e.need, e.free) == (1000, 600)
    send(upload)
    upload.seal()
    refused(BAD_OFFSET, upload.write, b"x")
    refused(NO_IMAGE, store.reserve, 0)
    refused(MISMATCH, store.reserve, 10, b"short")


def test_ids_are_not_used_again():
    store = fresh()
    first, second = put(store, 1000, 1), put(store, 1000, 2)
    store.evict(second)
    third = put(again(), 1000, 3)
    fourth = again().reserve(1000, sha(1000, 4))
    send(fourth, seed=4, end=500)
    fourth.close()
    last = again().reserve(1000, sha(1000, 5))
    assert len({first.id, second.id, third.id, fourth.id, last.id}) == 5


# -- size (rules 3 to 6, 9, 34) ------------------------------------------------------


def test_exactly_at_the_limit_fits_under_every_behaviour():  # rule 5
    for behaviour in ("refuse", "overflow", "truncate", "silent"):
        store = fresh(LIMIT, behaviour)
        image = put(store, LIMIT)
        assert store.report()["free"] == 0
        store.evict(image)
        # ... and beside another image, in octets that do not divide the room
        put(store, 7001, 1)
        put(store, LIMIT - 7001, 2)
        assert store.report()["free"] == 0
        check(store)


def test_refuse_one_octet_over():  # rules 4 and 5
    store = fresh()
    before = bytes(binascii.crc32(MEMORY).to_bytes(4, "big"))
    e = refused(TOO_LARGE, store.reserve, LIMIT + 1, sha(LIMIT + 1))
    assert (e.need, e.free) == (LIMIT + 1, LIMIT) and "20001" in str(e) and "20000" in str(e)
    assert binascii.crc32(MEMORY).to_bytes(4, "big") == before  # nothing was written
    # for any device on this HAN (rule 34): another image of this size does not fit either
    refused(TOO_LARGE, store.reserve, LIMIT + 1, sha(LIMIT + 1, 5))
    put(store, 8000)
    e = refused(TOO_LARGE, store.reserve, 12001, sha(12001, 1))
    assert (e.need, e.free) == (12001, 12000)
    check(store)


def test_a_refusal_leaves_the_upload_alone():
    store = fresh()
    upload = store.reserve(9000, sha(9000))
    send(upload, end=4000)
    refused(TOO_LARGE, store.reserve, LIMIT + 1, sha(LIMIT + 1))
    assert store.reserve(9000, sha(9000)) is upload and upload.offset == 4000
    send(upload)
    upload.seal()
    check(store)


def over(behaviour, kind):
    store = fresh(LIMIT, behaviour)
    kept = put(store, 3000, 9)
    upload = store.reserve(17001, sha(17001))
    assert store.report()["free"] == 0
    send(upload, end=17000)  # up to the last octet of the room all is well
    e = refused(kind, upload.write, octets(17001)[17000:])
    assert (e.need, e.free) == (17001, 17000)
    assert store.images() == [kept] and store.upload is None  # nothing partial stays (rule 4)
    assert store.report()["free"] == 17000
    refused(NO_IMAGE, upload.write, b"x")
    refused(NO_IMAGE, upload.seal)
    check(store)
    put(store, 17000, 1)
    check(again(LIMIT, behaviour))


def test_overflow_fails_in_mid_transfer():
    over("overflow", OVERFLOW)


def test_silent_stops_in_mid_transfer():
    over("silent", SILENT)


def test_truncate_is_found_by_the_hash():
    store = fresh(LIMIT, "truncate")
    upload = store.reserve(LIMIT + 1, sha(LIMIT + 1))
    send(upload, chunk=1500)
    assert upload.offset == LIMIT + 1
    upload.close()
    assert os.stat(FOLDER + "/1.img")[6] == LIMIT
    e = refused(MISMATCH, upload.seal)
    assert (e.need, e.free) == (LIMIT + 1, LIMIT)
    assert store.images() == [] and store.report()["free"] == LIMIT
    check(store)


def test_truncated_upload_goes_on_after_a_reboot():
    store = fresh(LIMIT, "truncate")
    send(store.reserve(23000, sha(23000)), end=22000)
    store.upload.close()
    store = again(LIMIT, "truncate")
    upload = store.reserve(23000, sha(23000))
    assert upload.offset == LIMIT  # what flash holds
    send(upload)
    refused(MISMATCH, upload.seal)
    check(store)


def test_no_published_limit():  # rule 9
    store = fresh(None)
    report = store.report()
    assert report["capacity"] is None and report["free"] > 2 * LIMIT
    put(store, 24000)
    assert report["free"] - 7 * BLOCK < store.report()["free"] < report["free"] - 24000 + BLOCK


def test_flash_is_a_limit_of_its_own():
    for behaviour in ("refuse", "overflow", "truncate", "silent"):
        store = fresh(1 << 20, behaviour)
        e = refused(TOO_LARGE, store.reserve, BLOCK * BLOCKS, None)
        assert e.need == BLOCK * BLOCKS and BLOCK * BLOCKS * 2 // 5 < e.free < e.need
        assert image_files() == []
    store = fresh(None)
    refused(TOO_LARGE, store.reserve, 1 << 60, None)


def test_flash_can_be_filled_to_the_octet():
    store = fresh(None)
    free = store.report()["free"]
    refused(TOO_LARGE, store.reserve, free + 1, None)
    upload = store.reserve(free)
    assert store.report()["free"] == 0
    block = bytes(4000)
    while upload.offset < free:
        upload.write(memoryview(block)[: min(4000, free - upload.offset)])
        assert store.report()["free"] == 0  # whatever littlefs counts for an open file
    image = upload.seal()
    assert store.report()["free"] == 0
    refused(TOO_LARGE, store.reserve, 1, None)
    run(store, image)  # the journal still has room
    assert again(None).running().size == free


def test_free_flash_is_true_in_mid_upload():
    store = fresh(None)
    image = put(store, 9000, 1)
    free = store.report()["free"]
    upload = store.reserve(free - 15000, None)
    left = store.report()["free"]
    assert 15000 - BLOCK < left <= 15000
    while upload.offset < upload.size:  # though littlefs counts the open file's blocks twice
        upload.write(octets(min(4000, upload.size - upload.offset)))
        assert store.report()["free"] == left
    store.evict(image)
    assert left + 2 * BLOCK < store.report()["free"] <= left + 3 * BLOCK
    e = refused(TOO_LARGE, store.reserve, 1 << 20, None)
    assert e.free >= free  # the upload would make way
    upload.drop()
    assert store.report()["free"] == e.free


def test_a_file_that_someone_else_has_open_makes_no_room():
    store = fresh(None)
    with open("/t/other", "wb") as f:
        for _ in range(20):
            f.write(octets(4000))
            f.flush()
        f.write(octets(100))
        assert not 0 <= os.statvfs("/t")[3] <= BLOCKS  # nonsense, as littlefs counts it
        assert store.report()["free"] == 0
        refused(TOO_LARGE, store.reserve, 5000, None)


def test_block_arithmetic_is_that_of_littlefs():
    store = fresh(None)
    start = os.statvfs("/t")[3]
    for blocks in (2, 3, 5, 9):
        for size in (octets_in(blocks, BLOCK), octets_in(blocks, BLOCK) + 1):
            with open("/t/x", "wb") as f:
                f.write(memoryview(MEMORY)[:size])
            assert start - os.statvfs("/t")[3] == blocks_for(size, BLOCK), size
    assert store.images() == []
    for size in (0, 1, BLOCK, 512 * 1024, 12 << 20):
        n = blocks_for(size, BLOCK)
        assert octets_in(n, BLOCK) >= size and (n == 0 or octets_in(n - 1, BLOCK) < size)


# -- resume --------------------------------------------------------------------------


def test_resume_in_ram():
    store = fresh()
    upload = store.reserve(LIMIT, sha(LIMIT))
    send(upload, end=12345)
    assert store.reserve(LIMIT, sha(LIMIT)) is upload and upload.offset == 12345
    send(upload)
    upload.seal()
    check(store)


def test_resume_after_a_reboot():
    store = fresh()
    send(store.reserve(LIMIT, sha(LIMIT)), end=19000)
    store = again()
    assert store.report()["reserved"] == LIMIT
    upload = store.reserve(LIMIT, sha(LIMIT))
    assert 19000 - 16384 <= upload.offset < 19000 and upload.offset > 16000
    assert upload.offset == os.stat(FOLDER + "/1.img")[6]
    send(upload)
    upload.seal()
    check(store)
    check(again())


def test_resume_with_everything_there_only_needs_the_seal():
    store = fresh()
    send(store.reserve(9000, sha(9000)))
    store.upload.close()
    upload = again().reserve(9000, sha(9000))
    assert upload.offset == 9000 and upload.image is None
    assert upload.seal().sha == sha(9000)


def test_damage_before_the_reboot_is_found_at_seal():
    store = fresh()
    send(store.reserve(9000, sha(9000)), end=8000)
    store.upload.close()
    store = again()
    with open(FOLDER + "/1.img", "r+b") as f:
        f.seek(100)
        f.write(b"??")
    upload = store.reserve(9000, sha(9000))
    assert upload.offset == 8000
    send(upload)
    refused(MISMATCH, upload.seal)
    check(store)


def test_another_upload_takes_the_place():
    store = fresh()
    first = store.reserve(15000, sha(15000))
    send(first, end=9000)
    second = store.reserve(14000, sha(14000, 1))
    assert store.upload is second and store.report()["reserved"] == 14000
    refused(NO_IMAGE, first.write, b"x")
    refused(NO_IMAGE, first.seal)
    first.drop()
    assert store.upload is second
    send(second, seed=1)
    second.seal()
    check(store)


def test_without_a_sha_nothing_is_resumed():
    store = fresh()
    first = store.reserve(9000)
    send(first, end=4000)
    second = store.reserve(9000)
    assert second is not first and second.offset == 0


def test_drop():
    store = fresh()
    upload = store.reserve(15000, sha(15000))
    send(upload, end=9000)
    upload.drop()
    upload.drop()
    assert store.report()["free"] == LIMIT and image_files() == []
    check(again())


# -- out -----------------------------------------------------------------------------


def test_read_and_digest():
    store = fresh()
    image, other = put(store, 9000), put(store, 500, 7)
    buf = bytearray(65)
    for start in (0, 65, 130, 4090, 8950, 65):
        n = store.read(image, start, buf)
        assert n == min(65, 9000 - start) and buf[:n] == octets(9000)[start : start + n]
        store.read(other, 3, buf)
        assert buf == octets(65, 10)
    assert store.read(image, 9000, buf) == 0
    refused(BAD_OFFSET, store.read, image, 9001, buf)
    refused(BAD_OFFSET, store.read, image, -1, buf)
    assert store.digest(image, 62, 8000) == hashlib.sha256(octets(9000)[62:8000]).digest()
    assert store.digest(image, 62) == hashlib.sha256(octets(9000)[62:]).digest()
    assert store.digest(image, 5, 5) == hashlib.sha256(b"").digest()
    refused(BAD_OFFSET, store.digest, image, 0, 9001)
    refused(BAD_OFFSET, store.digest, image, 9, 8)


def test_evict_frees_the_budget():
    store = fresh()
    image = put(store, 15000)
    refused(TOO_LARGE, store.reserve, 5001, None)
    store.read(image, 0, bytearray(10))  # open while it goes
    store.evict(image)
    assert store.report()["free"] == LIMIT and image_files() == []
    refused(NO_IMAGE, store.evict, image)
    refused(NO_IMAGE, store.read, image, 0, bytearray(10))
    refused(NO_IMAGE, store.digest, image)
    refused(NO_IMAGE, store.run, image)
    put(store, LIMIT, 1)
    check(again())


def test_evict_lets_an_upload_go_on():
    store = fresh(LIMIT, "overflow")
    image = put(store, 10000)
    upload = store.reserve(15000, sha(15000, 1))
    send(upload, seed=1, end=9000)
    store.evict(image)
    send(upload, seed=1)
    upload.seal()
    check(store)


def test_run_swaps_the_running_image():
    store = fresh()
    assert store.running() is None
    first = put(store, 15000, 1, {"v": 1})
    run(store, first)
    assert store.running() is first and first.state == RUNNING
    assert store.report()["used"] == 0 and store.report()["free"] == LIMIT  # program memory
    refused(IN_USE, store.evict, first)
    second = put(store, 15000, 2, {"v": 2})
    assert store.report()["used"] == 15000
    run(store, second)
    run(store, second)
    assert store.images() == [second] and len(image_files()) == 1
    assert store.report()["free"] == LIMIT
    store = again()
    assert store.running().info == {"v": 2} and store.running().id == second.id
    check(store)


def on_trial():
    """A store whose first image runs, and whose second one is to start."""
    store = fresh()
    run(store, put(store, 15000, 1, {"v": 1}))
    store.run(put(store, 15000, 2, {"v": 2}))
    check(store)
    return again()


def test_an_image_that_confirms_stays():
    store = on_trial()
    assert store.boot() is None and store.running().info == {"v": 2}
    assert [i.state for i in store.images()] == [PREVIOUS, RUNNING]
    refused(IN_USE, store.evict, store.images()[0])
    assert store.report()["free"] == LIMIT  # neither counts in the budget
    store.confirm()
    for after in (store, again()):
        assert [i.info for i in after.images()] == [{"v": 2}] and not after.trial
        assert after.boot() is None
        check(after)


def test_an_image_that_never_confirms_is_given_up():
    assert on_trial().boot() is None
    failed = again().boot()  # it has started before
    assert failed.info == {"v": 2}
    store = again()
    assert [(i.info, i.state) for i in store.images()] == [({"v": 1}, RUNNING)] and not store.trial
    assert store.boot() is None
    check(store)


def test_the_first_image_ever_can_be_given_up():
    store = fresh()
    store.run(put(store, 5000))
    again().boot()
    assert again().boot().size == 5000
    assert again().images() == [] and again().running() is None
    check(again())


def test_an_image_on_trial_that_is_lost_gives_way_to_the_one_before():
    store = on_trial()
    os.remove(store.path(store.running().id))
    store = again()
    assert store.running().info == {"v": 1} and not store.trial and "lost" in store.recovered
    check(again())


def test_a_second_update_before_the_first_confirms_keeps_one_image_before_it():
    store = on_trial()
    store.boot()
    store.run(put(store, 9000, 3, {"v": 3}))
    assert [i.info["v"] for i in store.images() if i.state == PREVIOUS] == [2]
    check(again())


def test_images_of_the_store_before_a_reboot_are_known():
    image = put(fresh(), 5000)
    store = again()
    run(store, image)
    assert store.running().sha == image.sha


def test_a_note_stays_with_its_image():
    store = fresh()
    image = put(store, 5000, info={"v": 1})
    store.note(image, {"v": 1, "waiting": ["a"]})
    again_put = store.reserve(5000)  # sent once more, by someone who does not say its sha
    send(again_put)
    again_put.seal({"v": 1})
    for after in (store, again()):
        assert [i.info for i in after.images()] == [{"v": 1, "waiting": ["a"]}]
        check(after)
    gone = after.images()[0]
    after.evict(gone)
    refused(NO_IMAGE, after.note, gone, {})


def test_a_note_that_flash_does_not_take_is_not_there():
    store = fresh()
    image = put(store, 5000, info={"v": 1})
    flash.failing = "writes"
    refused(FLASH, store.note, image, {"v": 2})
    assert image.info == {"v": 1}
    flash.failing = None
    assert again().images()[0].info == {"v": 1}


# -- flash cost and flash errors -----------------------------------------------------


def test_an_upload_costs_little_more_than_its_blocks():
    store = fresh(100000)
    flash.erased = 0
    upload = store.reserve(60000)
    while upload.offset < 60000:
        upload.write(octets(1000))
    upload.seal()
    assert flash.erased <= blocks_for(60000, BLOCK) + 6, flash.erased


def test_a_failing_flash_is_an_error_and_the_state_stays():
    for failing in ("writes", "all"):
        store = fresh(50000)
        image = put(store, 9000, 1)
        upload = store.reserve(LIMIT, sha(LIMIT))
        send(upload, end=18000)
        safe = os.stat(FOLDER + "/2.img")[6]
        flash.failing = failing
        refused(FLASH, store.evict, image)
        refused(FLASH, store.run, image)
        refused(FLASH, send, upload)
        refused(FLASH, store.reserve, 100, None)
        assert image.state == STORED and store.images() == [image] and store.upload is upload
        assert upload.offset == safe > 16000  # go on from what littlefs has recorded
        flash.failing = None
        send(upload)
        upload.seal()
        check(store)
        store = again(50000)
        assert store.recovered == "" and len(store.images()) == 2
        check(store)


def test_one_failing_operation_leaves_ram_and_flash_of_one_mind():
    n, failed = 0, True
    while failed:
        store = fresh(CAPACITY)
        run(store, put(store, OLD, 1))
        put(store, 2000, 2)
        power_off()
        power_on(n)
        flash.once = True
        failed = False
        try:
            update()
        except StoreError as e:
            assert e.kind == FLASH
            failed = True
        said = what(stores[-1])
        store = again(CAPACITY)
        assert what(store) == said, (n, what(store), said)
        check(store)
        failed = failed or n < 30
        n += 1


def what(store):
    """Images, and the upload if it has begun: one without a file does not outlive a reboot."""
    id = store.upload and store.upload.id
    images = [(i.id, i.state) for i in store.images()]
    return images, id if "{}.img".format(id) in image_files() else None


def test_nothing_is_touched_when_flash_cannot_be_read_at_the_start():
    put(fresh(), 9000)
    power_off()
    power_on()
    flash.failing = "all"
    store = start()
    assert "flash error" in store.recovered and store.images() == []
    flash.failing = None
    refused(FLASH, store.reserve, 100, None)
    store = again()
    assert store.recovered == "" and store.images()[0].sha == sha(9000)


def test_a_flash_that_cannot_be_used_does_not_raise_at_the_start():
    fresh()
    store = ImageStore("/t/no/such/folder", LIMIT)
    assert "flash error" in store.recovered and store.images() == []
    refused(FLASH, store.reserve, 100, None)


# -- a journal that is wrong ---------------------------------------------------------


def spoil(path, content=None):
    if content is None:
        with open(path, "rb") as f:
            content = bytearray(f.read())
        content[len(content) // 2] ^= 1
    with open(path, "wb") as f:
        f.write(content)


JOURNAL = FOLDER + "/journal"
COPY = FOLDER + ".copy/journal"


def test_either_copy_of_the_journal_has_the_last_step():
    for path, words in (
        (JOURNAL, "journal bad, its copy used"),
        (COPY, "journal's copy bad, journal used"),
    ):
        store = fresh()
        first, second = put(store, 5000, 1, {"v": 1}), put(store, 6000, 2)
        run(store, first)
        spoil(path)
        store = again()
        assert store.recovered == words
        assert [(i.sha, i.state) for i in store.images()] == [
            (first.sha, RUNNING),
            (second.sha, STORED),
        ]
        assert store.images()[0].info == {"v": 1}
        check(store)
        assert again().recovered == ""  # it was put right
        spoil(JOURNAL if path == COPY else COPY)
        assert again().running().sha == first.sha  # by the one that was put right


def test_any_other_bit_in_the_journal_makes_it_bad():
    """Also one that leaves good JSON: another digit of a hash."""
    store = fresh()
    run(store, put(store, 1500, 1, {"v": 7}))
    with open(JOURNAL, "rb") as f:
        raw = f.read()
    for bit in range(0, 8 * len(raw), 37):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        spoil(JOURNAL, changed)
        store = again()
        assert store.recovered == "journal bad, its copy used", (bit, store.recovered)
        assert store.running().info == {"v": 7}


def test_each_bit_of_the_journal_may_rot():
    """A confirmed version 7 stays 7, and it shows; all bits of one copy, on the chip itself."""
    for path in (JOURNAL, COPY):
        store = fresh()
        run(store, put(store, 1500, 1, {"v": 6}))
        store.confirm()
        run(store, put(store, 1600, 2, {"v": 7}))
        store.confirm()
        with open(path, "rb") as f:
            raw = f.read()
        power_off()
        at = _of_this_file(raw, path)
        whole = _used_blocks()
        step = 7  # coprime to 8: every octet is struck, and each bit of an octet in turn
        for bit in range(0, 8 * len(raw), step):
            _put_back(whole)
            MEMORY[at + bit // 8] ^= 1 << bit % 8
            power_on()
            store = start()
            assert store.running().info == {"v": 7}, (path, bit)
            # in a block of its own it is bad; in its folder's block littlefs takes what was there before
            assert "journal" in store.recovered, (path, bit, store.recovered)
            power_off()
        _put_back(whole)
        power_on()


def _used_blocks():
    """{address: octets}; the heap has no room for the whole flash."""
    blocks = {}
    for start in range(0, len(MEMORY), BLOCK):
        octets = bytes(memoryview(MEMORY)[start : start + BLOCK])
        if octets != ERASED:
            blocks[start] = octets
    return blocks


def _put_back(blocks):
    for start in range(0, len(MEMORY), BLOCK):
        memoryview(MEMORY)[start : start + BLOCK] = blocks.get(start, ERASED)


def _of_this_file(raw, path):
    """Where in flash the octets of this file are: both copies have the same, so each is struck and looked at."""
    for start in range(0, len(MEMORY), BLOCK):
        at = bytes(memoryview(MEMORY)[start : start + BLOCK]).find(raw)
        if at >= 0:
            MEMORY[start + at] ^= 1
            power_on()
            with open(path, "rb") as f:
                found = f.read() != raw
            power_off()
            MEMORY[start + at] ^= 1
            if found:
                return start + at
    raise AssertionError(path)


def test_both_copies_that_went_back_show():
    """And a firmware that had confirmed since is not taken for one that never did."""
    store = fresh()
    run(store, put(store, 1000, 1, {"v": 6}))
    store.boot()
    store.confirm()
    store.run(put(store, 1000, 2, {"v": 7}))
    store.boot()
    with open(JOURNAL, "rb") as f:
        before = f.read()
    store.confirm()
    for path in (JOURNAL, COPY):
        spoil(path, before)
    store = again()
    assert "journal and its copy went back by 1 step(s)" in store.recovered
    assert store.boot() is None and store.running().info == {"v": 7}
    store.confirm()
    check(store)
    assert again().recovered == ""
    assert start().running().info == {"v": 7}


def test_a_copy_that_went_back_shows():
    """As when a block of its folder rots, and littlefs takes the one before."""
    for path, steps, words in (
        (JOURNAL, 1, "journal went back by 1 step(s), its copy used"),
        (JOURNAL, 3, "journal went back by 3 step(s), its copy used"),
        (COPY, 3, "journal's copy went back by 3 step(s), journal used"),
        (COPY, 1, "journal's copy went back by 1 step(s), journal used"),
    ):
        store = fresh()
        image = put(store, 1000)
        with open(path, "rb") as f:
            before = f.read()
        store.run(image)
        for _ in range(steps - 1):
            store._commit(store.images(), None)
        spoil(path, before)
        store = again()
        assert store.recovered == words, (path, steps, store.recovered)
        assert store.running().sha == image.sha
        check(store)
        assert again().recovered == ""


def test_fallback_proves_the_images():
    store = fresh()
    first = put(store, 5000, 1)
    put(store, 6000, 2)
    run(store, first)
    spoil(JOURNAL)
    with open(FOLDER + "/2.img", "r+b") as f:
        f.write(b"??")
    store = again()
    assert [i.sha for i in store.images()] == [first.sha] and "image 2 lost" in store.recovered
    check(store)


def test_no_good_journal_starts_empty():
    for content in (None, b"", b"12345678", b"\xff" * 300, b"zzzzzzzz{}"):
        store = fresh()
        put(store, 5000)
        send(store.reserve(6000, sha(6000, 1)), seed=1)
        for path in (JOURNAL, COPY):
            spoil(path, content)
        store = again()
        assert "no good copy" in store.recovered and "removed" in store.recovered
        assert store.images() == [] and store.upload is None and image_files() == []
        assert store.report()["free"] == LIMIT
        assert put(store, 5000).id > 1  # ids go on
        check(store)
        assert again().recovered == ""


def test_journal_with_a_good_crc_and_a_wrong_content():
    one = "00" * 32
    for state in (
        5,
        [],
        {},
        {"next": 1, "images": 3, "upload": None},
        {"next": 1, "images": [[1, 2]], "upload": None},
        {"next": 1, "images": [[1, 2, "00", "stored", {}]], "upload": None},
        {"next": 1, "images": [[1, 2, one, "lost", {}]], "upload": None},
        {"next": 1, "images": [[1, None, one, "stored", {}]], "upload": None},
        {"next": 1, "images": [[1, 2, one, "stored", 4]], "upload": None},
        {"next": 1, "images": [], "upload": [1]},
        {"next": None, "images": [], "upload": None},
    ):
        fresh()
        body = json.dumps(state).encode()
        for path in (JOURNAL, COPY):
            spoil(path, b"%08x" % binascii.crc32(body) + body)
        store = again()
        words = "journal bad, its copy bad: no good copy"
        assert store.recovered == words, (state, store.recovered)
        check(store)


def test_missing_journal():
    for path, words in (
        (JOURNAL, "journal missing, its copy used"),
        (COPY, "journal's copy missing, journal used"),
    ):
        store = fresh()
        put(store, 5000)
        os.remove(path)
        store = again()
        assert store.recovered == words
        assert store.images()[0].sha == sha(5000)
        check(store)
        assert again().recovered == ""


def test_orphans_and_lost_files():
    store = fresh()
    first, second, third = put(store, 3000, 1), put(store, 3000, 2), put(store, 3000, 3)
    with open(FOLDER + "/77.img", "wb") as f:
        f.write(b"left over")
    with open(FOLDER + "/notes.txt", "wb") as f:
        f.write(b"not ours")
    os.remove(FOLDER + "/{}.img".format(first.id))
    with open(FOLDER + "/{}.img".format(second.id), "ab") as f:
        f.write(b"x")
    store = again()
    assert [i.id for i in store.images()] == [third.id]
    assert "image 1 lost; image 2 lost" in store.recovered and "removed" in store.recovered
    assert "notes.txt" in files()
    check(store)
    assert put(store, 100, 9).id > 77
    assert again().recovered == ""


# -- power cuts: at every write and erase --------------------------------------------

CAPACITY = 24000
OLD, NEW = 3000, 18000
DONE = []  # how far the sequence came


def update():
    """reserve, write (over a checkpoint), seal, run, restart, confirm; resumes what is there."""
    store = start(CAPACITY)
    store.boot()
    store.confirm()
    upload = store.reserve(NEW, sha_new)
    DONE.append("reserved")
    send(upload, chunk=2500)
    DONE.append("written")
    image = upload.seal({"v": 2})
    DONE.append("sealed")
    store.run(image)
    if flash.dead:
        raise StoreError(
            FLASH
        )  # the power went as the journal's copy was written; so much for this start
    store = start(CAPACITY)
    store.boot()
    store.confirm()
    DONE.append("running")


def exchange():
    """An upload that is replaced, one that is dropped by its hash, an eviction."""
    store = start(CAPACITY)
    send(store.reserve(4000, sha(4000, 5)), seed=5, end=2000)
    upload = store.reserve(3500, sha_wrong)
    send(upload, seed=6)
    refused(MISMATCH, upload.seal)
    DONE.append("mismatch")
    if store.find(sha_stored):
        store.evict(store.find(sha_stored))
    DONE.append("evicted")


sha_old = sha(OLD, 1)
sha_new = sha(NEW)
sha_stored = sha(2000, 2)
sha_wrong = b"\x00" * 32


def cut_at(n, torn, sequence, after_cut, finished):
    """Cut at operation n of the sequence, then in the recovery; then all must be well.

    False when the sequence has no operation n.
    """
    store = fresh(CAPACITY)
    run(store, put(store, OLD, 1, {"v": 1}))
    put(store, 2000, 2)
    DONE.clear()
    power_off()
    power_on(n, torn)
    try:
        sequence()
    except StoreError:
        assert flash.dead
    if not flash.dead:
        return False
    power_off()
    power_on(n % 5, torn)
    start(CAPACITY)
    store = again(CAPACITY)
    assert "journal" not in store.recovered and "lost" not in store.recovered, store.recovered
    check(store)
    after_cut(store)
    sequence()
    store = again(CAPACITY)
    assert store.recovered == ""
    check(store)
    finished(store)
    return True


def cut_everywhere(sequence, after_cut, finished):
    for torn in (False, True):
        n = 0
        while cut_at(n, torn, sequence, after_cut, finished):
            n += 1
        assert n > 30, n


def test_power_cut_at_every_operation_of_an_update():
    def after_cut(store):
        new = store.find(sha_new)
        running = store.running()
        assert running.sha in (sha_old, sha_new)  # the old firmware or the new, never neither
        assert running.info == {"v": 2 if running is new else 1}
        assert store.find(sha_stored)
        if "running" in DONE:
            assert running is new and store.find(sha_old) is None
        elif "sealed" in DONE:
            assert new
        elif "written" in DONE:
            assert new or store.upload.offset > 16000
        elif "reserved" in DONE:
            assert new or store.upload is None or store.upload.sha == sha_new

    def finished(store):
        assert store.running().sha == sha_new and store.find(sha_old) is None
        assert len(store.images()) == 2 and store.upload is None

    cut_everywhere(update, after_cut, finished)


def test_power_cut_at_every_operation_of_drop_and_evict():
    def after_cut(store):
        assert store.running().sha == sha_old
        assert store.find(sha_wrong) is None
        if "evicted" in DONE:
            assert store.find(sha_stored) is None
        elif "mismatch" not in DONE:
            assert store.find(sha_stored)

    def finished(store):
        assert store.images() == [store.running()] and store.upload is None

    cut_everywhere(exchange, after_cut, finished)


def note():
    """Two notes on the image that is stored; DONE says how far it came."""
    store = start(CAPACITY)
    image = store.find(sha_stored)
    for n in (1, 2):
        store.note(image, {"n": n})
        DONE.append(n)


def test_power_cut_at_every_operation_of_a_note():
    def after_cut(store):
        done = DONE[-1] if DONE else 0
        assert store.find(sha_stored).info.get("n", 0) in (done, done + 1)
        assert store.running().info == {"v": 1}

    def finished(store):
        assert store.find(sha_stored).info == {"n": 2}

    for torn in (False, True):
        n = 0
        while cut_at(n, torn, note, after_cut, finished):
            n += 1
        assert n > 5, n
