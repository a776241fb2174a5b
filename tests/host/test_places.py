"""Where the S1SP finds a device: on the HAN of the CH that has it, wherever lab.toml had it first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hanlab.boards.data import load_model
from hanlab.eui import Eui
from hanlab.s1sp.installations import Installation, Installations
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.s1sp.service import S1sp
from hanlab.s1sp.target import Target
from hanlab.wan.client import NoAnswer
from hanlab.wan.messages import HanDevice


def eui(number: int) -> Eui:
    return Eui.parse(f"00-DB-12-34-56-78-90-{number:02X}")


OAK, ELM = eui(1), eui(2)
MOVING, STAYING, GPF, SPARE = eui(0x11), eui(0x12), eui(0x13), eui(0x14)
CH, PPMID = load_model("skyline-i510"), load_model("pipit-500")


def target(name: str, device: Eui) -> Target:
    return Target(name, device.octets, PPMID)


@dataclass
class Wan:
    """What a CH answers: its device table, or silence."""

    table: list[HanDevice] | None

    async def read_all(self, *asked: Any) -> Any:
        if self.table is None:
            raise NoAnswer("it is off")
        return SimpleNamespace(devices=self.table)


def entry(device: Eui, *, seen: bool = True, state: str = "joined") -> HanDevice:
    return HanDevice(eui=device.octets, type="PPMID", address=1, seen=seen, state=state)


@pytest.fixture
def hubs() -> dict[Eui, Wan]:
    return {OAK: Wan([entry(MOVING), entry(STAYING)]), ELM: Wan([])}


@pytest.fixture
def places(hubs: dict[Eui, Wan]) -> Installations:
    def installation(hub: Eui, *devices: Eui, **more: Eui) -> Installation:
        here = {device: target(str(device), device) for device in (hub, *devices)}
        here |= {device: target(name, device) for name, device in more.items()}
        s1sp = S1sp(cast("Any", hubs[hub]), PPMID, cast("Any", None))
        return Installation(Target("hub", hub.octets, CH), s1sp, here)

    return Installations(
        [installation(OAK, MOVING, STAYING, GPF=GPF), installation(ELM)],
        {SPARE: target("SPARE", SPARE)},
    )


def where(places: Installations) -> dict[Eui, Eui | None]:
    return {device: places.hub_of(device) for device in (MOVING, STAYING, GPF, SPARE)}


def test_a_device_that_moved_is_found_in_its_new_home(
    places: Installations, hubs: dict[Eui, Wan]
) -> None:
    assert where(places) == {MOVING: OAK, STAYING: OAK, GPF: OAK, SPARE: None}
    hubs[OAK].table, hubs[ELM].table = [entry(STAYING)], [entry(MOVING), entry(SPARE)]
    asyncio.run(places.look())
    assert where(places) == {MOVING: ELM, STAYING: OAK, GPF: OAK, SPARE: ELM}
    installation, found = places.find(MOVING)
    assert (installation.hub.eui, found.name) == (ELM.octets, str(MOVING))


def test_a_device_that_two_chs_have_is_where_it_has_been_heard(
    places: Installations, hubs: dict[Eui, Wan]
) -> None:
    """The old CH may not have been told yet, or have had no power when it was."""
    for here, there in ((OAK, ELM), (ELM, OAK)):
        hubs[here].table, hubs[there].table = [entry(MOVING)], [entry(MOVING, seen=False)]
        asyncio.run(places.look())
        assert places.hub_of(MOVING) == here


def test_a_device_that_may_join_has_not_joined(places: Installations, hubs: dict[Eui, Wan]) -> None:
    hubs[ELM].table = [entry(SPARE, state="whitelisted"), entry(MOVING, state="joining")]
    asyncio.run(places.look())
    assert (places.hub_of(SPARE), places.hub_of(MOVING)) == (None, OAK)


def test_a_ch_that_does_not_answer_has_what_it_had(
    places: Installations, hubs: dict[Eui, Wan]
) -> None:
    hubs[OAK].table = None
    asyncio.run(places.look())
    assert where(places) == {MOVING: OAK, STAYING: OAK, GPF: OAK, SPARE: None}


def test_a_device_that_is_on_no_han(places: Installations) -> None:
    with pytest.raises(ServiceRequestFailed) as of_the_lab:
        places.find(SPARE)
    assert of_the_lab.value.outcome is Outcome.NO_DEVICE
    assert of_the_lab.value.next_step.startswith("hanlab join SPARE --to HOME")
    with pytest.raises(ServiceRequestFailed) as unknown:
        places.find(eui(0x99))
    assert "inventory only" in unknown.value.next_step


def test_an_update_that_waits_is_in_progress_where_its_device_is(
    places: Installations, hubs: dict[Eui, Wan]
) -> None:
    assert places.in_progress([MOVING, STAYING, SPARE], [MOVING, SPARE]) == {MOVING, STAYING}
    hubs[OAK].table, hubs[ELM].table = [entry(STAYING)], [entry(MOVING)]
    asyncio.run(places.look())
    assert places.in_progress([MOVING, STAYING], [MOVING]) == {MOVING}
    assert places.in_progress([MOVING, STAYING], []) == set()
