# Where the store ends and the flash begins.
import os

from test_store import BLOCK, FOLDER, OCTETS, again, check, fresh, octets, put, send, sha

from smets1.store.flash import octets_in

_FOR_LITTLEFS = 8  # blocks


def test_a_partial_that_is_longer_than_announced_is_not_gone_on_with():
    store = fresh()
    upload = store.reserve(3000, sha(3000))
    send(upload, end=2000)
    upload.close()
    path = store.path(upload.id)
    store = again()
    assert store.upload.offset == 2000
    with open(path, "ab") as f:
        f.write(octets(1001))
    store = again()
    assert store.upload is None and store.report()["reserved"] == 0
    check(store)


def test_without_a_budget_all_but_littlefs_own_blocks_is_free():
    store = fresh(None)
    free = os.statvfs(FOLDER)[3] - _FOR_LITTLEFS
    assert store.report()["free"] == octets_in(free, BLOCK)
    put(store, 3 * BLOCK)
    left = os.statvfs(FOLDER)[3] - _FOR_LITTLEFS
    assert left < free and store.report()["free"] == octets_in(left, BLOCK)
    assert len(OCTETS) < octets_in(free, BLOCK), "so the flash is the limit, not these octets"
