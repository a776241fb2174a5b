"""Labs of several homes: what their lab.toml may say, and which board a name means."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from hanlab.cli.sweep import home_alone
from hanlab.errors import UsageError
from hanlab.keys import LabKeys
from hanlab.lab.board_json import PAN_ID, board_json
from hanlab.lab.config import DEFAULT, LabConfig, make_lab
from hanlab.lab.homes import APART, MAX_HOMES

GSME = {
    "name": "GSME",
    "board": "pico",
    "model": "liberty-eg4v11",
    "eui": "00-DB-12-34-56-78-90-B0",
}


def table(name: str = "oak", **fields: Any) -> dict[str, Any]:
    """A [[home]] with the default lab's boards."""
    boards = {key: copy.deepcopy(DEFAULT[key]) for key in ("comms_hub", "device")}
    return {"name": name, **boards, **fields}


def elm(hub: str = "00-DB-12-34-56-78-91-A2", device: str = "00-DB-12-34-56-78-91-A4") -> Any:
    home = table("elm")
    home["comms_hub"] = {**home["comms_hub"], "eui": hub}
    home["device"] = [{**home["device"][0], "eui": device}]
    return home


def lab(*homes: dict[str, Any], **more: Any) -> LabConfig:
    return make_lab("test", {"seed": 1, "home": list(homes), **more})


@pytest.fixture
def two() -> LabConfig:
    return lab(table(), elm())


def test_a_file_with_one_home_stays_as_it_was() -> None:
    config = make_lab("test", DEFAULT)
    (home,) = config.homes
    assert [node.name for node in home.nodes] == ["hub", "PPMID"]
    assert config.hub is home.hub
    keys = LabKeys(1)
    assert board_json(config, home.hub, keys)["han"] == {
        "pan": PAN_ID,
        "address": 0,
        "key": "11dad36e8ef4da623de6f88651e93825",  # what flash files of earlier versions have
    }


def test_each_home_has_a_han_of_its_own(two: LabConfig) -> None:
    keys = LabKeys(1)
    boards = {node.name: board_json(two, node, keys) for node in two.nodes}
    assert list(boards) == ["oak/hub", "oak/PPMID", "elm/hub", "elm/PPMID"]
    hans = [(board["han"]["pan"], board["han"]["address"]) for board in boards.values()]
    assert hans == [(PAN_ID, 0), (PAN_ID, 1), (PAN_ID + 1, 0), (PAN_ID + 1, 1)]
    network_keys = [board["han"]["key"] for board in boards.values()]
    assert network_keys[0] == network_keys[1] != network_keys[2] == network_keys[3]
    assert [n["eui"] for n in boards["elm/hub"]["neighbours"]] == ["00db1234567891a4"]
    assert boards["oak/PPMID"]["install_code"] != boards["elm/PPMID"]["install_code"]


def test_count_makes_homes_with_euis_of_their_own() -> None:
    other = elm("00-DB-12-34-56-78-99-A2", "00-DB-12-34-56-78-99-A4")
    config = lab(table("row", count=3, device=[DEFAULT["device"][0], GSME]), other)
    assert [home.name for home in config.homes] == ["row-1", "row-2", "row-3", "elm"]
    assert [home.number for home in config.homes] == [0, 1, 2, 3]
    euis = [int.from_bytes(home.hub.eui.octets) for home in config.homes[:3]]
    assert euis == [euis[0], euis[0] + APART, euis[0] + 2 * APART]
    gpfs = [home.gpf for home in config.homes]
    assert [str(gpf)[-5:] for gpf in gpfs[:3]] == ["90-A3", "91-A3", "92-A3"]
    assert gpfs[3] is None
    assert len({node.eui for node in config.nodes}) == len(config.nodes) == 11


def test_a_device_on_the_shelf_is_on_no_han(two: LabConfig) -> None:
    spare = {**DEFAULT["device"][0], "name": "SPARE", "eui": "00-DB-12-34-56-78-90-C4"}
    config = lab(table(), elm(), device=[spare])
    (node,) = config.shelf
    assert (node.name, node.joined, config.home_of(node)) == ("SPARE", False, None)
    assert config.node("spare") is node
    assert "han" not in board_json(config, node, LabKeys(1))


def test_a_device_that_has_not_joined_has_no_key_and_nobody_knows_it() -> None:
    later = {**GSME, "joined": False, "install_code": "83FED3407A939723A5C639B26916D505"}
    config = lab(table(device=[later, DEFAULT["device"][0]]))
    gsme, ppmid = config.homes[0].devices
    keys = LabKeys(1)
    there = board_json(config, gsme, keys)
    assert "han" not in there
    assert "neighbours" not in there
    assert there["install_code"] == str(later["install_code"]).lower()
    hub = board_json(config, config.hub, keys)
    assert [n["eui"] for n in hub["neighbours"]] == [ppmid.eui.octets.hex()]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("oak/PPMID", "oak/PPMID"),
        ("ELM/hub", "elm/hub"),
        ("00-db-12-34-56-78-91-a4", "elm/PPMID"),
        ("Kitchen", "oak/Kitchen"),
        ("gsme", "oak/Kitchen"),
    ],
)
def test_a_board_is_found_by_what_it_alone_is_called(name: str, found: str) -> None:
    config = lab(table(device=[DEFAULT["device"][0], {**GSME, "name": "Kitchen"}]), elm())
    assert config.node(name).name == found


def test_a_name_that_two_homes_have_gets_the_list(two: LabConfig) -> None:
    with pytest.raises(UsageError, match="this lab has 2 boards called ppmid") as wrong:
        two.node("ppmid")
    assert wrong.value.next_step == (
        "it has oak/PPMID (00-DB-12-34-56-78-90-A4), elm/PPMID (00-DB-12-34-56-78-91-A4)"
    )
    with pytest.raises(UsageError, match="20 boards called hub") as many:
        lab(table("row", count=20)).node("hub")
    assert str(many.value.next_step).endswith("and 12 more")


def test_a_lab_of_several_homes_has_no_hub(two: LabConfig) -> None:
    with pytest.raises(UsageError, match="this lab has 2 homes") as wrong:
        _ = two.hub
    assert wrong.value.next_step == "name one (--home NAME): it has oak, elm"
    assert two.home("ELM").hub.name == "elm/hub"
    with pytest.raises(UsageError, match="this lab has no home 'ash'"):
        two.home("ash")


def test_a_sweep_is_of_one_home(two: LabConfig) -> None:
    alone = home_alone(two, "elm/PPMID")
    assert [node.name for node in alone.nodes] == ["elm/hub", "elm/PPMID"]
    assert alone.hub is two.homes[1].hub
    keys = LabKeys(1)
    assert board_json(alone, alone.hub, keys) == board_json(two, two.homes[1].hub, keys)
    spare = {**DEFAULT["device"][0], "name": "SPARE", "eui": "00-DB-12-34-56-78-90-C4"}
    with pytest.raises(UsageError, match="SPARE is on the shelf") as wrong:
        home_alone(lab(table(), device=[spare]), "SPARE")
    assert wrong.value.next_step
    in_a_home = lab(table(device=[*table()["device"], {**spare, "joined": True}]))
    assert home_alone(in_a_home, "SPARE").hub.name == "oak/hub"


WRONG: list[tuple[Callable[[], LabConfig], str]] = [
    (lambda: lab(table(), elm() | {"name": "OAK"}), "two homes have the name OAK"),
    (
        lambda: lab(table(), elm(device="00-DB-12-34-56-78-90-A4")),
        "two boards have the eui 00-DB-12-34-56-78-90-A4: oak/PPMID and elm/PPMID",
    ),
    (
        lambda: lab(table(count=2), elm()),
        "two boards have the eui 00-DB-12-34-56-78-91-A2: oak-2/hub and elm/hub",
    ),
    (lambda: lab(table(count=0)), f"home oak: count = 0; 1 to {MAX_HOMES} homes"),
    (lambda: lab(table(count=10_000)), f"home oak: count = 10,000; 1 to {MAX_HOMES} homes"),
    (lambda: lab(table(count="3")), "home 1: count has to be a whole number"),
    (
        lambda: lab(
            table(count=MAX_HOMES), elm("01-DB-12-34-56-78-91-A2", "01-DB-12-34-56-78-91-A4")
        ),
        f"this lab has {MAX_HOMES + 1} homes",
    ),
    (lambda: lab(), "this lab has 0 homes"),
    (
        lambda: lab(table(), comms_hub=DEFAULT["comms_hub"]),
        r"\[\[home\]\] and \[comms_hub\] are both",
    ),
    (lambda: lab({"name": "oak"}), "home oak: it has no CH"),
    (lambda: lab(table(name="oak/ash")), "home 1: 'oak/ash' is no name"),
    (
        lambda: lab({key: value for key, value in table().items() if key != "name"}),
        "home 1: name is missing",
    ),
    (
        lambda: lab(table(device=[{**DEFAULT["device"][0], "name": "a/b"}])),
        "home oak: device 1: 'a/b' is no name",
    ),
    (lambda: lab(table(colour=3)), "home 1 has no setting 'colour'"),
    (lambda: make_lab("test", {"home": 3}), "home has to be an array of tables"),
    (
        lambda: lab(
            table(comms_hub={**DEFAULT["comms_hub"], "eui": "FF-FF-FF-FF-FF-FF-FF-FE"}, count=2)
        ),
        "home oak-2: there is no EUI-64 0x100 after FF-FF-FF-FF-FF-FF-FF-FE",
    ),
    (
        lambda: lab(table(), device=[{**GSME, "joined": True}]),
        r"device 1: GSME is in no \[\[home\]\]",
    ),
    (
        lambda: lab(table(comms_hub={**DEFAULT["comms_hub"], "wired": True}), elm()),
        r"home oak: comms_hub: wired = true, but it has no port",
    ),
]


@pytest.mark.parametrize(("make", "words"), WRONG)
def test_wrong_homes_get_a_sentence_and_a_next_step(
    make: Callable[[], LabConfig], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as wrong:
        make()
    assert wrong.value.next_step
    assert wrong.value.exit_code == 2
