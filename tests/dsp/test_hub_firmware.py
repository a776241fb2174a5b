"""11.1 and 11.3 of a CHF at the DSP: whom the alerts tell, and with which words."""

from __future__ import annotations

from desk import (
    ACTIVATE,
    GSME,
    HUB,
    NETWORK,
    NEW,
    OTHER_SUPPLIER,
    SUPPLIER,
    Office,
    entry,
    furnished,
    image_for,
    update,
)

from hanlab.duis.responses import ChFirmwareNotification, DccAlert

IMAGE = image_for("CHF", NEW)


def furnished_with_gas_of_another() -> Office:
    """The CHF's image is on the CPL, and the gas meter of its HAN has a supplier of its own."""
    office = furnished()
    found = office.dsp.smi.find(HUB)
    assert found
    office.dsp.load([entry(found, NEW, IMAGE)])
    office.dsp.smi.set_supplier(GSME, OTHER_SUPPLIER)
    return office


def notifications(office: Office) -> set[tuple[str, ChFirmwareNotification]]:
    alerts = [r.body for r in office.written if isinstance(r.body, DccAlert)]
    return {(a.code, a.body) for a in alerts if isinstance(a.body, ChFirmwareNotification)}


def test_all_who_answer_for_what_is_on_its_han_are_told_of_a_chs_firmware() -> None:
    office = furnished_with_gas_of_another()
    assert office.send(update(HUB, image=IMAGE)) == ("I99", None)
    assert office.told("N57") == [SUPPLIER, NETWORK, OTHER_SUPPLIER]
    assert notifications(office) == {("N57", ChFirmwareNotification(HUB, NEW, "UpdateRequested"))}
    office.send(ACTIVATE, HUB)
    assert office.told("N56") == [SUPPLIER, NETWORK, OTHER_SUPPLIER]
    activated = ChFirmwareNotification(HUB, NEW, "ActivationSuccessful")
    assert ("N56", activated) in notifications(office)


def test_an_answer_to_11_3_without_a_version_tells_nobody_that_it_runs() -> None:
    office = furnished_with_gas_of_another()
    office.send(update(HUB, image=IMAGE))
    office.door.says_version = False
    office.send(ACTIVATE, HUB)
    assert office.told("N56") == []
