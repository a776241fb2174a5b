"""The sweep's eye: each thing that a power cut must not do is seen, and named."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from labs import make_image

from hanlab.images import OtaImage
from hanlab.sweep.check import breaches
from hanlab.wan.messages import PartialImage, StoredImage, StoreReadResponse

OLD, NEW = make_image(500, "IHDAE05"), make_image(900, "IHDAE06")


def stored(number: int, image: OtaImage, state: str) -> StoredImage:
    return StoredImage(
        id=number,
        size=len(image.to_bytes()),
        state=state,
        sha=image.file_hash,
        hash=image.manufacturer_image_hash,
        type="PPMID",
        version=image.version,
        ok=True,
    )


def report(*images: StoredImage, partial: PartialImage | None = None) -> dict[str, Any]:
    used = sum(image.size for image in images if image.state == "stored")
    reserved = partial.size if partial else 0
    return {
        "used": used,
        "reserved": reserved,
        "capacity": 10_000,
        "free": 10_000 - used - reserved,
        "behaviour": "refuse",
        "images": list(images),
        "partial": partial,
        "recovered": "",
    }


class Bench:
    """A lab in which all is well: the device runs OLD, the CH holds NEW."""

    def __init__(self) -> None:
        self.hub = SimpleNamespace(name="hub", is_hub=True)
        self.device = SimpleNamespace(name="PPMID", is_hub=False)
        self.runs = OLD.version
        self.stores = {
            "hub": report(stored(1, NEW, "stored")),
            "PPMID": report(stored(1, OLD, "running")),
        }

    async def wait_until_back(self, device: Any) -> Any:
        return SimpleNamespace(firmware=self.runs)

    async def store_of(self, board: Any, *, verify: bool) -> StoreReadResponse:
        assert verify
        return StoreReadResponse.model_construct(**self.stores[board.name])

    def found(self, *, pushed: bool = True) -> list[str]:
        lab = cast("Any", self)
        may_run = (OLD.version, NEW.version)
        return asyncio.run(breaches(lab, lab.device, OLD, NEW, may_run=may_run, pushed=pushed))


def test_all_is_well() -> None:
    assert Bench().found() == []


def _ch_lost_it(b: Bench) -> None:
    b.stores["hub"] = report()


def _runs_another(b: Bench) -> None:
    b.runs = "IHDAE99"


def _store_says_another(b: Bench) -> None:
    b.runs = NEW.version


def _nothing_runs(b: Bench) -> None:
    b.stores["PPMID"] = report()


def _runs_on_the_ch(b: Bench) -> None:
    b.stores["hub"] = report(stored(1, NEW, "running"))


def _none_that_was_sent(b: Bench) -> None:
    b.stores["hub"] = report(stored(1, NEW, "stored"), stored(2, make_image(700, "X"), "stored"))


def _another_size(b: Bench) -> None:
    (image,) = b.stores["hub"]["images"]
    b.stores["hub"]["images"] = [image.model_copy(update={"size": image.size + 1})]
    b.stores["hub"]["used"] += 1
    b.stores["hub"]["free"] -= 1


def _damaged(b: Bench) -> None:
    (image,) = b.stores["hub"]["images"]
    b.stores["hub"]["images"] = [image.model_copy(update={"ok": False})]


def _twice(b: Bench) -> None:
    b.stores["hub"] = report(stored(1, NEW, "stored"), stored(2, NEW, "stored"))


def _used_is_wrong(b: Bench) -> None:
    b.stores["hub"]["used"] += 1
    b.stores["hub"]["free"] -= 1


def _does_not_add_up(b: Bench) -> None:
    b.stores["PPMID"]["free"] += 1


def _reserved_for_nothing(b: Bench) -> None:
    b.stores["hub"]["reserved"] = 10
    b.stores["hub"]["free"] -= 10


def partial(octets: bytes, off: int = 100) -> PartialImage:
    whole = NEW.to_bytes()
    sha, digest = hashlib.sha256(whole).digest(), hashlib.sha256(octets).digest()
    return PartialImage(id=2, sha=sha, size=len(whole), off=off, digest=digest)


def _partial_is_not_what_was_sent(b: Bench) -> None:
    b.stores["PPMID"] = report(stored(1, OLD, "running"), partial=partial(bytes(100)))


def _reserved_is_another_size(b: Bench) -> None:
    b.stores["PPMID"] = report(stored(1, OLD, "running"), partial=partial(NEW.to_bytes()[:100]))
    b.stores["PPMID"]["reserved"] += 1
    b.stores["PPMID"]["free"] -= 1


def _mended_too_much(b: Bench) -> None:
    b.stores["PPMID"]["recovered"] = "image 1 lost"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_ch_lost_it, "hub has lost IHDAE06"),
        (_runs_another, "PPMID runs IHDAE99, not IHDAE05 or IHDAE06"),
        (_store_says_another, "PPMID runs IHDAE06, its store says ['IHDAE05']"),
        (_nothing_runs, "PPMID runs IHDAE05, its store says []"),
        (_runs_on_the_ch, "hub: an image for a device is said to run on the CH"),
        (_none_that_was_sent, "hub: image 2 is none that was sent"),
        (_another_size, "hub: image 1 is none that was sent"),
        (_damaged, "hub: image 1 (IHDAE06) is half readable, or damaged"),
        (_twice, "hub: it holds an image twice"),
        (_used_is_wrong, "B used, but its stored images have"),
        (_does_not_add_up, "used, reserved and free are 10,001 B, not 10,000 B"),
        (_reserved_for_nothing, "hub: 10 B reserved for no upload"),
        (_partial_is_not_what_was_sent, "the first 100 B of its upload are not what was sent"),
        (_reserved_is_another_size, "B reserved for an upload of"),
        (_mended_too_much, "its store had to mend more than a power cut may do"),
    ],
)
def test_what_does_not_hold_is_a_breach(spoil: Callable[[Bench], None], words: str) -> None:
    bench = Bench()
    spoil(bench)
    assert any(words in breach for breach in bench.found()), bench.found()


def test_before_the_push_is_done_the_ch_need_not_have_it() -> None:
    bench = Bench()
    _ch_lost_it(bench)
    assert bench.found(pushed=False) == []


def test_a_partial_of_what_was_sent_is_none() -> None:
    bench = Bench()
    bench.stores["PPMID"] = report(stored(1, OLD, "running"), partial=partial(NEW.to_bytes()[:100]))
    assert bench.found() == []
