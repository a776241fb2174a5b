"""The clauses of the Device Models are the only switches of what their boards and the S1SP refuse (rules 6, 8, 64)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from labs import ESME, PPMID, THIRD_PARTY, image_for, lab_of, outcome

from hanlab.duis.messages import UpdateFirmware
from hanlab.lab import Device, Lab
from hanlab.lab.enrolment import product
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

SMALL = 32_768
LARGE = 40_000

CLAUSES = ["18.62", "18.63", "18.63(d)", "18.65(e)", "Annex D", "metadata annex"]
REFUSED_BY = {
    "size": {"18.63(d)", "18.65(e)"},
    "third party": {"Annex D"},
    "metadata": {"metadata annex"},
}
REFUSAL = {
    "size": Outcome.TOO_LARGE,
    "third party": Outcome.THIRD_PARTY,
    "metadata": Outcome.METADATA,
}
TRIED: dict[str, tuple[dict[str, Any], dict[str, Any], int, dict[str, Any]]] = {
    "size": (PPMID, {"store": SMALL}, LARGE, {}),
    "third party": ({**THIRD_PARTY, "activation_steps": 2}, {}, 2048, {}),
    "metadata": (PPMID, {}, 2048, {"for_ch": "Elster"}),
}
"""By what is wrong: the device, what is other about the CH, octets of firmware, how the image is made."""


@pytest.mark.rule(6, 8, 64)
@pytest.mark.parametrize("what", TRIED)
@pytest.mark.parametrize("clause", ["", *CLAUSES])
def test_a_clause_alone_switches_its_own_behaviour(what: str, clause: str, tmp_path: Path) -> None:
    device, hub, size, fields = TRIED[what]
    clauses = [clause] if clause else []
    with lab_of(tmp_path, device, hub={**hub, "s1sr_clauses": clauses}) as lab:
        happened = outcome(lab, image_for(lab.devices[0], size, **fields), lab.devices[0])
        refused = clause in REFUSED_BY[what]
        assert happened is (REFUSAL[what] if refused else Outcome.DISTRIBUTED)


def both_at_once(lab: Lab) -> list[str]:
    """An 11.1 to each device; the second comes while the first is on its way."""
    first, second = lab.devices

    async def push(device: Device, begun: asyncio.Event) -> str:
        try:
            image = image_for(device, 8192)
            return await lab.update_firmware(image, device, lambda step: begun.set())
        except ServiceRequestFailed as e:
            return e.outcome

    async def both() -> list[str]:
        begun = asyncio.Event()
        one = asyncio.ensure_future(push(first, begun))
        await begun.wait()
        return [await push(second, begun), await one]

    return lab.run(both())


@pytest.mark.rule(35, 64)
@pytest.mark.parametrize(
    ("on_hub", "on_second", "busy"),
    [
        (["18.63"], [], True),
        ([], [], False),
        ([], ["18.63"], True),
        (["18.63(d)", "Annex D", "metadata annex"], [], False),
    ],
)
def test_a_busy_han_refuses_where_18_63_holds_and_lets_wait_where_not(
    on_hub: list[str], on_second: list[str], busy: bool, tmp_path: Path
) -> None:
    second = {**ESME, "s1sr_clauses": on_second}
    with lab_of(tmp_path, PPMID, second, hub={"s1sr_clauses": on_hub}) as lab:
        happened = both_at_once(lab)
        assert happened == [Outcome.BUSY if busy else Outcome.DISTRIBUTED, Outcome.DISTRIBUTED]


@pytest.mark.rule(35, 64)
@pytest.mark.parametrize(("clauses", "code"), [(["18.63"], "E110105"), ([], "I99")])
def test_the_dsp_asks_the_same_clause(clauses: list[str], code: str, tmp_path: Path) -> None:
    with lab_of(tmp_path, PPMID, ESME, hub={"s1sr_clauses": clauses}) as lab:
        first, second = lab.devices
        for device in lab.devices:
            image = image_for(device)
            lab.dsp.load([product(device.model, "NEW1", image.manufacturer_image_hash)])

        def update(device: Device) -> UpdateFirmware:
            return UpdateFirmware(image_for(device).to_bytes(), "NEW1", (device.eui,))

        async def both() -> list[str]:
            begun = asyncio.Event()
            one = asyncio.ensure_future(lab.send(update(first), report=lambda step: begun.set()))
            await begun.wait()
            return [(await lab.send(update(second))).code, (await one).code]

        assert lab.run(both()) == [code, "I99"]
        assert (second.eui in lab.installations.ends) == (code == "I99")
        again = lab.run(lab.send(update(second)))
        assert again.acknowledgement.code == "I99", "the HAN is free again (rule 37)"


@pytest.mark.rule(147)
@pytest.mark.parametrize(
    ("clauses", "expect"),
    [(["18.63(d)"], Outcome.DEVICE_REFUSED), ([], Outcome.DISTRIBUTED)],
)
def test_the_devices_own_store_decides_as_well(
    clauses: list[str], expect: Outcome, tmp_path: Path
) -> None:
    """The image fits the CH."""
    small = {**PPMID, "store": SMALL, "s1sr_clauses": clauses}
    with lab_of(tmp_path, small) as lab:
        (device,) = lab.devices
        assert outcome(lab, image_for(device, LARGE), device) is expect
        held = lab.run(lab.store_of(device))
        assert held.capacity == (SMALL if clauses else None)
        assert lab.run(lab.read_firmware_version(device)).firmware == "IHDAE05"


@pytest.mark.rule(147)
def test_an_image_of_the_devices_store_fits_and_one_octet_more_does_not(tmp_path: Path) -> None:
    small = {**PPMID, "store": SMALL}
    with lab_of(tmp_path, small) as lab:
        (device,) = lab.devices
        over = len(image_for(device, 1024).to_bytes()) - 1024
        assert outcome(lab, image_for(device, SMALL - over), device) is Outcome.DISTRIBUTED
        more = image_for(device, SMALL - over + 1, version="NEW2")
        with pytest.raises(
            ServiceRequestFailed, match=r"holds 32,768 B, short by 1 B \(rule 147\)"
        ):
            lab.run(lab.update_firmware(more, device))
