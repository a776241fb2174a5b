"""`hanlab image build|inspect` as a user meets them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from image_commands import run
from typer.testing import CliRunner

from hanlab.cli.image import app
from hanlab.errors import HanlabError
from hanlab.images import build, made_body, read_image


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


BUILD = ("build", "--type", "PPMID", "--version", "IHDAE06", "-o", "out.ota")


def test_build_from_a_file(here: Path) -> None:
    Path("app.bin").write_bytes(b"firmware")
    result = run("build", "app.bin", *BUILD[1:], "--hw", "0x0001:0x00FF")
    image = read_image("out.ota")
    assert image.body == b"firmware"
    assert image.header.hardware == (1, 0xFF)
    assert result.exit_code == 0
    assert "header 60 + firmware 8" in result.stdout
    assert hashlib.sha256(b"firmware").hexdigest() in result.stdout
    assert image.file_hash.hex() in result.stdout


@pytest.mark.parametrize(
    ("size", "octets"), [("1000", 1000), ("2K", 2048), ("2KiB", 2048), ("1m", 1048576)]
)
def test_build_of_a_size(here: Path, size: str, octets: int) -> None:
    built = run_json(*BUILD, "--size", size, "--seed", "3")
    assert built["body_size"] == octets
    assert built["file_size"] == octets + 60
    again = build(made_body(octets, seed=3), device_type="PPMID", version="IHDAE06")
    assert read_image("out.ota") == again


def test_build_with_everything(here: Path) -> None:
    options = ["--size", "1K", "--for-ch", "Secure", "--ch-code", "0x1234", "--trailer"]
    options += ["--manufacturer", "0x1111"]
    result = run(*BUILD, *options, "--file-version", "7", "--hw", "0x0131")
    image = read_image("out.ota")
    assert image.metadata is not None
    assert image.metadata.ch_manufacturer_code == 0x1234
    assert (image.header.manufacturer, image.header.file_version) == (0x1111, 7)
    assert image.header.hardware == (0x0131, 0x0131)
    assert "metadata 32 + firmware 1,024 + trailer 66" in result.stdout
    assert "CHs made by Secure (illustrative metadata block)" in result.stdout
    assert "signed by nobody" in result.stdout
    built = run_json(*BUILD, *options, "--force")
    assert built["ch_manufacturer"] == "Secure"
    assert (built["metadata_size"], built["trailer_size"]) == (32, 66)


def test_build_says_when_the_firmware_is_an_image_already(here: Path) -> None:
    run(*BUILD, "--size", "1K")
    result = run("build", "out.ota", *BUILD[1:-1], "twice.ota")
    assert "is an OTA image already" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "1K", "--version", "ABCDEFGHI"], "'ABCDEFGHI' has 9 characters"),
        (["--size", "1K", "--type", "toaster"], "no device type 'toaster'"),
        (["--size", "12M"], "12,582,972 octets|12,582,912 octets"),
        (["--size", "0"], "the firmware body is empty"),
        (["--size", "many"], "--size 'many' is no size"),
        (["--size", "-5"], "--size '-5' is no size"),
        (["--size", "1K", "--hw", "5:4"], "wrong way round"),
        (["--size", "1K", "--hw", "5:x"], "--hw 'x' is no number from 0x0 to 0xFFFF"),
        (["--size", "1K", "--manufacturer", "0x12345"], "--manufacturer '0x12345' is no number"),
        (["--size", "1K", "-o", "none/out.ota"], "cannot be written: No such file"),
        (["--size", "1K", "-o", "."], "is a directory"),
        (["--size", "1K", "-o", "/dev/null", "--force"], "is no ordinary file"),
        ([], "nothing to build an image from"),
        (["app.bin", "--size", "1K"], "FILE and --size are both given"),
        (["none.bin"], "there is no file none.bin"),
    ],
)
def test_wrong_usage_is_one_sentence_and_writes_nothing(
    here: Path, arguments: list[str], words: str
) -> None:
    Path("app.bin").write_bytes(b"firmware")
    with pytest.raises(HanlabError, match=words) as refused:
        run(*BUILD, *arguments)
    assert refused.value.exit_code == 2
    assert refused.value.next_step
    assert [path.name for path in here.iterdir()] == ["app.bin"]


def test_output_is_replaced_only_with_force(here: Path) -> None:
    Path("out.ota").write_bytes(b"precious")
    with pytest.raises(HanlabError, match=r"out\.ota is there already, 8 octets") as refused:
        run(*BUILD, "--size", "1K")
    assert refused.value.exit_code == 2
    assert Path("out.ota").read_bytes() == b"precious"
    run(*BUILD, "--size", "1K", "--force")
    assert len(read_image("out.ota").body) == 1024
    assert [path.name for path in here.iterdir()] == ["out.ota"]


def test_inspect_draws_and_explains(here: Path) -> None:
    run(*BUILD, "--size", "1K", "--for-ch", "Secure", "--trailer")
    result = run("inspect", "out.ota")
    assert result.exit_code == 0
    title, _, bar, *rest = result.stdout.splitlines()
    assert title == "out.ota: 1,182 octets, GBCS layout"
    assert len(bar) == 100
    assert [bar.count(glyph) for glyph in "▓▒█░"] == [5, 2, 88, 5]
    text = "\n".join(rest)
    assert read_image("out.ota").manufacturer_image_hash.hex() in text
    for words in ("header string", "PPMID IHDAE06", "locked to", "authorisation trailer", "Good"):
        assert words in text


def test_output_that_takes_only_ascii_gets_ascii(here: Path) -> None:
    run(*BUILD, "--size", "1K", "--trailer")
    odd = Path(os.fsdecode(b"\xff.ota"))
    Path("out.ota").rename(odd)
    result = CliRunner(charset="ascii").invoke(app, ["inspect", str(odd)])
    assert result.exit_code == 0
    assert result.stdout.startswith("\\udcff.ota: 1,150 octets")
    assert set(result.stdout.splitlines()[2]) == set("H#T")


def test_inspect_shows_what_is_missing_and_exits_with_2(here: Path) -> None:
    run(*BUILD, "--size", "1K")
    Path("cut.ota").write_bytes(Path("out.ota").read_bytes()[:542])
    result = run("inspect", "cut.ota")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[2].endswith("·" * 50)
    assert "542 are missing" in result.stdout
    assert json.loads(run("inspect", "cut.ota", "--json").stdout)["missing"] == 542


def test_inspect_json_has_everything(here: Path) -> None:
    run(*BUILD, "--size", "1K")
    found = run_json("inspect", "out.ota")
    image = read_image("out.ota")
    assert found["file"] == "out.ota"
    assert found["manufacturer_image"] == {"offset": 60, "size": 1024}
    assert found["manufacturer_image_hash"] == image.manufacturer_image_hash.hex()
    assert found["ota_image"] == {"offset": 0, "size": 1084}
    assert (found["problem"], found["push_problem"]) == (None, None)
    assert [region["kind"] for region in found["regions"]] == ["header", "firmware"]


def test_inspect_extracts_the_image_from_a_vendors_file(here: Path) -> None:
    run(*BUILD, "--size", "1K")
    image = Path("out.ota").read_bytes()
    Path("vendor.ota").write_bytes(b"prefix" + image + b"\xff" * 9)
    with pytest.raises(HanlabError, match="begins at octet 6") as refused:
        read_image("vendor.ota")
    assert "hanlab image inspect vendor.ota --extract OUT.ota" in refused.value.next_step
    result = run("inspect", "vendor.ota", "--extract", "taken.ota")
    assert result.exit_code == 0
    assert Path("taken.ota").read_bytes() == image
    with pytest.raises(HanlabError, match="is there already"):
        run("inspect", "vendor.ota", "--extract", "taken.ota")


def test_inspect_of_hundreds_of_sub_elements_stays_readable(here: Path) -> None:
    from hanlab.images import OtaHeader, SubElement

    parts = [SubElement(0, b"firmware"), *[SubElement(0xF100 + n, b"mac") for n in range(170)]]
    payload = b"".join(part.to_bytes() for part in parts)
    header = OtaHeader(0x100B, 0x0110, 1, bytes(32), 56 + len(payload))
    Path("many.ota").write_bytes(header.to_bytes() + payload)
    result = run("inspect", "many.ota")
    assert "150 more parts" in result.stdout
    assert len(result.stdout.splitlines()) < 60
    assert len(run_json("inspect", "many.ota")["regions"]) == 173


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "it is empty"), (b"UF2\nWQ]\x9e", "it looks like a UF2 file")]
)
def test_inspect_of_no_image_exits_with_2(here: Path, data: bytes, words: str) -> None:
    Path("file").write_bytes(data)
    result = run("inspect", "file")
    assert result.exit_code == 2
    assert words in " ".join(result.stdout.split())


def test_inspect_of_what_cannot_be_read(here: Path) -> None:
    for name, words in ((".", "is a directory"), ("none", "there is no file")):
        with pytest.raises(HanlabError, match=words):
            run("inspect", name)
