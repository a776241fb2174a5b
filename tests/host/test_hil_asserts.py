"""What a test's handles assert, what they say when that fails, and how wrong usage is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from hanlab.duis.messages import ReadInventory
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.hil import CommsHub, Device, Dsp, Lab, Wire, shared_lab
from hanlab.images import OtaImage
from hanlab.s1sp.outcome import Outcome

lab = shared_lab("module", comms_hub={"store": 32_768}, seed=3)


def said(call: Callable[[], object]) -> str:
    """What an assert that fails says."""
    with pytest.raises(AssertionError) as wrong:
        call()
    return str(wrong.value)


@pytest.fixture(scope="module", autouse=True)
def held(lab: Lab) -> OtaImage:
    """A small image, which CH and PPMID hold."""
    ppmid = lab.homes[0].ppmids[0]
    image = ppmid.new_image(1024, "OTHER")
    ppmid.update(image)
    return image


def test_figures(ppmid: Device, held: OtaImage, lab: Lab) -> None:
    lab.begin()
    began = lab.seconds
    ended = ppmid.update(held)
    octets = len(held.to_bytes())
    assert (ended.outcome, ended.octets) == (Outcome.DISTRIBUTED, octets)
    assert 0 < ended.seconds <= lab.seconds - began
    assert ended.octets_s == octets / ended.seconds
    assert ppmid.activate(bytes(32), expect="hash-mismatch").outcome is Outcome.HASH_MISMATCH
    assert lab.figures == {
        "PPMID.update_octets": octets,
        "PPMID.update_s": round(ended.seconds, 3),
        "PPMID.update_octets_s": round(ended.octets_s, 3),
    }, "nothing that failed is measured"
    lab.note("PPMID.update_s", 1.5)
    assert lab.figures["PPMID.update_s#2"] == 1.5


def test_an_end_that_is_another_one(ppmid: Device) -> None:
    large = ppmid.new_image(40_000)
    refused = ppmid.update(large, expect=Outcome.TOO_LARGE)
    assert "32,768 B" in refused.why
    text = said(lambda: ppmid.update(large, expect="distributed"))
    assert "the end of 11.1 of IHDAE06 (40,092 B) on PPMID is too-large, not distributed" in text
    assert "short by" in text
    with pytest.raises(UsageError, match="nothing ends as 'fine'") as wrong:
        ppmid.update(large, expect="fine")
    assert "distributed" in wrong.value.next_step


def test_versions_and_stores(ppmid: Device, comms_hub: CommsHub, held: OtaImage) -> None:
    octets = len(held.to_bytes())
    comms_hub.assert_store(used=octets, free=32_768 - octets, versions=["OTHER"])
    ppmid.assert_version("IHDAE05")
    assert said(lambda: ppmid.assert_version("X")) == (
        "the version that PPMID runs is IHDAE05, not X"
    )
    text = said(lambda: comms_hub.assert_store(used=0))
    assert re.match(
        r"store of hub, used: 1,116 octets, not exactly 0\n  OTHER PPMID 1,116 B stored", text
    )
    assert "not at least 99,999" in said(lambda: comms_hub.assert_store(at_least_free=99_999))
    assert "images is OTHER, not A, B" in said(lambda: comms_hub.assert_store(versions="BA"))


def test_events(ppmid: Device, comms_hub: CommsHub) -> None:
    comms_hub.assert_event("stored", "OTHER")
    comms_hub.assert_event("stored")
    text = said(lambda: comms_hub.assert_event("stored", times=50))
    assert re.match(r"events 'stored' of hub: \d times, not exactly 50\n", text)
    assert re.search(r"\d+\.\d{3} s  stored  OTHER", text)
    assert "0 times, not at least 1" in said(lambda: ppmid.assert_event("trial failed"))
    assert [event.number for event in ppmid.events] == sorted(e.number for e in ppmid.events)


def test_counters(ppmid: Device, wire: Wire) -> None:
    ppmid.assert_counter("han.replay", 0)
    ppmid.assert_counter("han.rx", at_least=10)
    ppmid.assert_counter("uart_lost", at_most=0)
    text = said(lambda: ppmid.assert_counter("han.mic", at_least=1))
    assert "han.mic of PPMID: 0 frames, not at least 1\n  han.rx " in text
    with pytest.raises(UsageError, match=r"no counter 'han\.nosuch'") as wrong:
        ppmid.assert_counter("han.nosuch", 0)
    assert "han.replay" in wrong.value.next_step
    wire.assert_lost("han", at_most=2)
    wire.assert_damaged("wan", 0)
    text = said(lambda: wire.assert_lost("wan", at_least=1))
    assert "lost on wan: 0 frames, not at least 1\n  host to hub: " in text
    with pytest.raises(UsageError, match="'air'"):
        wire.assert_lost("air", 0)
    with pytest.raises(UsageError, match="wires are wan and han"):
        wire.pull("air", 1.0)


def test_the_smi_codes_and_alerts(ppmid: Device, dsp: Dsp) -> None:
    dsp.assert_no_alert()
    dsp.assert_status(ppmid, "Commissioned")
    dsp.assert_version(ppmid, "IHDAE05")
    assert said(lambda: dsp.assert_status(ppmid, "Suspended")) == (
        "the SMI's status of PPMID is Commissioned, not Suspended; it runs IHDAE05"
    )
    assert (
        said(lambda: dsp.assert_version(ppmid, "X"))
        == "the SMI's version of PPMID is IHDAE05, not X; it is Commissioned"
    )
    with pytest.raises(UsageError, match="no DeviceStatus 'Fine'") as wrong:
        dsp.assert_status(ppmid, "Fine")
    assert "Suspended" in wrong.value.next_step

    dsp.assert_code(dsp.read_version(ppmid), "I0")
    text = said(lambda: dsp.assert_code(dsp.update(ppmid.new_image(512, "NEW"), ppmid), "I99"))
    assert text == (
        "the response code of 11.1 is E110101, not I99\n  version NEW is not active on the CPL"
    )
    assert "alerts N28: 0 times, not at least 1\n  (none went out)" in said(
        lambda: dsp.assert_alert("N28")
    )
    assert dsp.withdraw("IHDAE05") == 1
    dsp.assert_alert("N28", ppmid, to="supplier", times=1)
    dsp.assert_status(ppmid, "Suspended")
    text = said(lambda: dsp.assert_alert("N28", ppmid, to="nobody"))
    assert "alerts N28 about PPMID to nobody: 0 times" in text
    assert re.search(r"N28  to supplier  PPMID", text)
    assert "sent, not exactly 0" in said(dsp.assert_no_alert)


def test_users_and_devices_that_there_are_not(lab: Lab, ppmid: Device, dsp: Dsp) -> None:
    with pytest.raises(UsageError, match="no Service User 'nobody'") as wrong:
        dsp.read_version(ppmid, user="nobody")
    assert "supplier" in wrong.value.next_step
    assert dsp.send(ReadInventory(ppmid.eui)).code == "I0"
    with pytest.raises(UsageError, match="hub is a CH"):
        lab.device("hub")
    stranger = Device(lab, ppmid.facade)
    stranger.eui = Eui.parse("00-DB-12-34-56-78-90-FF")
    with pytest.raises(UsageError, match="is not in the SMI") as wrong:
        dsp.assert_status(stranger, "Commissioned")
    assert "12.2" in wrong.value.next_step
