"""By whatever way a request comes, it meets the same S1SP rules; here: a third-party PPMID on a Secure HAN."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from lab_file import lab_toml
from labs import THIRD_PARTY, image_for, lab_of

from hanlab.cli import main
from hanlab.dsp.settings import DSP
from hanlab.duis.messages import (
    ActivateFirmware,
    Request,
    RequestId,
    UpdateFirmware,
    UpdateHanDeviceLog,
)
from hanlab.duis.reading import read_response
from hanlab.duis.writing import write_request
from hanlab.gateway.app import make_app
from hanlab.gateway.seals import seals_of
from hanlab.images import OtaImage
from hanlab.lab import Device, Lab
from hanlab.lab.answers import ACCEPTED_CODES
from hanlab.lab.enrolment import commissioning, notification, product
from hanlab.lab.office import PKI, named_user, open_pki
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Progress


def no_report(progress: Progress) -> None:
    pass


WAYS: dict[str, Callable[[Lab, Device, OtaImage], object]] = {
    "Lab.update_firmware": lambda lab, d, i: lab.run(lab.update_firmware(i, d)),
    "Lab.activate_firmware": lambda lab, d, i: lab.run(
        lab.activate_firmware(i.manufacturer_image_hash, d)
    ),
    "Lab.s1sp, 11.1": lambda lab, d, i: lab.run(lab.s1sp.update_firmware(i, d.target, no_report)),
    "Lab.s1sp, 11.3": lambda lab, d, i: lab.run(
        lab.s1sp.activate_firmware(i.manufacturer_image_hash, d.target, no_report)
    ),
    "installations, 11.1": lambda lab, d, i: lab.run(
        lab.installations.update_firmware(i, d.eui, no_report)
    ),
    "installations, 11.3": lambda lab, d, i: lab.run(
        lab.installations.activate_firmware(i.manufacturer_image_hash, d.eui, no_report)
    ),
}


@pytest.mark.rule(25, 26)
@pytest.mark.parametrize("way", WAYS)
def test_a_third_party_ppmid_is_refused_in_python(way: str, tmp_path: Path) -> None:
    with lab_of(tmp_path, THIRD_PARTY) as lab:
        (device,) = lab.devices
        with pytest.raises(ServiceRequestFailed) as e:
            WAYS[way](lab, device, image_for(device))
        assert e.value.outcome is Outcome.THIRD_PARTY
        assert lab.run(lab.store()).used == 0
        assert lab.run(lab.read_firmware_version(device)).firmware == "2.08.01"


@pytest.mark.rule(25, 39)
def test_it_is_refused_through_the_dsp(tmp_path: Path) -> None:
    with lab_of(tmp_path, THIRD_PARTY) as lab:
        (device,) = lab.devices
        image = image_for(device)
        lab.dsp.load([product(device.model, "NEW1", image.manufacturer_image_hash)])
        update = UpdateFirmware(image.to_bytes(), "NEW1", (device.eui,))
        assert lab.run(lab.send(update)).code == "E110105", "the Secure S1SP did not migrate it"
        hash_ = image.manufacturer_image_hash
        assert lab.run(lab.send(ActivateFirmware(hash_), device.eui)).code == "E19"


@pytest.mark.rule(25, 39)
@pytest.mark.parametrize("joined", [False, True])
def test_it_is_refused_over_http(joined: bool, tmp_path: Path) -> None:
    """Also where a 12.2 has brought it into the inventory (rule 24): then the S1SP refuses it, not the DSP."""
    with lab_of(tmp_path, THIRD_PARTY) as lab:
        (device,) = lab.devices
        image = image_for(device)
        hash_ = image.manufacturer_image_hash
        lab.dsp.load([product(device.model, "NEW1", hash_)])
        supplier = named_user(lab.dsp, "supplier").eui
        if joined:
            assert lab.run(lab.send(notification(lab.config.devices[0]))).code in ACCEPTED_CODES
            answer = lab.run(lab.send(UpdateHanDeviceLog(device.eui), lab.hub.eui))
            assert answer.code in ACCEPTED_CODES
            body = commissioning(lab.dsp, lab.config.devices[0], lab.hub.eui)
            assert lab.run(lab.send(body, device.eui)).code in ACCEPTED_CODES
        accepted: list[RequestId] = []
        seals = seals_of(open_pki(tmp_path / PKI, lab.config), unsigned=True)
        app = make_app(lab.dsp, seals, accepted.append, names={"dsp"})

        def post(service: str, request: Request) -> str:
            async def exchange() -> httpx.Response:
                transport = httpx.ASGITransport(app)
                async with httpx.AsyncClient(transport=transport, base_url="http://dsp") as client:
                    headers = {"content-type": "application/xml"}
                    url = f"/api/v1/service{service}"
                    return await client.post(url, content=write_request(request), headers=headers)

            return read_response(asyncio.run(exchange()).content).code

        update = UpdateFirmware(image.to_bytes(), "NEW1", (device.eui,))
        id_ = RequestId(supplier, DSP, 11)
        code = post("D", Request(id_, 8, "11.1", "11.1", update))
        assert code == ("I99" if joined else "E110105")
        id_ = RequestId(supplier, device.eui, 12)
        code = post("S", Request(id_, 1, "11.3", "11.3", ActivateFirmware(hash_)))
        assert code == ("I99" if joined else "E19")
        for request in accepted:
            lab.run(lab.dsp.carry_out(request, no_report))
        codes = [d.code for d in lab.dsp.deliveries.last(9)]
        refused = ["N24", "I0", "I0", "N55", "N61", "N22", "N55", "E21"]
        assert codes == (refused if joined else [])
        assert lab.run(lab.store()).used == 0
        assert lab.run(lab.read_firmware_version(device)).firmware == "2.08.01"


@pytest.mark.rule(25)
@pytest.mark.parametrize(
    "command", [["push", "a.ota", "--to", "PPMID"], ["activate", "PPMID", "--image", "a.ota"]]
)
def test_it_is_refused_by_direct_commands(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lab.toml").write_text(lab_toml(model="sed-v3"))
    with lab_of(tmp_path / "other", THIRD_PARTY) as lab:
        Path("a.ota").write_bytes(image_for(lab.devices[0]).to_bytes())
    monkeypatch.setattr(sys, "argv", ["hanlab", *command, "--lab", "lab.toml", "--direct"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "a third-party PPMID" in capsys.readouterr().err


@pytest.mark.rule(149)
def test_the_command_line_flags_what_was_never_tested_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for model, flagged in (("sed-v3", True), ("pipit-500", False)):
        Path("lab.toml").write_text(lab_toml(model=model))
        for more in ([], ["--json"]):
            monkeypatch.setattr(sys, "argv", ["hanlab", "devices", "--lab", "lab.toml", *more])
            with pytest.raises(SystemExit) as end:
                main()
            assert end.value.code == 0
            out = capsys.readouterr().out
            if more:
                row = json.loads(out)["devices"][1]
                assert row["tested_with_ch"] is not flagged
            else:
                assert ("were never tested together (rule 149)" in out) is flagged
