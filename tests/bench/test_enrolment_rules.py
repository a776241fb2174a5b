"""Before and after enrolment: the SMSO's way and the S1SP's, what is migrated, and what a command gets on its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from han_formats import heard
from labs import ESME, GSME, PPMID, THIRD_PARTY, image_for, lab_of

from hanlab.images import OtaImage
from hanlab.lab import Device, Lab
from hanlab.lab.boards import wan_client
from hanlab.s1sp import annex_c
from hanlab.s1sp.dco import activation
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.wan.client import WanClient
from hanlab.wan.messages import Activate, Distribute, ProgressRead

# -- rule 12: the SMSO's system before enrolment is another SMP client at the CH; no S1SP is asked


async def _smso(lab: Lab) -> WanClient:
    await lab.s1sp._hub.wan.close()  # one line, one client
    return wan_client(lab.desk, "hub")


async def _ended(smso: WanClient) -> str:
    while (progress := await smso.read(ProgressRead)).state == "running":
        pass
    await smso.close()
    return progress.state


async def distribute_by_smso(lab: Lab, image: OtaImage, device: Device) -> str:
    smso = await _smso(lab)
    async for _ in smso.upload(image.to_bytes()):
        pass
    hash_ = image.manufacturer_image_hash
    await smso.write(Distribute, eui=device.eui.octets, hash=hash_)
    return await _ended(smso)


async def activate_by_smso(lab: Lab, image: OtaImage, device: Device) -> str:
    smso = await _smso(lab)
    hash_ = image.manufacturer_image_hash
    signed = activation(device.eui.octets, hash_, 1)
    keys = lab.desk.keys
    await smso.write(
        Activate,
        eui=device.eui.octets,
        hash=hash_,
        counter=1,
        mac=keys.wan(lab.hub.eui.octets).mac(signed),
        dco_mac=keys.dco.mac(signed),
    )
    return await _ended(smso)


def s1sps_answer(request: Any) -> Outcome:
    with pytest.raises(ServiceRequestFailed) as failed:
        request()
    return failed.value.outcome


@pytest.mark.rule(12, 25)
def test_what_the_smso_could_do_before_enrolment_the_s1sp_refuses(tmp_path: Path) -> None:
    """Each of 11.1 and 11.3 by itself, also of an image that the device holds already."""
    with lab_of(tmp_path, {**THIRD_PARTY, "activation_steps": 2}) as lab:
        (device,) = lab.devices
        image = image_for(device)
        hash_ = image.manufacturer_image_hash
        assert s1sps_answer(lambda: lab.run(lab.update_firmware(image, device))) is (
            Outcome.THIRD_PARTY
        )
        assert lab.run(lab.store()).images == [], "nothing goes to the CH"
        assert lab.run(distribute_by_smso(lab, image, device)) == "done"
        assert [i.version for i in lab.run(lab.store_of(device)).images] == ["NEW1"]
        assert s1sps_answer(lambda: lab.run(lab.activate_firmware(hash_, device))) is (
            Outcome.THIRD_PARTY
        )
        assert lab.run(lab.wait_until_back(device)).firmware == "2.08.01"
        assert lab.run(activate_by_smso(lab, image, device)) == "done"
        assert lab.run(lab.wait_until_back(device)).firmware == "NEW1"


# -- rules 22, 23: what is migrated


@pytest.mark.rule(22, 23)
@pytest.mark.parametrize(
    ("hub", "missing"),
    [
        ({"model": "skyline-i510"}, ["SED V3"]),
        ({"model": "am110r"}, []),
        ({"model": "skyline-i510", "s1sr_clauses": []}, []),
    ],
    ids=["Secure", "Elster", "Secure without Annex D"],
)
def test_a_secure_installation_comes_without_its_third_party_devices(
    hub: dict[str, Any], missing: list[str], tmp_path: Path
) -> None:
    own = {**PPMID, "name": "own"}
    other = {**THIRD_PARTY, "name": "other", "eui": "00-DB-12-34-56-78-90-B4"}
    with lab_of(tmp_path, own, other, ESME, GSME, hub=hub) as lab:
        known = lab.dsp.smi.on_han(lab.hub.eui)
        assert [d.device_type for d in known].count("GPF") == 1
        models = {d.model for d in known if d.device_type != "GPF"}
        everything = {lab.hub.model.model, *(d.model.model for d in lab.devices)}
        assert models == everything - set(missing)
        listed = {e.model for e in lab.dsp.cpl.everything()}
        assert everything <= listed, "its manufacturer lists it all the same"


# -- rule 38: Annex C's defaults, as the device gets them


def jitters(frames: list[bytes], key: bytes) -> list[int]:
    """The query jitter of each Image Notify among the HAN's frames (PSDUs)."""
    found = []
    for psdu in frames:
        frame = heard(psdu, key)
        if frame and frame.cluster == 0x0019 and frame.zcl[2] == 0x00 and frame.zcl[0] & 0x08:
            found.append(frame.zcl[4])
    return found


@pytest.mark.rule(38)
@pytest.mark.parametrize("value", [100, 37])
def test_the_device_gets_a_default_that_no_user_sent(
    value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(annex_c.ANNEX_C, "Secure", annex_c.Defaults(query_jitter=value))
    with lab_of(tmp_path, PPMID) as lab:
        (device,) = lab.devices
        heard: list[bytes] = []
        lab.desk.air.capture(lambda when, psdu: heard.append(psdu))
        assert lab.run(lab.update_firmware(image_for(device), device)) is Outcome.DISTRIBUTED
        sent = jitters(heard, lab.network_keys["HAN"])
    assert sent
    assert set(sent) == {value}


@pytest.mark.rule(38)
def test_the_table_has_a_row_for_each_population() -> None:
    assert {name: d.query_jitter for name, d in annex_c.ANNEX_C.items()} == {
        "Secure": 100,
        "Elster Honeywell": 100,
    }
