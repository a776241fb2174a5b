"""Lists as people save them: spreadsheets' dialects are read, what would be guessed at is refused."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
from desk import (
    ACTIVATE,
    ESME,
    GSME,
    NEW,
    OLD,
    PPMID,
    READ,
    Office,
    device,
    entry,
    furnished,
    image_for,
    update,
)

from hanlab.dsp.cpl import CplEntry, CplStatus, read_cpl
from hanlab.dsp.smi import SmiDevice, Status, read_inventory
from hanlab.duis.messages import ActivateFirmware, DevicePreNotification, ReadFirmwareVersion
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.lab.config import read_lab

HASH = "cd" * 32
HEADER = "device_type,manufacturer,model,version,hash"
LINE = f"PPMID,Acme,Screen 9,ABC7,{HASH}"
PLAIN = CplEntry("PPMID", "Acme", "Screen 9", "ABC7", bytes.fromhex(HASH))


def read(tmp_path: Path, octets: bytes, name: str = "list.csv") -> list[CplEntry]:
    path = tmp_path / name
    path.write_bytes(octets)
    return read_cpl(path)


def with_tabs(text: str) -> str:
    return text.replace(",", "\t")


@pytest.mark.parametrize(
    "octets",
    [
        f"{HEADER}\n{LINE}\n".encode(),
        f"{HEADER}\r\n{LINE}\r\n".encode("utf-8-sig"),
        f"{HEADER}\r\n{LINE}\r\n".replace(",", ";").encode(),
        f"sep=;\r\n{HEADER}\r\n{LINE}\r\n".replace(",", ";").encode(),
        f'"sep=;"\r\n{HEADER}\r\n{LINE}\r\n'.replace(",", ";").encode(),
        with_tabs(f"{HEADER}\t\n{LINE}\t\n").encode(),
        with_tabs(f"{HEADER}\r\n{LINE}\r\n").encode("utf-16"),
        b"\xfe\xff" + with_tabs(f"{HEADER}\r\n{LINE}\r\n").encode("utf-16-be"),
        with_tabs(f"{HEADER}\r\n{LINE}\r\n").encode("utf-16-le"),
        f"{HEADER}\r\n\r\n,,,,\r\n{LINE}\r\n,,,,\r\n".encode(),
        f"{HEADER},,\r\n{LINE},,\r\n,,,,,,\r\n".encode(),
        f",{HEADER}\r\n,{LINE}\r\n".encode(),
        f"{HEADER}\n{LINE}\n".replace(",", " , ").encode(),
        f"{HEADER}\n{LINE}\n".replace(",", ", ").replace("Screen 9", '"Screen 9"').encode(),
        f"{HEADER}\n{LINE}\n".replace("Screen 9", "Screen 9\u00a0").encode(),
        f"{HEADER}\n{LINE}".encode(),
        f"{HEADER},expires,status\n{LINE}\n{LINE.replace('ABC7', 'ABC8')}\n".encode(),
        f"Device Type,MANUFACTURER,Model,version, hash\n{LINE}\n".encode(),
        f"{HEADER}\n{LINE}\n".replace(HASH, "0x" + HASH.upper()).encode(),
        f"{HEADER}\n{LINE}\n".replace("ABC7", "'ABC7").encode(),  # "this is text", to a spreadsheet
        f"{HEADER}\r{LINE}\r".encode(),
        with_tabs(f"sep=\\t\r\n{HEADER}\r\n{LINE}\r\n").encode(),
        f"sep=;,,,,\r\n{HEADER.replace(',', ';')}\r\n{LINE.replace(',', ';')}\r\n".encode(),
        f"{HEADER}\n{LINE}\n\x1a".encode(),
        f"{HEADER}\n{LINE}\n".encode() + bytes(512),
        f"{HEADER}\n{LINE}\n".replace("Screen 9", "\u2009Screen 9\u200b\u200e").encode(),
        f"{HEADER}\n{LINE}\n".replace("ABC7", '"=""ABC7"""').encode(),
        f"Device-Type*,Manufacturer:,Device Model,Firmware Version,SHA-256\n{LINE}\n".encode(),
        f"DeviceType,Manufacturer,Model,DUIS\u00a0Version,Hash (SHA256)\n{LINE}\n".encode(),
        *(
            f"{HEADER}\n{LINE}\n".replace(HASH, written).encode()
            for written in (
                f"sha256:{HASH}",
                f"SHA-256={HASH.upper()}",
                f"'{HASH}",
                " ".join(["cd"] * 32),
                "-".join(["CDCD"] * 16),
                " ".join(["0xcd"] * 32),
                f"{HASH[:32]}\u00a0{HASH[32:]}",
                f"{HASH[:32]}\u200b{HASH[32:]}",
            )
        ),
    ],
)
@pytest.mark.parametrize("name", ["list.csv", "LIST.CSV", "list.txt"])
def test_spreadsheets_lists_are_read(tmp_path: Path, octets: bytes, name: str) -> None:
    assert read(tmp_path, octets, name)[0] == PLAIN


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HEADER},model\n{LINE},Other\n", "line 1 has the column model 2 times"),
        (f"{HEADER},Model\n{LINE},Other\n", "line 1 has the column model 2 times"),
        (f"{HEADER}\n{LINE}\n\n{LINE}\n", r"line 4 has Acme Screen 9 ABC7 .* again.* line 2"),
        (f"{HEADER}\nPPMID,Acme\n", "line 2 has 2 of 5 fields.*'Acme'.*model is missing"),
        (f"{HEADER}\n{LINE},more\n", "line 2 has 'more' in field 6"),
        (f"{HEADER},\n{LINE},more\n", "line 2 has 'more' in field 6"),
        (f"{HEADER}\n{LINE.replace('PPMID', 'ppmid')}\n", "line 2: a ppmid .*did you mean PPMID"),
        (f"{HEADER},expires\n{LINE},31/12/2026\n", "'31/12/2026' .*did you mean 2026-12-31"),
        (f"{HEADER},expires\n{LINE},46387\n", "'46387' .*2026-12-31"),
        (f"{HEADER},expires\n{LINE},20261231\n", "line 2: expires = '20261231' is wrong"),
        (f"{HEADER},status\n{LINE},active\n", "line 2: status = 'active' .*did you mean Active"),
        (f"{HEADER},status\n{LINE},Removed\n", "line 2: status = 'Removed' is wrong"),
        (f"{HEADER},generation\n{LINE},smets1\n", "line 2: 'smets1' .*did you mean SMETS1"),
        (f"{HEADER}\n{LINE.replace(HASH, '1.23E+63')}\n", "line 2: hash = '1.23E[+]63'.*number"),
        (f"{HEADER}\n{LINE.replace('ABC7', '1.00E+05')}\n", "version = '1.00E[+]05' .*number"),
        (f"{HEADER}\n{LINE.replace('ABC7', '05-Jun')}\n", "version = '05-Jun' .*for a day"),
        (f"{HEADER}\n{LINE.replace('ABC7', 'May-06')}\n", "version = 'May-06' .*for a day"),
        (f"{HEADER}\n{LINE.replace('ABC7', '1/06/26')}\n", "version = '1/06/26' .*for a day"),
        ("PK\3\4".ljust(99, "\0") + "xl/[Content_Types].xml", "looks like an office document"),
        (f"{HEADER}\n{LINE.replace(HASH, 'cd' * 31)}\n", "line 2: hash = .*62 characters"),
        (f"{HEADER},modell\n{LINE},x\n", "line 1: 'modell' is unknown; did you mean model"),
        (f"{HEADER}\n", "is empty: it has no entry under a header line"),
        ("", "is empty"),
        (f"{LINE}\n", "line 1: 'PPMID' is unknown"),
        (f'{HEADER}\n"{LINE}\n', "line 2 cannot be read as CSV"),
        (f"{HEADER},Firmware Version\n{LINE},ABC8\n", "line 1 has the column version 2 times"),
        (f"{HEADER}\n{LINE}\n{LINE.replace('cd', 'ce', 1)}\n", "line 2, and they contradict"),
        (f"{HEADER},expires\n{LINE},2026-12-31 00:00:00\n", "did you mean 2026-12-31"),
        (f"{HEADER},expires\n{LINE},31-Dec-26\n", "did you mean 2026-12-31"),
        (f"{HEADER},expires\n{LINE},1.2.2027\n", "did you mean 2027-01-02 or 2027-02-01"),
        ("PK\3\4".ljust(30, "\0") + "[Content_Types].xml", "looks like an office document"),
        ("<html><table><tr><td>device_type", "looks like an HTML page"),
        ('[{"device_type": "PPMID"}]', "looks like JSON text"),
        ("[[entry]]\ndevice_type = 'PPMID'\n", "is unknown"),
    ],
)
def test_what_is_damaged_is_one_sentence_with_line_and_value(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as e:
        read(tmp_path, text.encode())
    assert e.value.what.startswith(f"{tmp_path / 'list.csv'}")
    assert "\n" not in e.value.what
    assert e.value.next_step


@pytest.mark.parametrize(
    ("model", "found", "meant"),
    [
        ("Scr\u00adeen 9", "SOFT HYPHEN", "'Screen 9'"),
        ("Screen\u200b 9", "ZERO WIDTH SPACE", "'Screen 9'"),
        ("Screen\u00a09", "NO-BREAK SPACE", "'Screen 9'"),
        ("Screen\uff19", "FULLWIDTH DIGIT NINE", "'Screen9'"),
        ("\u0405creen 9", "CYRILLIC", "type it anew"),
        ("Screen\x07 9", "control character", "'Screen 9'"),
        ('"Screen\n9"', "control character", "'Screen 9'"),
    ],
)
def test_a_name_is_what_it_looks_like(tmp_path: Path, model: str, found: str, meant: str) -> None:
    """Also the first of its kind, which nothing can be compared with."""
    with pytest.raises(UsageError, match=rf"line 2: model .* has U\+[0-9A-F]{{4}} .*{found}") as e:
        read(tmp_path, f"{HEADER}\n{LINE}\n".replace("Screen 9", model).encode())
    assert meant in e.value.next_step
    path = tmp_path / "inventory.csv"
    path.write_text(f"eui,device_type,manufacturer,model\n{PPMID},PPMID,Acme,{model}\n")
    with pytest.raises(UsageError, match=found):
        read_inventory(path)


@pytest.mark.parametrize("model", ["Écran 9", "画面 9", "Экран 9", "9 µm", "Screen™ 9"])
def test_names_of_any_language_are_names(tmp_path: Path, model: str) -> None:
    text = f"{HEADER}\n{LINE}\n".replace("Screen 9", model)
    assert read(tmp_path, text.encode())[0].model == model


@pytest.mark.parametrize("version", ["ABC\u0437", "\uff21BC7", "\u0410\u0412\u04217"])
def test_a_version_is_in_ascii(tmp_path: Path, version: str) -> None:
    with pytest.raises(UsageError, match="line 2: version"):
        read(tmp_path, f"{HEADER}\n{LINE}\n".replace("ABC7", version).encode())


def test_a_number_in_toml_is_not_to_be_written_as_python_does(tmp_path: Path) -> None:
    text = '[[entry]]\ndevice_type = "PPMID"\nmanufacturer = "A"\nmodel = "B"\nhash = 0xABAB\n'
    with pytest.raises(UsageError, match="is no text") as e:
        read(tmp_path, text.encode(), "list.toml")
    assert "quotes around what stands there" in e.value.next_step
    assert "43947" not in e.value.next_step


def test_what_is_no_list_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="has more than 67,108,864 octets"):
        read_cpl(path)


def test_a_long_list_is_listed_in_the_time_of_its_length() -> None:
    """A row costs the same, however many are there: counted in SQLite's steps."""

    def steps(rows: int) -> int:
        office = furnished()
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        office.dsp.parts.database.sql.set_progress_handler(count, 100)
        known = entry(device(PPMID, "PPMID"), "IHDAE07")
        office.dsp.cpl.add(
            *(dataclasses.replace(known, model="Long", version=f"V{n:05}") for n in range(rows))
        )
        return counted

    assert steps(800) < 6 * steps(200)


def test_an_octet_that_is_no_utf8_is_shown_with_its_line(tmp_path: Path) -> None:
    text = f"{HEADER},manufacturer_version\r\n{LINE},v7 £ build\r\n"
    with pytest.raises(UsageError, match=r"line 2 has the octet 0xA3.*v7 \\xa3 build"):
        read(tmp_path, text.encode("cp1252"))


def test_quoted_fields_keep_what_is_in_them(tmp_path: Path) -> None:
    text = f'{HEADER},manufacturer_version\n{LINE},"7, ""b""\nbuild 2"\n'
    assert read(tmp_path, text.encode())[0].manufacturer_version == '7, "b"\nbuild 2'


@pytest.mark.parametrize(
    "model", ["a  PPMID", "a\u00a0PPMID", "A ppmid", "aPPMID", "a PPMID\u2009x"[:-1]]
)
def test_what_is_written_almost_as_a_product_is_refused_with_that_product(model: str) -> None:
    office = furnished()
    known = entry(device(PPMID, "PPMID"), "IHDAE07")
    before = office.dsp.cpl.everything()
    with pytest.raises(UsageError, match="than the 'Secure', 'a PPMID' that the CPL has") as e:
        office.dsp.load([dataclasses.replace(known, model=model)])
    assert "write 'Secure', 'a PPMID'" in e.value.next_step
    with pytest.raises(UsageError, match="'secure', 'a PPMID' is written otherwise"):
        office.dsp.load([dataclasses.replace(known, manufacturer="secure")])
    assert office.dsp.cpl.everything() == before
    office.dsp.load([dataclasses.replace(known, model="a PPMID 2"), known])


def test_hardware_is_part_of_the_product_and_may_be_new() -> None:
    office = furnished()
    known = entry(device(PPMID, "PPMID"), "IHDAE07")
    office.dsp.load([dataclasses.replace(known, hardware="0x1A")])
    with pytest.raises(UsageError, match="hardware '0X1A' is written otherwise than the '0x1A'"):
        office.dsp.load([dataclasses.replace(known, hardware="0X1A")])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_lab_file_with_a_byte_order_mark_reads(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(
        'seed = 5\n[comms_hub]\nboard = "esp32-devkitc"\nmodel = "skyline-i510"\n'
        'eui = "00-DB-12-34-56-78-90-A2"\n',
        encoding,
    )
    assert read_lab(path).seed == 5


def test_a_toml_list_with_a_byte_order_mark_reads(tmp_path: Path) -> None:
    text = '[[entry]]\ndevice_type = "PPMID"\nmanufacturer = "Acme"\nmodel = "Screen 9"\n'
    text += f'version = "ABC7"\nhash = "{HASH}"\n'
    assert read(tmp_path, text.encode("utf-8-sig"), "list.toml") == [PLAIN]


def test_an_inventory_has_each_device_once(tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    line = f"{PPMID},PPMID,Secure,A\n"
    path.write_text("eui;device_type;manufacturer;model\n".replace(";", ",") + line + line)
    with pytest.raises(UsageError, match=f"line 3 has {PPMID} again, which is in line 2"):
        read_inventory(path)


# -- status and dates of an entry


def test_a_last_day_is_the_last_one_and_then_the_devices_are_suspended() -> None:
    """Also while the DSP stays open, as `hanlab serve` keeps it."""
    office = furnished()
    last = (office.dsp.parts.clock() + timedelta(days=1)).date()
    found = dataclasses.replace(entry(device(PPMID, "PPMID"), "IHDAE07"), expires=last)
    office.dsp.load([found])
    office.dsp.smi.set_version(PPMID, "IHDAE07")
    office.passed = timedelta(days=1, hours=23)
    office.receive(update(PPMID))
    assert office.status(PPMID) is Status.COMMISSIONED
    office.passed = timedelta(days=2)
    office.receive(update(ESME))
    assert office.status(PPMID) is Status.SUSPENDED
    (ended,) = office.dsp.cpl.of_version("IHDAE07")
    assert ended.status is CplStatus.EXPIRED


def test_an_active_entry_whose_last_day_is_past_is_not_listed() -> None:
    office = Office()
    past = (office.dsp.parts.clock() - timedelta(days=1)).date()
    found = dataclasses.replace(entry(device(PPMID, "PPMID"), OLD), expires=past)
    with pytest.raises(
        UsageError, match=r"expires = '2025-12-31' .* is past: in this lab it is 2026"
    ):
        office.dsp.load([found])
    assert office.dsp.cpl.everything() == []
    office.dsp.load([dataclasses.replace(found, status=CplStatus.EXPIRED)])


@pytest.mark.rule(78)
def test_an_entry_that_is_listed_as_ended_suspends_what_runs_it() -> None:
    office = furnished()
    office.dsp.smi.set_version(PPMID, "IHDAE07")
    ended = dataclasses.replace(
        entry(device(PPMID, "PPMID"), "IHDAE07"), status=CplStatus.CANCELLED
    )
    office.dsp.load([ended])
    assert office.status(PPMID) is Status.SUSPENDED
    assert office.told("N28")
    (listed,) = office.dsp.cpl.of_version("IHDAE07")
    assert listed.status is CplStatus.CANCELLED


def test_a_withdrawn_entry_is_listed_again_without_its_last_day() -> None:
    office = furnished()
    last = office.dsp.parts.clock().date()
    found = dataclasses.replace(entry(device(PPMID, "PPMID"), "IHDAE07"), expires=last)
    office.dsp.load([found])
    office.passed = timedelta(days=1)
    office.dsp.expire()
    with pytest.raises(UsageError, match="Expired") as e:
        office.dsp.load([dataclasses.replace(found, expires=None)])
    assert "hanlab cpl add IHDAE07" in e.value.next_step
    with pytest.raises(UsageError, match="manufacturers list"):
        office.dsp.relist(found, "supplier")
    office.dsp.relist(found)
    assert office.dsp.expire() == 0
    (again,) = office.dsp.cpl.of_version("IHDAE07")
    assert (again.status, again.expires) == (CplStatus.ACTIVE, None)


def test_what_was_suspended_stays_so_when_its_version_is_listed_again() -> None:
    office = furnished()
    found = entry(device(PPMID, "PPMID"), OLD)
    office.dsp.withdraw(found)
    office.dsp.relist(found)
    assert office.status(PPMID) is Status.SUSPENDED


def test_changed_firmware_needs_another_version() -> None:
    office = furnished()
    found = entry(device(PPMID, "PPMID"), NEW)
    with pytest.raises(UsageError, match="Active, with another hash") as e:
        office.dsp.load([found])
    assert "another version" in e.value.next_step


# -- a withdrawn version is used nowhere


def test_a_version_that_is_withdrawn_everywhere_is_refused_whole() -> None:
    office = furnished()
    for eui, kind in ((PPMID, "PPMID"), (ESME, "ESME"), (GSME, "GSME")):
        office.dsp.withdraw(entry(device(eui, kind), NEW))
    assert office.receive(update(PPMID)) == "E110101"


def test_an_entry_for_another_model_lets_no_other_image_through() -> None:
    """The hash has to be that of the entry for this very Device Model, and that entry active."""
    office = furnished()
    office.dsp.withdraw(entry(device(PPMID, "PPMID"), NEW))
    assert office.send(update(PPMID, ESME))[0] == "I99"
    assert office.door.asked == [("11.1", ESME)]
    other = image_for("PPMID", "IHDAE07")
    office.dsp.load(
        [
            entry(device(ESME, "ESME"), "IHDAE07", image_for("ESME", "IHDAE07")),
            entry(device(PPMID, "PPMID"), "IHDAE07", other),
        ]
    )
    office.door.asked.clear()
    office.send(update(PPMID, ESME, image=other, version="IHDAE07"))
    assert office.door.asked == [("11.1", PPMID)]


def test_a_withdrawn_version_cannot_be_pre_notified() -> None:
    office = furnished()
    office.dsp.withdraw(entry(device(PPMID, "PPMID"), OLD))
    newcomer = Eui.parse("00-DB-12-34-56-78-90-B4")
    body = DevicePreNotification(newcomer, "Secure", "a PPMID", "PPMID", None, OLD)
    assert office.receive(body, service="12.2") == "E120203"


@pytest.mark.rule(88, 91)
@pytest.mark.parametrize("body", [ACTIVATE, READ])
def test_a_suspended_device_does_not_come_back_with_a_withdrawn_version(
    body: ActivateFirmware | ReadFirmwareVersion,
) -> None:
    office = furnished()
    esme = device(ESME, "ESME")
    office.dsp.withdraw(entry(esme, OLD))
    office.dsp.withdraw(entry(esme, NEW))
    office.door.runs[ESME] = NEW
    office.send(body, ESME)
    assert (office.status(ESME), office.version(ESME)) == (Status.SUSPENDED, NEW)
    assert office.told("N29") == []


# -- every column has an effect, or is said to have none


def test_the_readme_says_of_every_column_what_it_does() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    for kind in (CplEntry, SmiDevice):
        missing = [f.name for f in dataclasses.fields(kind) if f"`{f.name}`" not in readme]
        assert not missing


def test_a_version_of_the_makers_decides_nothing() -> None:
    office = furnished()
    other = image_for("PPMID", "IHDAE07")
    listed = dataclasses.replace(
        entry(device(PPMID, "PPMID"), "IHDAE07", other), manufacturer_version=NEW
    )
    office.dsp.load([listed])
    assert office.receive(update(PPMID, image=other, version=NEW)) == "E110102"
    assert office.receive(update(PPMID, image=other, version="IHDAE07")) == "I99"
