"""Board files and Device Models: what they say, and what a wrong one is answered with."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from hanlab import resources
from hanlab.boards import data
from hanlab.boards.clauses import Behaviour
from hanlab.boards.data import (
    board_names,
    load_board,
    load_model,
    model_names,
)
from hanlab.demos.images import make_image
from hanlab.demos.parts import ImageSpec
from hanlab.errors import UsageError


@pytest.fixture
def boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of boards/ that a test may spoil."""
    copy = tmp_path / "boards"
    shutil.copytree(resources.boards_dir(), copy)
    monkeypatch.setattr(data, "boards_dir", lambda: copy)
    return copy


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_there_are_seven_boards_and_the_two_sets_of_the_rules() -> None:
    assert board_names() == [
        *("esp32-c3-devkitm", "esp32-devkitc", "esp32-s3-devkitc"),
        *("pico", "pico-w", "pico2", "pico2-w"),
    ]
    secure = ["liberty-100", "liberty-eg4v11", "pipit-500", "skyline-i510"]
    elster = ["am110r", "as-300p", "bk-g4e", "sed-v3"]
    assert model_names() == sorted(secure + elster)


@pytest.mark.parametrize("name", board_names())
def test_a_board_can_be_what_it_says(name: str) -> None:
    board = load_board(name)
    assert board.memory.heap < board.memory.ram
    assert board.flash.filesystem < board.flash.size
    assert board.uart.irq_level <= board.uart.fifo
    assert board.uart.baud <= board.uart.max_baud
    # what the window promises, the ring holds; one request at a time where flash work stops the UART
    assert board.smp.buf_size * board.smp.buf_count <= board.uart.rxbuf
    if board.flash.stops_uart and not board.uart.flow_control:
        assert board.smp.buf_count == 1
    wan, han = (dataclasses.asdict(wiring) for wiring in (board.uart.wan, board.uart.han))
    assert wan.pop("uart") != han.pop("uart")
    used = [pin for pin in (*wan.values(), *han.values()) if pin is not None]
    assert len(set(used)) == len(used)


@pytest.mark.parametrize("name", board_names())
def test_picos_stop_their_uart_for_flash_work_and_esp32s_do_not(name: str) -> None:
    board = load_board(name)
    assert board.flash.stops_uart == (board.family == "rp2")


# Type, manufacturer, model, firmware, hardware, revision where there is one: each as the documents' tables have it.
SECURE = {
    ("GSME", "Secure", "Liberty EG4v11", "Q4X2G0E", "0x12A"),
    ("ESME", "Secure", "Liberty 100", "P4X9G01", "0x131"),
    ("CHF", "Secure", "Skyline i-510", "HUB3F0X", "0x02"),
    ("PPMID", "Secure", "Pipit 500", "IHDAE05", None),
}
ELSTER = {
    ("GSME", "Elster", "BK-G4E EI2", "10.94", "0x0000"),
    ("ESME", "Elster", "AS 300P", "ASP04.04.01-55497", "0x0101"),
    ("CHF", "Elster", "AM110R", "03.07.09 (49) - REV09", "10"),
    ("PPMID", "Chameleon", "SED V3", "2.08.01", None),
}


@pytest.mark.data(124, 125, 126, 127)
@pytest.mark.parametrize(
    ("population", "smso", "table"),
    [
        ("Secure", "Secure Meters", SECURE),
        ("Elster Honeywell", "Morrison Data Services", ELSTER),
    ],
)
def test_a_population_is_its_table(
    population: str, smso: str, table: set[tuple[str | None, ...]]
) -> None:
    """Each value of it; a PPMID's hardware is in no table, and is marked as hanlab's own."""
    models = [m for m in map(load_model, model_names()) if m.population == population]
    assert {
        (
            m.device_type,
            m.manufacturer,
            m.model,
            m.firmware_version,
            None if "hardware_version" in m.illustrative else m.hardware_version,
        )
        for m in models
    } == table
    assert {m.smso for m in models} == {smso}


@pytest.mark.rule(144)
@pytest.mark.parametrize(
    ("cohort", "good"),
    [("IOC", True), ("MOC", True), ("FOC", True), ("moc", False), ("banana", False)],
)
def test_a_device_model_belongs_to_a_release(cohort: str, good: bool, boards: Path) -> None:
    spoil(boards / "models" / "pipit-500.toml", 'cohort = "MOC"', f'cohort = "{cohort}"')
    if good:
        assert load_model("pipit-500").cohort == cohort
        return
    with pytest.raises(UsageError, match="cohort") as e:
        load_model("pipit-500")
    assert "IOC, MOC, FOC" in e.value.next_step


@pytest.mark.data(10)
@pytest.mark.parametrize("for_ch", ["skyline-i510", "am110r"])
def test_images_of_the_demos_fit_the_ch_of_their_manufacturer(for_ch: str) -> None:
    """As manufacturers keep theirs small enough for the CH that they expect."""
    hub = load_model(for_ch)
    assert hub.update
    image = make_image(ImageSpec(for_ch=hub.update.metadata_manufacturer))
    assert hub.store.capacity
    assert len(image.to_bytes()) <= hub.store.capacity


@pytest.mark.parametrize("name", model_names())
def test_duis_version_is_the_manufacturers_string_or_marked(name: str) -> None:  # rule 145
    model = load_model(name)
    assert len(model.duis_version) <= 8
    same = model.duis_version == model.firmware_version
    assert same or "duis_version" in model.illustrative


@pytest.mark.parametrize("name", model_names())
def test_no_store_limit_passes_for_a_documents(name: str) -> None:  # rules 3, 9
    assert "store.capacity" in load_model(name).illustrative_keys()


def test_hubs_differ_in_what_the_rules_say_they_do() -> None:
    skyline, am110r = load_model("skyline-i510"), load_model("am110r")
    assert skyline.update is not None
    assert am110r.update is not None
    assert skyline.store.capacity != am110r.store.capacity  # rule 3
    assert [m.has(Behaviour.THIRD_PARTY) for m in (skyline, am110r)] == [True, False]  # rule 26
    assert skyline.has(Behaviour.METADATA)
    assert am110r.has(Behaviour.METADATA)  # rule 28
    assert skyline.update.metadata_manufacturer != am110r.update.metadata_manufacturer  # rule 29
    assert skyline.has(Behaviour.SIZE)  # rule 6
    assert "s1sr_clauses" in skyline.illustrative_keys()


def test_steps_and_the_version_in_the_answer_are_the_devices() -> None:  # rules 95 to 97
    pipit, sed = load_model("pipit-500"), load_model("sed-v3")
    assert (pipit.two_step, pipit.says_version) == (True, True)
    assert (sed.two_step, sed.says_version) == (False, False)
    assert {"activation.steps", "activation.version_in_response"} <= set(sed.illustrative_keys())
    assert not load_model("skyline-i510").two_step


@pytest.mark.parametrize("name", ["skyline-i510", "SKYLINE-I510", "Skyline i-510", "skyline I-510"])
def test_a_model_is_found_by_file_or_model_name_in_any_case(name: str) -> None:
    assert load_model(name).model == "Skyline i-510"


def test_a_board_is_found_by_its_own_name() -> None:
    assert load_board("raspberry pi pico") == load_board("pico")


def test_an_unknown_board_names_those_there_are_and_the_likely_one() -> None:
    with pytest.raises(UsageError) as e:
        load_board("pcio")
    assert e.value.what == f"there is no board 'pcio'; there are {', '.join(board_names())}"
    assert e.value.next_step == "did you mean pico?"


@pytest.mark.parametrize("name", ["", "zzz", "../models/sed-v3", "models/sed-v3.toml"])
def test_an_unknown_model_names_those_there_are(name: str) -> None:
    with pytest.raises(UsageError, match=r"no Device Model .*skyline-i510"):
        load_model(name)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("heap = ", "heep = ", "the key memory.heap is missing"),
        ("rxbuf = ", "wobble = 1\nrxbuf = ", "the key uart.wobble is unknown"),
        ("rxbuf = 4096", 'rxbuf = "4096"', "uart.rxbuf has to be a whole number"),
        ("baud = 115_200", "baud = -1", "uart.baud has to be a whole number, 0 or more"),
        ("stops_uart = true", "stops_uart = 1", "flash.stops_uart has to be true or false"),
        ("ble = false", "ble =", "is no TOML"),
        ("{ uart = 1, tx = 4, rx = 5 }", "4", "uart.han has to be a table"),
        ('family = "rp2"', 'family = "z80"', "family = 'z80' does not exist"),
        ("sector = 4096", "sector = 5000", "flash.filesystem = 1,441,792 is no multiple of 5,000"),
        ("sector = 4096", "sector = 0", "flash.filesystem = 1,441,792 is no multiple of 0"),
        ("tx = 0,", "", "the key uart.wan.tx is missing"),
    ],
)
def test_a_spoilt_board_file_is_named_with_its_key(
    boards: Path, old: str, new: str, says: str
) -> None:
    spoil(boards / "pico.toml", old, new)
    with pytest.raises(UsageError) as e:
        load_board("pico")
    assert str(boards / "pico.toml") in e.value.what
    assert says in e.value.what
    load_board("ESP32-DevKitC")  # found by its own name although its neighbour is spoilt


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('device_type = "CHF"', 'device_type = "IHD"', "device_type = 'IHD' does not exist"),
        ('device_type = "CHF"', 'device_type = "PPMID"', "a PPMID needs the table [ota]"),
        ('= "refuse"', '= "explode"', "store.size_behaviour = 'explode' does not exist"),
        ('cohort = "MOC"', 'cohort = "banana"', "cohort = 'banana' does not exist"),
        ('"18.62"', '"18.99"', "hanlab knows no clause '18.99' of S1SR"),
        ('duis_version = "HUB3F0X"', 'duis_version = "HUB3F0X-1"', "has 9 characters"),
        ('= ["s1sr_clauses"]', '= ["s1sr"]', "the key s1sr is unknown"),
        ('= ["s1sr_clauses"]', "= [1]", "illustrative has to be a list of strings"),
    ],
)
def test_a_spoilt_model_file_is_named_with_its_key(
    boards: Path, old: str, new: str, says: str
) -> None:
    path = boards / "models" / "skyline-i510.toml"
    spoil(path, old, new)
    with pytest.raises(UsageError) as e:
        load_model("skyline-i510")
    assert str(path) in e.value.what
    assert says in e.value.what


def test_no_capacity_means_no_limit_is_known(boards: Path) -> None:  # rule 9
    spoil(boards / "models" / "am110r.toml", "capacity = 196_608", "")
    assert load_model("AM110R").store.capacity is None


def test_an_installed_hanlab_reads_its_own_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "hanlab"
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.checkout() is None
    with pytest.raises(UsageError, match="boards are missing"):
        resources.boards_dir()
    (package / "bundled" / "boards").mkdir(parents=True)
    (package / "bundled" / "firmware").mkdir()
    assert resources.boards_dir() == package / "bundled" / "boards"
    assert resources.firmware_dir() == package / "bundled" / "firmware"


def readme_row(name: str) -> str:
    lines = (resources.boards_dir() / "README.md").read_text().splitlines()
    return next(line for line in lines if f"| {name} |" in line)


@pytest.mark.parametrize("name", board_names())
def test_the_readme_shows_every_board(name: str) -> None:
    board = load_board(name)
    row = readme_row(board.name)
    for octets in (board.memory.heap, board.flash.filesystem):
        assert f"{octets:,}" in row
    assert f"{board.smp.buf_count} x {board.smp.buf_size}" in row


@pytest.mark.parametrize("name", model_names())
def test_the_readme_shows_every_model(name: str) -> None:
    model = load_model(name)
    row = readme_row(model.model)
    assert f"{model.store.capacity:,} *" in row
    assert model.firmware_version in row
