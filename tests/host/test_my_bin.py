"""From `my.bin` to a device that runs it: whoever does what each refusal says arrives."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import bincopy
import pytest
from lab_file import lab_toml

from hanlab.boards.data import ch_makers
from hanlab.cli import main
from hanlab.errors import UsageError
from hanlab.images import HardwareRange, MetadataBlock, OtaImage, build, made_body, read_image
from hanlab.images.making import lock_for
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.fitting import misfits, next_version

FIRMWARE = bytes(made_body(3000, seed=5))


class Shell:
    """Runs command lines in an empty folder, and reads the commands that their next steps name."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        self._patch.setattr(sys, "argv", ["hanlab", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return int(end.value.code or 0)

    def next_steps(self) -> list[list[str]]:
        """The commands after `next:`, as they are to be pasted."""
        said = " ".join(re.findall(r"next: (.*)", self.out + self.err))
        return [shlex.split(c)[1:] for c in re.findall(r"hanlab [^,;`]+", said)]


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    Path("my.bin").write_bytes(FIRMWARE)
    hex_file = bincopy.BinFile()
    hex_file.add_binary(FIRMWARE, address=0x8000)
    Path("my.hex").write_text(hex_file.as_ihex())
    Path("lab.toml").write_text(lab_toml(hub="am110r", model="sed-v3"))
    return Shell(monkeypatch, capsys)


def arrive(shell: Shell, file: str, *lab: str) -> tuple[int, str]:
    """Push `file` and do what the next steps say until it is pushed; refusals of push, and the file."""
    for refusals in range(4):
        if shell("push", file, "--to", "PPMID", *lab) == 0:
            return refusals, file
        commands = shell.next_steps()
        assert commands, shell.err
        for command in commands:
            assert shell(*command) == 0, (command, shell.err)
            if "-o" in command:
                file = command[command.index("-o") + 1]
    raise AssertionError(shell.err)


@pytest.mark.parametrize("lab", [(), ("--lab", "lab.toml")])
@pytest.mark.parametrize("name", ["my.bin", "my.hex"])
def test_from_a_binary_to_a_device_that_runs_it(shell: Shell, name: str, lab: tuple[str]) -> None:
    refusals, file = arrive(shell, name, *lab)
    assert refusals <= 2  # it is no image; it is not on the CPL
    assert read_image(file).body == FIRMWARE
    (activate,) = shell.next_steps()
    assert shell(*activate) == 0
    for command in shell.next_steps():  # where the answer to 11.3 says no version (rule 95)
        assert shell(*command) == 0
    assert f"runs {read_image(file).version}" in shell.out


def write(name: str, version: str = "IHDAE06", **options: Any) -> None:
    given = {"device_type": "PPMID", "version": version, "for_ch": "Secure", **options}
    Path(name).write_bytes(build(FIRMWARE, **given).to_bytes())


@pytest.mark.parametrize(
    "options",
    [
        {"for_ch": None},
        {"for_ch": "Elster"},
        {"hardware": (0x0200, 0x0300)},
        {"device_type": "ESME"},
        {"manufacturer": 0x1234, "for_ch": None, "hardware": (2, 3), "layout": "zigbee"},
        {"version": "IHDAE05"},
    ],
)
def test_an_image_that_does_not_fit_is_mended_in_one_go(
    shell: Shell, options: dict[str, Any]
) -> None:
    write("v6.ota", **options)
    refusals, file = arrive(shell, "v6.ota")
    assert refusals == 1
    assert read_image(file).body == FIRMWARE


def test_a_sub_element_is_taken_and_its_hash_is_that_of_the_firmware(shell: Shell) -> None:
    write("z.ota", layout="zigbee")
    refusals, file = arrive(shell, "z.ota")
    assert (refusals, file) == (1, "z.ota")
    assert shell("activate", "PPMID", "--image", "z.ota") == 0
    assert "PPMID runs IHDAE06" in shell.out


def test_a_doubtful_image_is_not_pushed_without_a_word(shell: Shell) -> None:
    image = build(FIRMWARE, device_type="PPMID", version="IHDAE06", for_ch="Secure")
    header = dataclasses.replace(image.header, hardware=HardwareRange(2, 1))
    Path("odd.ota").write_bytes(dataclasses.replace(image, header=header).to_bytes())
    assert shell("push", "odd.ota", "--to", "PPMID") == 1
    assert "Warning: the lowest hardware version, 0x0002, is above" in shell.err


def test_a_listed_image_without_metadata_is_no_dead_end(shell: Shell) -> None:
    write("v6.ota", for_ch=None)
    assert shell("cpl", "add", "v6.ota", "--anyway") == 0
    refusals, file = arrive(shell, "v6.ota")
    assert refusals == 1
    assert read_image(file).version == "IHDAE07"  # IHDAE06 is on the CPL with the other hash


def test_everything_that_is_missing_is_said_at_once(shell: Shell) -> None:
    write("v6.ota")
    assert shell("cpl", "add", "v6.ota") == 0
    write("changed.ota", for_ch="Elster", hardware=(2, 3), manufacturer=0x1234)
    for command in (("push", "changed.ota", "--to", "PPMID"), ("cpl", "add", "changed.ota")):
        assert shell(*command) in (1, 2)
        for words in (
            "manufacturer code is 0x1234, PPMID asks for 0x121D",
            "hardware range is 0x0002 to 0x0003, PPMID has hardware 0x0001",
            "needs Secure's metadata in front of the firmware, and it has Elster's",
            "IHDAE06 of Secure Pipit 500 is on the CPL already with another hash",
        ):
            assert words in shell.err
        assert "hanlab image build changed.ota --lab" in shell.err


def test_cpl_add_lists_nothing_that_no_device_takes(shell: Shell) -> None:
    write("v6.ota", for_ch=None)
    assert shell("cpl", "add", "v6.ota") == 2
    assert "--anyway" in shell.err
    assert shell("cpl", "--json") == 0
    assert "IHDAE06" not in shell.out


def test_the_same_image_may_be_added_twice(shell: Shell) -> None:
    write("v6.ota")
    assert shell("cpl", "add", "v6.ota") == 0
    assert shell.next_steps() == [["push", "v6.ota", "--to", "PPMID"]]
    assert shell("cpl", "add", "v6.ota") == 0


def test_one_firmware_is_not_listed_as_two_versions(shell: Shell) -> None:
    """11.3 names firmware by its hash alone."""
    write("v6.ota")
    write("v7.ota", version="IHDAE07")
    assert shell("cpl", "add", "v6.ota") == 0
    assert shell("cpl", "add", "v7.ota") == 2
    assert "the same firmware is on the CPL as version IHDAE06 already" in shell.err


def test_a_withdrawn_version_is_listed_again(shell: Shell) -> None:
    write("v6.ota")
    assert shell("cpl", "add", "v6.ota") == 0
    assert shell("cpl", "withdraw", "IHDAE06") == 0
    assert shell.next_steps() == [["cpl", "add", "IHDAE06", "lists", "it", "again"]]
    assert shell("cpl", "withdraw", "IHDAE05") == 0
    assert shell("push", "v6.ota", "--to", "PPMID") == 1
    assert "Withdrawn: hanlab cpl add IHDAE06 lists it again" in shell.err
    assert shell("cpl", "add", "IHDAE06") == 0
    assert "listed again: Secure Pipit 500 IHDAE06" in shell.out
    assert "1 stay so until they run another version" in shell.out
    assert shell("push", "v6.ota", "--to", "PPMID") == 0
    assert shell("cpl", "add", "IHDAE06") == 2
    assert "already, Active" in shell.err
    assert shell("cpl", "add", "IHDAE99") == 2
    assert "there is no file IHDAE99, and no version IHDAE99 on the CPL" in shell.err


def test_a_list_whose_name_has_no_end_is_no_image(shell: Shell) -> None:
    Path("list").write_text(
        "device_type,manufacturer,model,version\nPPMID,Secure,Pipit 500,IHDAE06\n"
    )
    assert shell("cpl", "add", "list") == 2
    assert "the name of a list ends in .toml, .csv" in shell.err


def test_image_build_asks_the_lab(shell: Shell) -> None:
    assert shell("image", "build", "my.bin", "--lab", "--version", "IHDAE06", "-o", "a.ota") == 0
    image = read_image("a.ota")
    assert image.header.hardware == (1, 1)
    assert (image.device_type, image.metadata) == ("PPMID", MetadataBlock("Secure"))
    args = ("--version", "2.08.02", "-o", "b.ota")
    assert shell("image", "build", "my.bin", "--lab", "lab.toml", *args) == 0
    assert read_image("b.ota").metadata == MetadataBlock("Elster")
    assert shell.next_steps() == [["cpl", "add", "b.ota", "--lab", "lab.toml"]]
    assert shell("image", "build", "--lab", "my.bin", "--version", "IHDAE07", "-o", "c.ota") == 0
    assert read_image("c.ota").body == FIRMWARE


def test_image_build_for_a_lab_refuses_a_version_that_is_taken(shell: Shell) -> None:
    write("v6.ota")
    assert shell("cpl", "add", "v6.ota") == 0
    Path("other.bin").write_bytes(b"other firmware")
    assert shell("image", "build", "other.bin", "--lab", "--version", "IHDAE06", "-o", "o.ota") == 2
    assert "is on the CPL already with another hash" in shell.err
    assert "--version IHDAE07 is free" in shell.err
    assert not Path("o.ota").exists()


def test_for_ch_takes_known_makers_only(shell: Shell) -> None:
    given = ("image", "build", "my.bin", "--type", "PPMID", "--version", "1", "-o", "x.ota")
    for typo in ("secure", "Secur", "Elstr"):
        assert shell(*given, "--for-ch", typo) == 2
        assert re.search(f"no CH is made by '{typo}'; did you mean (Secure|Elster)", shell.err)
    assert shell(*given, "--for-ch", "") == 2
    assert not Path("x.ota").exists()
    assert shell(*given, "--for-ch", "Secure") == 0
    assert {"Secure", "Elster"} <= set(ch_makers())


def test_for_ch_takes_known_makers_only_in_python() -> None:
    for_maker = partial(build, FIRMWARE, device_type="PPMID", version="1")
    with pytest.raises(UsageError, match="no CH is made by 'secure'; did you mean Secure") as e:
        for_maker(for_ch="secure")
    assert "Elster" in e.value.next_step
    with pytest.raises(UsageError, match="no CH is made by ''"):
        for_maker(for_ch="")
    for maker in (MetadataBlock("Another"), lock_for("Another", ["Another"])):
        assert for_maker(for_ch=maker).metadata == MetadataBlock("Another")


def for_device(eui: str) -> OtaImage:
    """An image with that EUI-64 as its upgrade file destination."""
    image = build(FIRMWARE, device_type="PPMID", version="IHDAE06", for_ch="Secure")
    header = dataclasses.replace(
        image.header,
        destination=bytes.fromhex(eui.replace("-", ""))[::-1],
        total_size=image.header.total_size + 8,
    )
    return dataclasses.replace(image, header=header)


@pytest.mark.parametrize("direct", [(), ("--direct",)])
def test_an_upgrade_file_destination_is_for_that_device_alone(
    shell: Shell, direct: tuple[str]
) -> None:
    config = make_lab("test", DEFAULT)
    node = config.devices[0]
    other = for_device("00-DB-12-34-56-78-90-B4")
    (why,) = misfits(other, node, config.home_of(node))
    assert "for 00-DB-12-34-56-78-90-B4 alone (upgrade file destination)" in why
    Path("other.ota").write_bytes(other.to_bytes())
    assert shell("cpl", "add", "other.ota", "--anyway") == 0
    assert shell("push", "other.ota", "--to", "PPMID", *direct) == 1
    assert "00-DB-12-34-56-78-90-B4" in shell.err
    mine = for_device(str(node.eui))
    assert misfits(mine, node, config.home_of(node)) == []
    Path("mine.ota").write_bytes(mine.to_bytes())
    assert shell("push", "mine.ota", "--to", "PPMID", *direct) == 0
    assert shell("activate", "PPMID", "--image", "mine.ota", *direct) == 0


@pytest.mark.parametrize(
    ("version", "after"),
    [
        ("IHDAE06", "IHDAE08"),
        ("2.08.09", "2.08.10"),
        ("FINAL", "FINAL02"),
        ("ABCDEFGH", "ABCDEF02"),
    ],
)
def test_the_next_version_is_one_that_is_free(version: str, after: str) -> None:
    assert next_version(version, ["IHDAE07"]) == after
    with pytest.raises(UsageError):
        build(FIRMWARE, device_type="PPMID", version=after + "123456789")
