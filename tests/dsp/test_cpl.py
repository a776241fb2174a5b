"""The CPL and the two generations of a bilingual PPMID: rules 13 to 19, 24, 117, 142, 145."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from desk import NEW, OLD, OTHER_PPMID, PPMID, SUPPLIER, Office, device, entry, furnished, update

from hanlab.dsp.cpl import CplStatus, read_cpl
from hanlab.dsp.settings import read_settings
from hanlab.dsp.smi import SMETS1, SMETS2, SmiDevice, Status, read_inventory
from hanlab.duis.messages import DevicePreNotification
from hanlab.errors import UsageError
from hanlab.eui import Eui

NEWCOMER = Eui.parse("00-DB-12-34-56-78-90-B4")


def notify(version: str | None = OLD, smets: str | None = None) -> DevicePreNotification:
    return DevicePreNotification(NEWCOMER, "Secure", "a PPMID", "PPMID", smets, version)


@pytest.mark.rule(13)
def test_a_device_is_recorded_as_one_generation_only() -> None:
    office = furnished()
    with pytest.raises(UsageError, match="SMETS1 PPMID"):
        office.dsp.smi.add(device(PPMID, "PPMID", generation=SMETS2))
    found = office.dsp.smi.find(PPMID)
    assert found
    assert found.generation == SMETS1


@pytest.mark.rule(15, 24)
def test_pre_notification_needs_an_entry_of_that_generation() -> None:
    office = furnished()
    assert office.receive(notify("IHDAE55", "SMETS V1.58"), service="12.2") == "E120203"
    assert (office.rule(), office.dsp.smi.find(NEWCOMER)) == (15, None)
    bilingual = dataclasses.replace(entry(device(PPMID, "PPMID"), "IHDAE55"), generation=SMETS2)
    office.dsp.load([bilingual])
    assert office.receive(notify("IHDAE55", "SMETS V1.58"), service="12.2") == "I99"
    found = office.dsp.smi.find(NEWCOMER)
    assert found
    assert (found.generation, found.status) == (SMETS2, Status.PENDING)


@pytest.mark.rule(24)
def test_a_third_party_device_comes_into_the_inventory_by_pre_notification() -> None:
    office = furnished()
    assert office.receive(notify(), service="12.2") == "I99"
    found = office.dsp.smi.find(NEWCOMER)
    assert found
    assert (found.status, found.supplier) == (Status.PENDING, SUPPLIER)


@pytest.mark.rule(15)
def test_an_image_for_one_generation_is_not_for_the_other() -> None:
    office = furnished()
    office.enrol(device(NEWCOMER, "PPMID", "IHDAE55", generation=SMETS2))
    assert office.receive(update(NEWCOMER)) == "E110105"


@pytest.mark.rule(16, 19)
def test_a_version_belongs_to_one_generation() -> None:
    office = furnished()
    both = dataclasses.replace(entry(device(PPMID, "PPMID"), OLD), generation=SMETS2)
    with pytest.raises(UsageError, match="SMETS1 already"):
        office.dsp.load([both])
    other = dataclasses.replace(both, version="IHDAE55")
    office.dsp.load([other])
    generations = {e.version: e.generation for e in office.dsp.cpl.of_product(both)}
    assert generations == {OLD: SMETS1, NEW: SMETS1, "IHDAE55": SMETS2}


@pytest.mark.rule(16)
@pytest.mark.parametrize("name", ["cpl.toml", "cpl.csv"])
def test_a_file_with_one_version_for_both_generations_adds_nothing(
    name: str, tmp_path: Path
) -> None:
    rows = [("SMETS1", "IHDAE07"), ("SMETS2+", "IHDAE07")]
    toml = "".join(
        f'[[entry]]\ndevice_type = "PPMID"\nmanufacturer = "Secure"\nmodel = "a PPMID"\n'
        f'generation = "{g}"\nversion = "{v}"\n'
        for g, v in rows
    )
    lines = ["device_type,manufacturer,model,generation,version"]
    lines += [f"PPMID,Secure,a PPMID,{g},{v}" for g, v in rows]
    path = tmp_path / name
    path.write_text(toml if name.endswith("toml") else "\n".join(lines) + "\n")
    office = furnished()
    before = office.dsp.cpl.everything()
    with pytest.raises(UsageError, match="IHDAE07 is on the CPL as SMETS1"):
        office.dsp.load(read_cpl(path))
    assert office.dsp.cpl.everything() == before


@pytest.mark.rule(17)
def test_no_setting_lets_one_record_be_of_both_generations(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no setting"):
        read_settings({"bilingual": True}, [])
    path = tmp_path / "inventory.csv"
    path.write_text(
        f"eui,device_type,manufacturer,model,generation\n{PPMID},PPMID,Secure,M,SMETS1 SMETS2+\n"
    )
    with pytest.raises(UsageError, match="generation"):
        read_inventory(path)


@pytest.mark.rule(18)
@pytest.mark.parametrize("who", ["supplier", "S1SP"])
def test_only_manufacturers_list_products(who: str) -> None:
    office = furnished()
    with pytest.raises(UsageError, match=who):
        office.dsp.load([entry(device(PPMID, "PPMID"), "IHDAE07")], who)
    office.dsp.load([entry(device(PPMID, "PPMID"), "IHDAE07")])
    assert office.dsp.audit.read(1)[0].actor == "manufacturer"


@pytest.mark.rule(19)
def test_a_withdrawn_version_is_not_sent() -> None:
    office = furnished()
    office.dsp.withdraw(entry(device(PPMID, "PPMID"), NEW))
    statuses = {e.device_type: e.status for e in office.dsp.cpl.of_version(NEW)}
    active = CplStatus.ACTIVE
    assert statuses == {"PPMID": CplStatus.WITHDRAWN, "ESME": active, "GSME": active}
    assert office.receive(update(PPMID)) == "E110105"


@pytest.mark.rule(102)
def test_an_ihd_is_not_listed() -> None:
    with pytest.raises(UsageError, match="not on the CPL"):
        Office().dsp.load([entry(device(PPMID, "IHD"), OLD)])


def test_a_consumer_device_that_can_be_upgraded_is_a_ppmid(tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    path.write_text(
        f"eui,upgradable,manufacturer,model\n{PPMID},true,Secure,A\n{OTHER_PPMID},false,Secure,B\n"
    )
    assert [d.device_type for d in read_inventory(path)] == ["PPMID", "IHD"]


@pytest.mark.rule(142)
def test_a_record_has_the_fields_of_the_rfi_and_there_may_be_many(tmp_path: Path) -> None:
    fields = {
        "eui": str(PPMID),
        "device_type": "CHF",
        "manufacturer": "Secure",
        "model": "Skyline i-510",
        "hardware": "0x02",
        "version": "HUB3F0X",
        "factory_configuration": "as delivered",
        "smso": "Secure Meters",
        "wan_provider": "a WAN provider",
    }
    path = tmp_path / "inventory.toml"
    path.write_text("[[device]]\n" + "".join(f'{k} = "{v}"\n' for k, v in fields.items()))
    (read,) = read_inventory(path)
    office = Office()
    office.dsp.smi.add(read)
    found = office.dsp.smi.find(PPMID)
    assert found == read
    assert {name: str(getattr(found, name)) for name in fields} == fields
    many = [device(Eui(n.to_bytes(8, "big")), "ESME", model=f"model {n}") for n in range(1, 500)]
    assert office.dsp.smi.add_many(many) == 499


@pytest.mark.rule(145)
def test_the_manufacturers_string_may_be_longer_than_duis_takes() -> None:
    office = Office()
    long = dataclasses.replace(
        entry(device(PPMID, "ESME"), "ASP04040"), manufacturer_version="ASP04.04.01-55497"
    )
    office.dsp.load([long])
    assert office.dsp.cpl.of_version("ASP04040") == [long]
    with pytest.raises(UsageError, match="17 characters"):
        office.dsp.load([dataclasses.replace(long, version="ASP04.04.01-55497")])


INVENTORY = "eui,device_type,manufacturer,model\n" + "".join(
    f"00-DB-12-34-56-78-90-{n:02X},ESME,Secure,Liberty 100\n" for n in range(20)
)


@pytest.mark.parametrize("length", range(len(INVENTORY) - 60, len(INVENTORY)))
def test_an_inventory_file_that_is_cut_off_is_refused_whole(length: int, tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    text = INVENTORY[:length]
    path.write_text(text)
    if text.endswith(("\n", "Liberty 100")):  # whole lines; the last one may lack its end
        assert len(read_inventory(path)) == text.count("Liberty 100")
        return
    with pytest.raises(UsageError, match=f"line {text.count(chr(10)) + 1}"):
        read_inventory(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", ""),
        ("a.toml", "[[entry]\n"),
        ("a.toml", "[[entry]]\nmodel = 1\n"),
        ("a.toml", "[[device]]\n"),
        ("a.toml", "entry = [1]\n"),
        ("a.csv", ""),
        ("a.csv", "model\n"),
        ("a.csv", "a,b\n1,2,3\n"),
        ("a.csv", "device_type,manufacturer,model,version\nPPMID,Secure,M,123456789\n"),
        ("a.csv", "device_type,manufacturer,model,version,hash\nPPMID,S,M,1,xyz\n"),
        ("a.csv", "device_type,manufacturer,model,version,hash\nPPMID,S,M,1,00\n"),
        ("a.csv", "device_type,manufacturer,model,version,expires\nPPMID,S,M,1,soon\n"),
        ("a.csv", "device_type,manufacturer,model,version\nCAD,S,M,1\n"),
        ("a.csv", "\x00"),
    ],
)
def test_a_wrong_cpl_file_says_what_is_wrong(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError) as e:
        read_cpl(path)
    assert str(path) in e.value.what
    assert e.value.next_step


def test_the_smi_keeps_every_field() -> None:
    everything = SmiDevice(
        PPMID, "PPMID", "Secure", "Pipit 500", "0x01", SMETS2, NEW, Status.SUSPENDED,
        Status.INSTALLED_NOT_COMMISSIONED, OTHER_PPMID, OTHER_PPMID, SUPPLIER, SUPPLIER,
        "SMETS V1.58", "1312345678333", "2026-01-01", "factory", "smso", "wan",
    )  # fmt: skip
    office = Office()
    office.dsp.smi.add(everything)
    assert list(office.dsp.smi.everything()) == [everything]
