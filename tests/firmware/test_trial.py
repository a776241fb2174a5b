# Which firmware a board runs, and what 11.3 does about it: the same for devices and for the CH.
import hashlib

from test_store import again, check, fresh, put

from smets1.han.tunnel import ACTIVATED, ACTIVATION_FAILURE, HASH_MISMATCH, NO_IMAGE_HELD
from smets1.roles.job import ACTIVATE, DISTRIBUTE, Job, of_record
from smets1.roles.trial import Trial
from smets1.store import RUNNING, STORED

FACTORY = "HUB3F0X"
HASHES = [hashlib.sha256(bytes((n,))).digest() for n in range(3)]


def info(n):
    return {
        "version": "NEW%d" % n,
        "file_version": 100 + n,
        "hash": "".join("%02x" % octet for octet in HASHES[n]),
        "boots": True,
    }


def trial_of(store, keep=False):
    return Trial(store, FACTORY, lambda name, text: None, keep)


def held(store):
    return [image for image in store.images() if image.state == STORED]


def activate(store, n):
    return trial_of(store).activate(HASHES[n], held(store))[0]


def test_a_board_runs_what_it_came_with_until_it_has_another():
    trial = trial_of(fresh())
    assert trial.version == FACTORY and not trial.on and not trial.runs(HASHES[0])


def test_what_11_3_answers():
    store = fresh()
    assert activate(store, 0) == NO_IMAGE_HELD
    put(store, 3000, info=info(0))
    assert activate(store, 1) == HASH_MISMATCH
    trial = trial_of(store)
    assert trial.activate(HASHES[0], []) == (NO_IMAGE_HELD, trial.file_version), "it is not its own"
    assert trial.activate(HASHES[0], held(store)) == (ACTIVATED, 100) and trial.restarts
    store = again()
    trial = trial_of(store)
    assert (trial.version, trial.file_version) == ("NEW0", 100) and trial.on and not trial.restarts
    assert trial.activate(HASHES[0], []) == (ACTIVATED, 100) and not trial.restarts, "asked again"


def test_an_image_that_flash_has_changed_does_not_start():
    store = fresh()
    image = put(store, 3000, info=info(0))
    with open(store.path(image.id), "r+b") as f:
        f.write(b"\xff")
    trial = trial_of(store)
    assert trial.activate(HASHES[0], held(store))[0] == ACTIVATION_FAILURE
    assert not trial.restarts and store.images() == []


def test_the_image_given_up_stays_where_nobody_else_has_it():
    for keep in (False, True):
        store = fresh()
        put(store, 3000, 1, info(1))
        trial_of(store, keep).activate(HASHES[1], held(store))
        assert not trial_of(again(), keep).gave_up(HASHES[1]), "its first start"
        store = again()
        trial = trial_of(store, keep)
        assert trial.gave_up(HASHES[1]) and not trial.gave_up(HASHES[0])
        assert trial.version == FACTORY and not trial.on
        assert [image.state for image in store.images()] == ([STORED] if keep else [])
        check(store)
        assert not trial_of(again(), keep).gave_up(HASHES[1]), "that was the start before"
        if keep:
            assert activate(again(), 1) == ACTIVATED
            assert again().running().state == RUNNING


def test_a_job_is_the_same_after_a_restart():
    eui = bytes(range(8))
    for op in (DISTRIBUTE, ACTIVATE):
        job = Job(7, op, eui, HASHES[0], HASHES[1], 2**63 - 1, 100)
        after = of_record(job.record())
        assert after.resumed and not job.resumed
        for name in ("number", "op", "eui", "hash", "sha", "counter", "jitter"):
            assert getattr(after, name) == getattr(job, name), name
