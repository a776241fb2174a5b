"""11.1, 11.2 and 11.3 on whole labs: what a Service User sees, and what each board then holds."""

from __future__ import annotations

import pytest
from labs import OpenLab, make_image

from hanlab.eui import Eui
from hanlab.lab import Outcome, Progress
from hanlab.s1sp.outcome import ServiceRequestFailed
from hanlab.s1sp.target import Target


def test_two_step_update(open_lab: OpenLab) -> None:
    """Rules 1 and 97: held after 11.1, running after 11.3, and the version is the image's."""
    lab = open_lab()
    ppmid = lab.device("PPMID")
    image = make_image()
    seen: list[Progress] = []
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE05"
    assert lab.run(lab.update_firmware(image, ppmid, seen.append)) is Outcome.DISTRIBUTED
    assert lab.run(lab.read_firmware_version(ppmid)).firmware == "IHDAE05"
    store = lab.run(lab.store())
    assert [i.hash for i in store.images] == [image.manufacturer_image_hash]
    assert store.used == len(image.to_bytes())
    done = lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
    assert done is Outcome.ACTIVATED
    read = lab.run(lab.wait_until_back(ppmid))
    assert (read.firmware, read.file_version) == ("IHDAE06", image.header.file_version)
    assert lab.run(lab.store()).used == 0, "the CH has room for the next image"
    for stage in ("upload", "distribute"):
        octets = [p.done for p in seen if p.stage == stage]
        assert octets == sorted(octets)
        assert octets[-1] == len(image.to_bytes())


def test_one_step_update(open_lab: OpenLab) -> None:
    """Rule 96: after 11.1 the device has nothing; transfer and activation happen on 11.3."""
    lab = open_lab({"model": "am110r"}, {"model": "sed-v3"})
    ppmid = lab.device("PPMID")
    image = make_image(for_ch="Elster")
    frames = lab.frames_on_air
    assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.STORED
    assert lab.frames_on_air - frames < 10, "no block goes to the device before 11.3"
    seen: list[Progress] = []
    done = lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid, seen.append))
    assert done is Outcome.ACTIVATED
    assert max(p.done for p in seen) == len(image.to_bytes())
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE06"


def test_flash_lasts_from_one_command_to_the_next(open_lab: OpenLab) -> None:
    image = make_image()
    with open_lab() as lab:
        lab.run(lab.update_firmware(image, lab.device("PPMID")))
    with open_lab() as lab:
        assert lab.run(lab.store()).used == len(image.to_bytes())
        hash_ = image.manufacturer_image_hash
        assert lab.run(lab.activate_firmware(hash_, lab.device("PPMID"))) is Outcome.ACTIVATED
    with open_lab() as lab:
        assert lab.run(lab.wait_until_back(lab.device("PPMID"))).firmware == "IHDAE06"


def test_second_update_replaces_the_first(open_lab: OpenLab) -> None:
    lab = open_lab()
    ppmid = lab.device("PPMID")
    for version in ("IHDAE06", "IHDAE07!"):
        image = make_image(version=version)
        lab.run(lab.update_firmware(image, ppmid))
        lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
        assert lab.run(lab.wait_until_back(ppmid)).firmware == version


def test_upload_goes_on_where_it_stopped(open_lab: OpenLab) -> None:
    """A new session uploads only what the CH does not have; the CH proves the rest by the hash."""
    image = make_image(body=64 * 1024)

    class Killed(Exception):
        pass

    def kill(progress: Progress) -> None:
        if progress.done > 40_000:
            raise Killed

    with open_lab() as lab, pytest.raises(Killed):
        lab.run(lab.update_firmware(image, lab.device("PPMID"), kill))
    with open_lab() as lab:
        seen: list[Progress] = []
        lab.run(lab.update_firmware(image, lab.device("PPMID"), seen.append))
        assert seen[0].done >= 32_000, "it began again at the last checkpoint"
        assert lab.run(lab.store()).images[0].sha == image.file_hash


def test_size_failure_is_for_the_whole_han(open_lab: OpenLab) -> None:
    """Rules 4 and 34: refused before the first octet, nothing partial, and so for any device."""
    lab = open_lab({"store": 8192})
    ppmid = lab.device("PPMID")
    for _ in range(2):
        with pytest.raises(ServiceRequestFailed) as failed:
            lab.run(lab.update_firmware(make_image(body=8192), ppmid))
        assert failed.value.outcome is Outcome.TOO_LARGE
        assert "image 8,284 B" in failed.value.what
        assert "short by 92 B" in failed.value.what
        store = lab.run(lab.store())
        assert (store.used, store.reserved, store.images) == (0, 0, [])
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE05"


@pytest.mark.parametrize("behaviour", ["overflow", "truncate", "silent"])
def test_nothing_partial_stays(open_lab: OpenLab, behaviour: str) -> None:
    """Rule 4: whatever the size behaviour, no partial image is readable or takes room after it."""
    lab = open_lab({"store": 8192, "size_behaviour": behaviour})
    ppmid = lab.device("PPMID")
    with pytest.raises(ServiceRequestFailed):
        lab.run(lab.update_firmware(make_image(body=20_000), ppmid))
    store = lab.run(lab.store())
    assert (store.used, store.reserved, store.images) == (0, 0, [])
    small = make_image(body=4000)
    assert lab.run(lab.update_firmware(small, ppmid)) is Outcome.DISTRIBUTED, "the CH is usable"


def test_evict_makes_room(open_lab: OpenLab) -> None:
    lab = open_lab({"store": 10_000})
    ppmid = lab.device("PPMID")
    first, second = make_image(body=8000), make_image(body=8000, version="IHDAE07!")
    lab.run(lab.update_firmware(first, ppmid))
    with pytest.raises(ServiceRequestFailed) as failed:
        lab.run(lab.update_firmware(second, ppmid))
    assert "hanlab store --evict" in failed.value.next_step
    assert "IHDAE06 (8,092 B)" in failed.value.next_step
    lab.run(lab.evict(lab.run(lab.store()).images[0].id))
    assert lab.run(lab.update_firmware(second, ppmid)) is Outcome.DISTRIBUTED


def test_unknown_eui_changes_nothing(open_lab: OpenLab) -> None:
    lab = open_lab()
    stranger = Target("stranger", Eui.parse("00-DB-12-34-56-78-90-FF").octets, lab.devices[0].model)
    with pytest.raises(ServiceRequestFailed) as failed:
        lab.run(lab.s1sp.update_firmware(make_image(), stranger, lambda _: None))
    assert failed.value.outcome is Outcome.NO_DEVICE
    for request in (
        lab.s1sp.read_firmware_version(stranger),
        lab.s1sp.activate_firmware(bytes(32), stranger, lambda _: None),
    ):
        with pytest.raises(ServiceRequestFailed) as failed:
            lab.run(request)
        assert failed.value.outcome is Outcome.NO_DEVICE
    assert lab.run(lab.store()).used == 0


def test_image_for_another_device_type_is_not_offered(open_lab: OpenLab) -> None:
    lab = open_lab()
    esme = make_image()
    esme = type(esme)(
        header=type(esme.header)(**{**vars(esme.header), "image_type": 0}),
        body=esme.body,
        metadata=esme.metadata,
    )
    with pytest.raises(ServiceRequestFailed) as failed:
        lab.run(lab.update_firmware(esme, lab.device("PPMID")))
    assert failed.value.outcome is Outcome.NO_IMAGE_HELD
    assert lab.run(lab.wait_until_back(lab.device("PPMID"))).firmware == "IHDAE05"


def test_no_size_failure_without_the_size_clauses(open_lab: OpenLab) -> None:
    """Rules 6 and 9: the failure belongs to the clauses; without them only the flash limits."""
    lab = open_lab({"store": 8192, "s1sr_clauses": ["18.62"]})
    image = make_image(body=20_000)
    assert lab.run(lab.update_firmware(image, lab.device("PPMID"))) is Outcome.DISTRIBUTED
    store = lab.run(lab.store())
    assert store.capacity is None
    assert store.used == len(image.to_bytes())
