"""Next steps about what somebody has made: a list, a request, an image. Each is refused, and taken as its next step says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hanlab.dsp.cpl import check_entry, read_cpl
from hanlab.dsp.smi import check_generation, read_inventory
from hanlab.duis.foreign_pki import import_pki
from hanlab.duis.parsing import MAX_OCTETS, MAX_TAGS
from hanlab.duis.pki import DSP_NAME, S1SP_NAME, Pki, provision, read_pki
from hanlab.duis.reading import read_request
from hanlab.duis.signing import verify
from hanlab.eui import Eui
from hanlab.images import DUIS_IMAGE_LIMIT, MetadataBlock, SubElement, build, image_to_push
from hanlab.images.conversion import firmware_from
from hanlab.images.device_types import check_version
from hanlab.images.files import read_octets, write_octets
from hanlab.images.ota import check_size
from hanlab.resources import samples_dir

THEIRS = Path(__file__).parent / "dcc_style" / "keys"


@dataclass(frozen=True)
class Mended:
    """`do(bad)` fails with the next step; `do(good)` has what it says, and does not. In an empty folder."""

    do: Callable[[Any], object]
    bad: Any
    good: Any


def _file(content: str | bytes, name: str) -> Path:
    path = Path(name)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# -- lists

HASH = "cd" * 32
HEADER = "device_type,manufacturer,model,version,hash"
LINE = f"PPMID,Acme,Screen 9,ABC7,{HASH}"
PLAIN = f"{HEADER}\n{LINE}\n"
IN_TOML = f"""[[entry]]
device_type = "PPMID"
manufacturer = "Acme"
model = "Screen 9"
version = "ABC7"
hash = "{HASH}"
"""
DEVICES = "eui,{}\n00-DB-12-34-56-78-90-A4,{}\n"


def cpl(content: str | bytes) -> object:
    return read_cpl(_file(content, "cpl.csv"))


def cpl_in_toml(content: str) -> object:
    return read_cpl(_file(content, "cpl.toml"))


def cpl_called(name: str) -> object:
    _file(PLAIN, "cpl.csv")
    return read_cpl(Path(name))


def cpl_with(column: str, bad: str, good: str) -> Mended:
    text = "{},{}\n{},{}\n"
    return Mended(cpl, *(text.format(HEADER, column, LINE, value) for value in (bad, good)))


def cpl_line(old: str, bad: str) -> Mended:
    return Mended(cpl, f"{HEADER}\n{LINE.replace(old, bad)}\n", PLAIN)


def inventory(content: str) -> object:
    return read_inventory(_file(content, "devices.csv"))


def entry_of(manufacturer: str) -> None:
    (entry,) = read_cpl(_file(PLAIN, "cpl.csv"))
    check_entry(replace(entry, manufacturer=manufacturer))


def record_of(generation: str) -> None:
    columns, values = "device_type,manufacturer,model", "PPMID,Acme,Screen 9"
    (device,) = read_inventory(_file(DEVICES.format(columns, values), "devices.csv"))
    check_generation(replace(device, generation=generation))


LISTS: Mapping[str, Mended] = {
    "'64 hex digits, in a column that the spreadsheet takes for text'": cpl_line(HASH, "1.23E+63"),
    "f'it has to be {_WANTED[name]}'": cpl_line(HASH, HASH[:-2]),
    "'a day such as 2026-12-31'": cpl_with("expires", "31/12/2026", "2026-12-31"),
    "f\"one of {', '.join(CplStatus)}\"": cpl_with("status", "active", "Active"),
    "f\"one of {', '.join(_LISTED)} (rules 101, 102)\"": cpl_line("PPMID", "ppmid"),
    "f\"one of {', '.join(GENERATIONS)}\"": cpl_with("generation", "smets1", "SMETS1"),
    '"put the manufacturer\'s own string into manufacturer_version (rule 145)"': Mended(
        cpl,
        PLAIN.replace("ABC7", "ABC7.00.01"),
        f"{HEADER},manufacturer_version\n{LINE},ABC7.00.01\n",
    ),
    "'name both'": Mended(entry_of, "", "Acme"),
    "f\"there are {', '.join(_COLUMNS)}\"": Mended(
        cpl_in_toml, IN_TOML.replace("version", "vers"), IN_TOML
    ),
    "'complete it, and end it with a new line'": Mended(cpl, f"{PLAIN}PPMID,Acme", PLAIN),
    "'complete it'": Mended(cpl, f"{HEADER}\nPPMID,Acme\n", PLAIN),
    "f'begin each with a line [[{name}]]'": Mended(cpl_in_toml, "entry = 3", IN_TOML),
    "f\"a list is a {', '.join(LISTS)} file\"": Mended(cpl_called, ".", "cpl.csv"),
    "'leave one of them out, or give it the name that it should have'": Mended(
        cpl, f"{HEADER},model\n{LINE},Other\n", f"{HEADER},hardware\n{LINE},Other\n"
    ),
    "f\"the first line names the columns; there are {', '.join(columns)}\"": Mended(
        cpl, PLAIN.replace("model", "modell"), PLAIN
    ),
    "f\"it has {len([n for n in names if n])} columns: {', '.join(names)}; a text with the separator in it stands in quotes\"": Mended(
        cpl, PLAIN.replace("Acme", "Acme, Ltd"), PLAIN.replace("Acme", '"Acme, Ltd"')
    ),
    "'check its quotes'": Mended(cpl, PLAIN.replace("PPMID", '"PPMID'), PLAIN),
    "'save it again as UTF-8 (a spreadsheet calls it \"CSV UTF-8\")'": Mended(
        cpl,
        PLAIN.replace("Acme", "Acmé").encode("cp1252"),
        PLAIN.replace("Acme", "Acmé").encode(),
    ),
    "'true or false'": Mended(
        inventory,
        *(
            DEVICES.format("upgradable,manufacturer,model", f"{said},Acme,Screen 9")
            for said in ("yes", "true")
        ),
    ),
    "f\"one of {', '.join(allowed)}\"": Mended(
        inventory,
        *(
            DEVICES.format("device_type,manufacturer,model", f"{kind},Acme,Screen 9")
            for kind in ("ppmid", "PPMID")
        ),
    ),
    "f\"one of {', '.join(GENERATIONS)}; a record has one of them (rule 13)\"": Mended(
        record_of, "both", "SMETS1"
    ),
}


# -- Service Requests and keys

REQUEST = (samples_dir() / "requests" / "2-read-firmware-version-11.2.xml").read_bytes()
OWN = Eui.parse("90-B3-D5-1F-30-01-00-00")
PARTIES = [("supplier", OWN), (DSP_NAME, OWN), (S1SP_NAME, OWN)]


@cache
def keys(of: str) -> Pki:
    """Test keys of one lab or another."""
    with tempfile.TemporaryDirectory() as folder:
        return provision(Path(folder), PARTIES)


def verified(make: Callable[[bytes], bytes]) -> object:
    signed = keys("ours").signers["supplier"].sign_octets(REQUEST)
    return verify(make(signed), keys("ours").certificates)


def as_sent(signed: bytes) -> bytes:
    return signed


def changed(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(signed: bytes) -> bytes:
        assert old in signed
        return signed.replace(old, new, 1)

    return change


def provision_in(name: str) -> object:
    _file("mine", "notes.txt")
    return provision(Path(name), PARTIES)


def keys_in(name: str) -> object:
    provision(Path("ours"), PARTIES, force=True)
    Path("empty").mkdir(exist_ok=True)
    return read_pki(Path(name))


MESSAGES: Mapping[str, Mended] = {
    "'DUIS 5.4 says what a message looks like'": Mended(
        read_request, REQUEST.replace(b"CommandVariant>1", b"CommandVariant>x"), REQUEST
    ),
    "'an 11.1 takes an image of 10,240,000 octets and 50,000 devices'": Mended(
        read_request, b" " * (MAX_OCTETS + 1), REQUEST
    ),
    "'DUIS has neither: remove them'": Mended(
        read_request, REQUEST.replace(b"<sr:Request", b"<!DOCTYPE x><sr:Request", 1), REQUEST
    ),
    "'send XML in UTF-8 or UTF-16'": Mended(
        read_request, REQUEST.replace(b"UTF-8", b"latin-1"), REQUEST
    ),
    "'send one Service Request in a message'": Mended(
        read_request, b"<a>" * (MAX_TAGS + 1), REQUEST
    ),
    "'send XML in UTF-8'": Mended(read_request, REQUEST[:-1], REQUEST),
    "f\"one of {', '.join(PUBLISHED)}; hanlab itself writes {PUBLISHED[-1]}\"": Mended(
        read_request, REQUEST.replace(b'="5.4"', b'="9.9"'), REQUEST
    ),
    "'sign it once, with a key of this lab: hanlab provision makes test keys'": Mended(
        verified, lambda signed: REQUEST, as_sent
    ),
    '"hanlab provision makes test keys, hanlab provision --import-pki takes others\'; sign with one of them"': Mended(
        verified,
        lambda signed: keys("others").signers["supplier"].sign_octets(REQUEST),
        as_sent,
    ),
    "'sign the whole of it: one Reference, with URI=\"\"'": Mended(
        verified, changed(b'URI=""', b'URI="#x"'), as_sent
    ),
    "'sign the message as it is sent; nothing may change afterwards'": Mended(
        verified, changed(b"CommandVariant>1", b"CommandVariant>4"), as_sent
    ),
    "f\"DUIS has {', '.join(allowed[0])}\"": Mended(
        verified, changed(b"xmlenc#sha256", b"xmlenc#sha512"), as_sent
    ),
    "f'give another folder: {_MAKES}'": Mended(keys_in, "empty", "ours"),
    "'give a folder that is new or empty; --import-pki FOLDER takes keys from one'": Mended(
        provision_in, ".", "new"
    ),
    "'give the folder that the keys are in'": Mended(import_pki, Path("none"), THEIRS),
}


# -- images

BODY = bytes(range(256)) * 5
IMAGE = build(BODY, device_type="PPMID", version="IHDAE06").to_bytes()
DATA = ":0400000001020304F2\n"
END = ":00000001FF\n"


def built(options: Mapping[str, Any]) -> object:
    return build(**{"body": BODY, "device_type": "PPMID", "version": "IHDAE06", **options})


def firmware(octets: bytes | str) -> object:
    return firmware_from(octets.encode() if isinstance(octets, str) else octets, "FILE")


def four_octets_of(name: str) -> object:
    _file(b"1234", "four")
    _file(b"12345", "five")
    return read_octets(name, 4)


def written_to(name: str) -> None:
    write_octets(name, b"1234")


def with_total_size(total: int) -> bytes:
    return IMAGE[:52] + total.to_bytes(4, "little") + IMAGE[56:]


IMAGES: Mapping[str, Mended] = {
    "f'{found.way_out(shlex.quote(name))}; or --as-is, to wrap its octets as they are'": Mended(
        firmware, b"PK\3\4" + BODY, BODY
    ),
    "'copy or build it again'": Mended(firmware, DATA, DATA + END),
    "'read or build it again; or --as-is, to wrap its octets as they are'": Mended(
        firmware, bytes(64), BODY
    ),
    "'build it again'": Mended(firmware, END, DATA + END),
    'f"keep the firmware\'s alone: srec_cat {shlex.quote(name)} -{tool} -crop 0x{start:X} 0x{start + parts[0][1]:X} -o OUT.hex -intel"': Mended(
        firmware, DATA + ":020000041000EA\n" + DATA + END, DATA + END
    ),
    "'give the file of one build, not several in one'": Mended(
        firmware, DATA + DATA + END, DATA + END
    ),
    "f'give a short form, {next_step}'": Mended(check_version, "IHDAE06.00.01", "IHDAE06."),
    "f'leave it out, {next_step}'": Mended(check_version, "IHD 06", "IHD06"),
    "f'an image has {DUIS_IMAGE_LIMIT:,} at most: cut it out first'": Mended(
        four_octets_of, "five", "four"
    ),
    "'save the image to a file first'": Mended(four_octets_of, "/dev/null", "four"),
    "'check its name and permissions'": Mended(four_octets_of, "fo\0ur", "four"),
    "'check that its directory is there and may be written to'": Mended(
        written_to, "none/out.ota", "out.ota"
    ),
    "f\"one of {', '.join(LAYOUTS)}\"": Mended(built, {"layout": "zip"}, {"layout": "zigbee"}),
    "'leave one of them out'": Mended(
        built, {"layout": "zigbee", "trailer": True}, {"layout": "zigbee"}
    ),
    "'give the plain firmware, and the manufacturer with --for-ch'": Mended(
        built, {"body": MetadataBlock("Secure").to_bytes() + BODY}, {"for_ch": "Secure"}
    ),
    "'give the data of the upgrade image alone, or add an octet at the end'": Mended(
        built, {"body": SubElement(0, BODY).to_bytes()}, {"body": BODY}
    ),
    "'add --trailer, so that one follows it, or add an octet at its end'": Mended(
        built,
        {"body": BODY + b"\0\x40" + bytes(64)},
        {"body": BODY + b"\0\x40" + bytes(64), "trailer": True},
    ),
    '"add an octet at the firmware\'s end"': Mended(
        built,
        {"body": SubElement(0x1234, BODY).to_bytes()},
        {"body": SubElement(0x1234, BODY).to_bytes() + b"\0"},
    ),
    "'build it with another --file-version, for example 0x00000001'": Mended(
        built, {"file_version": 0xFFFFFFFF}, {"file_version": 1}
    ),
    "f'give 1 to {NAME_LIMIT} printable ASCII characters'": Mended(MetadataBlock, "", "Secure"),
    "'give 0x0000 (unknown) to 0xFFFF'": Mended(
        lambda code: MetadataBlock("Secure", code), 0x10000, 0
    ),
    '"use a smaller image; the CH\'s store is far smaller still"': Mended(
        check_size, DUIS_IMAGE_LIMIT + 1, DUIS_IMAGE_LIMIT
    ),
    "'copy or download it again'": Mended(image_to_push, IMAGE[:-1], IMAGE),
    "'build it again from the firmware'": Mended(image_to_push, with_total_size(60), IMAGE),
    "'copy or download it again, as binary (a transfer in text mode does that)'": Mended(
        image_to_push, IMAGE.replace(b"\n", b"\r\n"), IMAGE
    ),
}

MENDED: Mapping[str, Mended] = {**LISTS, **MESSAGES, **IMAGES}
