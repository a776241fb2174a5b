"""An image with an upgrade file destination is for that device alone: CH and device see to it themselves."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path

import pytest
from labs import make_image

from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.lab import Lab
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.resources import firmware_dir
from hanlab.s1sp.hub import POLL_S
from hanlab.wan.client import Refused
from hanlab.wan.messages import Distribute, HanError, ProgressRead, ProgressReadResponse

ANOTHER = Eui.parse("00-DB-12-34-56-78-90-B4")
INVALID_IMAGE = 0x96


def image_for(eui: Eui) -> OtaImage:
    image = make_image(body=700)
    header = dataclasses.replace(
        image.header, destination=eui.octets[::-1], total_size=image.header.total_size + 8
    )
    return dataclasses.replace(image, header=header)


def distribute(lab: Lab, image: OtaImage) -> ProgressReadResponse:
    """Upload and distribute without the S1SP, which would refuse it; how the job ended."""
    wan = lab.s1sp._hub.wan

    async def go() -> ProgressReadResponse:
        async for _ in wan.upload(image.to_bytes()):
            pass
        device, hash_ = lab.devices[0], image.manufacturer_image_hash
        await wan.write(Distribute, eui=device.eui.octets, hash=hash_, jitter=100)
        while True:
            end = await wan.read(ProgressRead)
            if end.state != "running":
                return end
            await asyncio.sleep(POLL_S)

    return lab.run(go())


def open_lab(tmp_path: Path, firmware: Path | None = None) -> Lab:
    return Lab(make_lab("test", DEFAULT), tmp_path / "state", firmware=firmware)


def test_the_ch_hands_it_to_that_device_alone(tmp_path: Path) -> None:
    with open_lab(tmp_path) as lab:
        with pytest.raises(Refused) as e:
            distribute(lab, image_for(ANOTHER))
        assert e.value.rc == HanError.NO_IMAGE
        assert distribute(lab, image_for(lab.devices[0].eui)).state == "done"


def test_another_device_does_not_keep_it(tmp_path: Path) -> None:
    """Even from a CH that does not look at the destination."""
    careless = tmp_path / "firmware"
    shutil.copytree(firmware_dir(), careless)
    jobs = careless / "smets1" / "roles" / "jobs.py"
    source = jobs.read_text("utf-8")
    assert source.count(' and i.info.get("for", "") in mine') == 1
    jobs.write_text(source.replace(' and i.info.get("for", "") in mine', ""), "utf-8")
    with open_lab(tmp_path, careless) as lab:
        end = distribute(lab, image_for(ANOTHER))
        assert (end.state, end.status) == ("failed", INVALID_IMAGE)
        assert not lab.run(lab.store_of(lab.devices[0])).images
        assert distribute(lab, image_for(lab.devices[0].eui)).state == "done"
