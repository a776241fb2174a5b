"""What a lab.toml may say, and the sentence that a wrong one gets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from lab_file import lab_toml

from hanlab.boards.data import load_board
from hanlab.duis.messages import ReadFirmwareVersion
from hanlab.errors import UsageError
from hanlab.lab import Lab
from hanlab.lab.config import DEFAULT, LabConfig, make_lab, read_lab
from hanlab.lab.nodes import FLASH_SLACK
from hanlab.s1sp.join_time import Rounding

Change = Callable[[dict[str, Any]], None]


def changed(change: Change) -> dict[str, Any]:
    """The default lab's tables with a change in them."""
    data = copy.deepcopy(dict(DEFAULT))
    change(data)
    return data


def hub(**fields: Any) -> Change:
    return lambda data: data["comms_hub"].update(fields)


def device(**fields: Any) -> Change:
    return lambda data: data["device"][0].update(fields)


def without(key: str) -> Change:
    return lambda data: data["device"][0].pop(key)


def second_device(**fields: Any) -> Change:
    return lambda data: data["device"].append({**data["device"][0], **fields})


def both_at(port: str) -> Change:
    def change(data: dict[str, Any]) -> None:
        hub(port=port)(data)
        device(port=port)(data)

    return change


def user(**fields: Any) -> Change:
    good = {"name": "supplier", "eui": "90-B3-D5-1F-30-01-00-00", "roles": ["IS"]}
    return lambda data: data.update(user=[{**good, **fields}])


def two_users(data: dict[str, Any]) -> None:
    user()(data)
    data["user"].append({**data["user"][0], "eui": "90-B3-D5-1F-30-01-00-01"})


def dsp(**fields: Any) -> Change:
    return lambda data: data.update(dsp=fields)


def below(table: str, key: str) -> Change:
    """A setting of the whole file below the head of a table."""

    def change(data: dict[str, Any]) -> None:
        user()(data)
        tables = data.setdefault(table, {})
        (tables[0] if isinstance(tables, list) else tables)[key] = 1

    return change


def spoilt_and_real(data: dict[str, Any]) -> None:
    data["wan"] = {"loss": 0.1}
    hub(port="/dev/x")(data)


def spoilt_and_wired(data: dict[str, Any]) -> None:
    data["han"] = {"loss": 0.1}
    hub(port="/dev/x", wired=True)(data)


def test_a_lab_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text(lab_toml(top="seed = 7"))
    config = read_lab(file)
    assert (config.name, config.seed) == ("desk", 7)
    assert config.hub.model.model == "Skyline i-510"
    assert [str(d.eui) for d in config.devices] == ["00-DB-12-34-56-78-90-A4"]
    assert config.devices[0].baud == load_board("pico").uart.baud


def test_without_a_file_there_is_one_ch_with_one_ppmid() -> None:
    config = read_lab(None)
    assert (config.hub.model.device_type, config.devices[0].model.device_type) == ("CHF", "PPMID")
    assert len(config.devices) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"the table \[comms_hub\] is missing"),
        ("hello", "is no TOML"),
        ("a = " + "[" * 5000, "is no TOML"),
        ("seed = " + "9" * 5000, "is no TOML: it has an integer of more than 64 bits"),
        ("\xff", "is no TOML"),
    ],
)
def test_a_file_that_is_no_lab(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "lab.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=words) as wrong:
        read_lab(file)
    assert str(file) in wrong.value.what
    assert wrong.value.next_step


@pytest.mark.parametrize("name", ["none.toml", "."])
def test_a_file_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be read: No such file|is no file") as wrong:
        read_lab(tmp_path / name)
    assert wrong.value.next_step


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(colour=3), "the file has no setting 'colour'"),
        (hub(colour=3), "comms_hub has no setting 'colour'"),
        (lambda data: data.update(seed="x"), "seed has to be a whole number, 0 or more, not 'x'"),
        (lambda data: data.update(seed=-4), "seed has to be a whole number, 0 or more, not -4"),
        (lambda data: data.update(seed=True), "seed has to be a whole number"),
        (lambda data: data.update(wan_open="yes"), "wan_open has to be true or false, not 'yes'"),
        (lambda data: data.update(comms_hub="x"), r"the table \[comms_hub\] is missing"),
        (lambda data: data.update(device="x"), "device has to be an array of tables"),
        (lambda data: data.update(device=["x"]), "device has to be an array of tables"),
        (without("eui"), "device 1: eui is missing"),
        (device(eui=4), "device 1: eui has to be a text, not 4"),
        (device(eui="00-DB-12-34-56-78-90-ZZ"), "device 1: '00-DB-12-34-56-78-90-ZZ' is no EUI-64"),
        (device(eui="00-DB-12"), "device 1: '00-DB-12' is no EUI-64"),
        (device(name="../../x"), "device 1: '../../x' is no name"),
        (device(board="picoo"), "device 1: there is no board 'picoo'; there are .*pico"),
        (device(board="zzz"), "device 1: there is no board 'zzz'"),
        (device(model="nokia"), "device 1: there is no Device Model 'nokia'; there are .*sed-v3"),
        (device(model="am110r"), "device 1: AM110R is a CHF"),
        (hub(model="pipit-500"), "comms_hub: Pipit 500 is a PPMID"),
        (second_device(name="P2"), "two boards have the eui 00-DB-12-34-56-78-90-A4"),
        (second_device(eui="00-DB-12-34-56-78-90-A5"), "two boards have the name PPMID"),
        (second_device(name="ppmid", eui="00-DB-12-34-56-78-90-A5"), "two boards have the name"),
        (hub(baud="fast"), "comms_hub: baud has to be a whole number, 0 or more, not 'fast'"),
        (hub(baud=300), "comms_hub: 300 baud; ESP32-DevKitC takes 19,200 to 921,600"),
        (hub(baud=10**9), "comms_hub: 1,000,000,000 baud"),
        (hub(store=-1), "comms_hub: store has to be a whole number, 0 or more, not -1"),
        (hub(store=1.5), "comms_hub: store has to be a whole number, 0 or more, not 1.5"),
        (hub(size_behaviour="x"), "comms_hub: size_behaviour 'x' does not exist"),
        (hub(port=3), "comms_hub: port has to be a text, not 3"),
        (hub(wired=True), "comms_hub: wired = true, but it has no port"),
        (hub(patience=0), "comms_hub: patience = 0; 1 to 50 are possible"),
        (device(patience=51), "device 1: patience = 51"),
        (hub(wired="yes"), "wired has to be true or false"),
        (device(wired=True), "device 1: wired is unknown|wired"),
        (both_at("/dev/x"), "two boards have the port /dev/x"),
        (lambda data: data.update(keys="mine"), "keys = 'mine' does not exist"),
        (spoilt_and_real, "wan: hanlab cannot spoil a real wire, and hub has one"),
        (spoilt_and_wired, "han: hanlab cannot spoil a real wire, and hub has one"),
        (hub(s1sr_clauses="x"), "comms_hub: s1sr_clauses has to be a list of clauses"),
        (hub(gpf="zz"), "comms_hub: gpf: 'zz' is no EUI-64"),
        (user(roles=[["IS"]]), r"user 1: roles = \[\['IS'\]\]: \['IS'\] is no role"),
        (user(roles=[{}]), "user 1: roles = .* is no role"),
        (user(roles=[]), "user 1: roles = .* is no role"),
        (user(roles="IS"), "user 1: roles = 'IS' is wrong"),
        (user(name="../../x"), "user 1: '../../x' is no name for a user"),
        (user(name="DSP"), "user 1: 'DSP' is no name for a user"),
        (user(colour=3), "user 1 has no setting 'colour'"),
        (user(active=1), "user 1: active = 1 is wrong"),
        (two_users, "two users have the same name"),
        *(
            (user(listener=url), "user 1: listener = .* is no URL")
            for url in (
                "",
                "x",
                "127.0.0.1:1880",
                "ftp://host/",
                "file://host/x",
                "http://",
                "http:///path",
                "http://host:99999/",
                "http://host:0/",
                "http://[::1",
                "http://ho st/",
                "http://h\nx/",
            )
        ),
        *(
            (dsp(start=start), "start = .* is out of reach: years 1970 to 2899")
            for start in (
                datetime.min,
                datetime.max,
                datetime.min.replace(tzinfo=timezone(timedelta(hours=12))),
                datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
                datetime(3000, 12, 31, tzinfo=UTC),
            )
        ),
        (dsp(start="2026"), "start = '2026' is wrong"),
        (dsp(start=date(2026, 1, 1)), "start = 2026-01-01 is wrong"),
        (
            dsp(secmp0007=datetime(2026, 1, 1, tzinfo=UTC)),
            "secmp0007 = 2026-01-01T00:00:00Z is wrong",
        ),
        (dsp(lost_responses=[True]), r"lost_responses = \[true\] is wrong"),
        (dsp(retries=3), "retries = 3: the DSP sends no 11.3 again, a supplier's own system does"),
        (dsp(retries=False), "retries = false: the DSP sends no 11.3 again"),
        (dsp(suspended_credit=1), "suspended_credit = 1 is wrong"),
        (user(retries=11), "user 1: retries = 11 is wrong"),
        (user(retries=True), "user 1: retries = true is wrong"),
        (hub(s1sr_clauses=["18.99"]), "comms_hub: s1sr_clauses: hanlab knows no clause '18.99'"),
        (device(s1sr_clauses=["18.64"]), "device 1: s1sr_clauses: hanlab knows no clause '18.64'"),
        (hub(activation_steps=1), "comms_hub: activation_steps belongs to a device"),
        (device(activation_steps=3), "device 1: activation_steps = 3 does not exist"),
        (device(activation_steps=True), "device 1: activation_steps = true does not exist"),
        (device(version_in_response="no"), "version_in_response has to be true or false"),
        *(
            (
                below(table, key),
                f"has no setting '{key}': TOML gives a line to the .table. that is above",
            )
            for table in ("comms_hub", "device", "dsp", "wan", "user")
            for key in ("seed", "october_2021")
        ),
    ],
)
def test_a_wrong_lab_gets_a_sentence_and_a_next_step(change: Change, words: str) -> None:
    with pytest.raises(UsageError, match=words) as wrong:
        make_lab("test", changed(change))
    assert wrong.value.next_step
    assert wrong.value.exit_code == 2


@pytest.mark.parametrize("year", [1970, 2020, 2899])
def test_a_lab_at_another_date_works(tmp_path: Path, year: int) -> None:
    """Also where it is before what the lab's first command would remember."""
    file = tmp_path / "lab.toml"
    file.write_text(f"{lab_toml()}\n[dsp]\nstart = {year}-12-31T23:59:59-12:00\n")
    with Lab.open(file) as lab:
        ppmid = lab.device("PPMID")
        answer = lab.run(lab.send(ReadFirmwareVersion(), ppmid.eui))
        assert answer.code == ("I0" if year > 2021 else "E11")  # there was no SECMP0007 yet
        assert answer.acknowledgement.when.year == year + 1


def test_a_byte_order_mark_is_no_part_of_a_lab(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_bytes(b"\xef\xbb\xbf" + lab_toml().encode())
    assert read_lab(file).hub.name == "hub"


def test_a_ch_keeps_room_for_the_image_that_it_runs() -> None:
    flash = load_board("esp32-devkitc").flash
    room = (flash.filesystem - FLASH_SLACK * flash.sector) // 2
    assert make_lab("test", changed(hub(store=room))).hub.model.store.capacity == room
    words = rf"a store of {room + 1:,} octets.* flash for one of {room:,} \(short by 1\)"
    with pytest.raises(UsageError, match=words):
        make_lab("test", changed(hub(store=room + 1)))


def test_a_device_keeps_room_for_the_image_that_it_runs() -> None:
    flash = load_board("pico").flash
    room = (flash.filesystem - FLASH_SLACK * flash.sector) // 2
    assert make_lab("test", changed(device(store=room))).devices[0].model.store.capacity == room
    with pytest.raises(UsageError, match=r"device 1: a store of .* \(short by 1\)"):
        make_lab("test", changed(device(store=room + 1)))


def test_a_store_of_ones_own_is_of_that_size_and_nobodys_guess() -> None:
    """What the user says is not illustrative; what the Device Model says for want of a document is."""
    store = make_lab("test", changed(hub(store=4096, size_behaviour="silent"))).hub.model.store
    assert (store.capacity, store.size_behaviour, store.illustrative) == (4096, "silent", False)
    assert make_lab("test", DEFAULT).hub.model.store.illustrative


# -- finding a device


@pytest.fixture
def two_ppmids() -> LabConfig:
    return make_lab("test", changed(second_device(name="Kitchen", eui="00-DB-12-34-56-78-90-A5")))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("hub", "hub"),
        ("CHF", "hub"),
        ("ppmid", "PPMID"),
        ("KITCHEN", "Kitchen"),
        ("00-db-12-34-56-78-90-a5", "Kitchen"),
    ],
)
def test_a_device_is_found_by_name_eui_or_type(
    two_ppmids: LabConfig, name: str, found: str
) -> None:
    assert two_ppmids.node(name).name == found


@pytest.mark.parametrize("name", ["nobody", "", "00-DB-12-34-56-78-90-FF"])
def test_an_eui_that_no_device_has(two_ppmids: LabConfig, name: str) -> None:
    with pytest.raises(UsageError, match=f"no device '{name}'") as wrong:
        two_ppmids.node(name)
    assert "PPMID (00-DB-12-34-56-78-90-A4), Kitchen (" in wrong.value.next_step


def test_a_type_that_two_devices_have() -> None:
    names = {"name": "Kitchen"}, {"name": "Hall", "eui": "00-DB-12-34-56-78-90-A5"}
    data = copy.deepcopy(dict(DEFAULT))
    data["device"] = [{**data["device"][0], **name} for name in names]
    with pytest.raises(UsageError, match="this lab has 2 devices of type PPMID") as wrong:
        make_lab("test", data).node("PPMID")
    assert "Kitchen (" in wrong.value.next_step
    assert "Hall (" in wrong.value.next_step


def test_a_lab_with_a_ch_only() -> None:
    with pytest.raises(UsageError, match="no device 'PPMID'") as wrong:
        make_lab("test", changed(lambda data: data.pop("device"))).node("PPMID")
    assert "[[device]]" in wrong.value.next_step


def test_a_lab_of_before_that_says_no_retries_works() -> None:
    """0 is what the DSP does."""
    assert make_lab("test", changed(dsp(retries=0))).dsp == make_lab("test", DEFAULT).dsp


def test_a_refused_retry_says_where_it_goes() -> None:
    with pytest.raises(UsageError) as wrong:
        make_lab("test", changed(dsp(retries=3)))
    assert "[[user]] with name, eui, roles and retries = 3" in wrong.value.next_step
    moved = make_lab("test", changed(user(retries=3)))
    assert [u.retries for u in moved.dsp.users] == [3]


@pytest.mark.rule(50)
def test_a_join_is_rounded_as_lab_toml_says() -> None:
    assert make_lab("lab", DEFAULT).join_rounding is Rounding.UP
    assert make_lab("lab", {**DEFAULT, "join_rounding": "down"}).join_rounding is Rounding.DOWN
    with pytest.raises(UsageError, match="join_rounding = 'sideways'"):
        make_lab("lab", {**DEFAULT, "join_rounding": "sideways"})
