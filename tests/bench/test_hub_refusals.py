"""What a CH refuses by itself, whoever asks: a second job, an image that is not for it, another hash."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from labs import OpenDesk, OpenLab, make_image
from smpclient.requests.image_management import ImageUploadWrite

from hanlab.images import OtaImage, SubElement, build, made_body
from hanlab.lab.boards import wan_client
from hanlab.lab.desk import Desk
from hanlab.s1sp.dco import activation
from hanlab.s1sp.outcome import ActivateCode, Outcome, ServiceRequestFailed
from hanlab.wan.client import Refused, WanClient
from hanlab.wan.messages import GROUP, Activate, Distribute, HanError, ProgressRead, StoreRead

BUSY = (GROUP, HanError.BUSY)
SMP_BUSY = (0, 10)
INVALID_TLV = (1, 5)
INVALID_IMAGE_HEADER = (1, 22)


async def upload(client: WanClient, image: OtaImage) -> None:
    async for _ in client.upload(image.to_bytes()):
        pass


async def refusal(request: Any) -> tuple[int, int]:
    """Group and code of the error that answers it."""
    with pytest.raises(Refused) as refused:
        await request
    return refused.value.group, refused.value.rc


@pytest.mark.rule(35)
def test_a_second_job_on_a_han_is_refused_and_the_first_goes_on(open_desk: OpenDesk) -> None:
    """By the CH itself: whoever comes past this S1SP meets it as well."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    image = make_image(8192)
    eui = desk.config.devices[0].eui.octets
    job = {"eui": eui, "hash": image.manufacturer_image_hash}

    async def two_at_once() -> None:
        await upload(client, image)
        started = await client.write(Distribute, **job)
        signed = {"counter": 1, "mac": bytes(32), "dco_mac": bytes(32)}
        assert await refusal(client.write(Distribute, **job)) == BUSY
        assert await refusal(client.write(Activate, **job, **signed)) == BUSY
        assert await refusal(upload(client, make_image(2000, "IHDAE07"))) == SMP_BUSY
        while (progress := await client.read(ProgressRead)).state == "running":
            assert (progress.job, progress.op) == (started.job, "distribute")
        assert (progress.job, progress.state) == (started.job, "done")
        again = await client.write(Distribute, **job)
        assert again.job == started.job + 1, "and then the next one is welcome"

    desk.run(two_at_once())


def in_elements(image: OtaImage) -> OtaImage:
    """As a vendor's file: the Manufacturer Image in a ZCL sub-element, where no first look finds it."""
    raw = SubElement(0xF001, b"x" * 80).to_bytes()
    raw += SubElement(0x0000, image.manufacturer_image).to_bytes()
    header = dataclasses.replace(image.header, total_size=image.header.length + len(raw))
    return OtaImage.from_bytes(header.to_bytes() + raw)


@pytest.mark.rule(28, 30)
@pytest.mark.parametrize("wrapped", [False, True], ids=["raw", "in a sub-element"])
@pytest.mark.parametrize("maker", [None, "Elster"])
def test_an_image_with_other_metadata_is_refused_and_not_kept(
    maker: str | None, wrapped: bool, open_desk: OpenDesk
) -> None:
    """Also where the metadata are seen only once all octets are there."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    image = make_image(4096, for_ch=maker)
    assert (
        desk.run(refusal(upload(client, in_elements(image) if wrapped else image))) == INVALID_TLV
    )
    assert desk.run(client.read(StoreRead)).images == []
    good = make_image(4096)
    desk.run(upload(client, in_elements(good) if wrapped else good))
    assert len(desk.run(client.read(StoreRead)).images) == 1


@pytest.mark.parametrize("more", [-1, 1, 56])
def test_a_header_of_another_size_is_refused_at_the_first_chunk(
    more: int, open_desk: OpenDesk
) -> None:
    desk = open_desk()
    client = wan_client(desk, "hub")
    octets = make_image(4096).to_bytes()
    first: dict[str, Any] = {"off": 0, "data": octets[:128], "len": len(octets) + more, "image": 0}
    _connected(desk, client)
    assert desk.run(refusal(client.write(ImageUploadWrite, **first))) == INVALID_IMAGE_HEADER
    store = desk.run(client.read(StoreRead))
    assert (store.reserved, store.partial) == (0, None)


def _connected(desk: Desk, client: WanClient) -> None:
    desk.run(client.connect())


def test_a_one_step_ch_asks_for_the_hash_of_what_it_holds(open_lab: OpenLab) -> None:
    lab = open_lab({"model": "am110r"}, {"model": "sed-v3"})
    ppmid = lab.device("PPMID")
    image = make_image(2048, for_ch="Elster")
    assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.STORED
    before = lab.frames_on_air
    with pytest.raises(ServiceRequestFailed) as failed:
        lab.run(lab.activate_firmware(bytes(32), ppmid))
    assert failed.value.outcome is Outcome.HASH_MISMATCH
    assert lab.frames_on_air - before < 20, "no block of it goes to the device"
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "2.08.01"
    assert len(lab.run(lab.store()).images) == 1
    hash_ = image.manufacturer_image_hash
    assert lab.run(lab.activate_firmware(hash_, ppmid)) is Outcome.ACTIVATED


def test_the_ch_believes_the_version_that_runs_not_the_answer(open_desk: OpenDesk) -> None:
    """Firmware that does not boot: the device has said `activated`, and comes back with what it had."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    body = made_body(4096, seed=9, boots=False)
    image = build(body, device_type="PPMID", version="IHDAE06", for_ch="Secure")
    node = desk.config.devices[0]
    job = {"eui": node.eui.octets, "hash": image.manufacturer_image_hash}
    signed = activation(node.eui.octets, image.manufacturer_image_hash, 1)
    macs = {
        "mac": desk.keys.wan(desk.config.hub.eui.octets).mac(signed),
        "dco_mac": desk.keys.dco.mac(signed),
    }

    async def ended() -> tuple[str, int, str]:
        while (progress := await client.read(ProgressRead)).state == "running":
            pass
        return progress.state, progress.status, progress.reason

    async def update() -> tuple[str, int, str]:
        await upload(client, image)
        await client.write(Distribute, **job)
        assert (await ended())[0] == "done"
        await client.write(Activate, **job, **macs, counter=1)
        return await ended()

    assert desk.run(update()) == (
        "done",
        ActivateCode.ACTIVATION_FAILURE,
        "it came back with the firmware that it had before",
    )
    assert len(desk.run(client.read(StoreRead)).images) == 1, "it may be tried again"
