"""What falls due on a lab's clock while another request is carried out on its boards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from hanlab.duis.messages import (
    ActivateFirmware,
    ReadFirmwareVersion,
    Request,
    RequestId,
    UpdateFirmware,
)
from hanlab.images import build, made_body
from hanlab.lab import Lab
from hanlab.lab.enrolment import product
from hanlab.lab.office import service_request
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

IMAGE = build(made_body(4096), device_type="PPMID", version="IHDAE06", for_ch="Secure")


class Dated:
    """A lab whose PPMID has future-dated 11.2 pending, that nobody waits for."""

    def __init__(self, folder: Path) -> None:
        self.lab = Lab.open(state=folder)
        self.ppmid = self.lab.device("PPMID")

    def read_in(self, seconds: float) -> RequestId:
        dsp = self.lab.dsp
        due = dsp.parts.clock() + timedelta(seconds=seconds)
        request: Request = service_request(dsp, ReadFirmwareVersion(due), self.ppmid.eui)
        assert dsp.receive(request).code == "I99"
        return request.id

    @property
    def ended(self) -> list[tuple[RequestId, str]]:
        return [(n.request, n.end) for n in self.lab.notices if n.end != "begins"]


@pytest.fixture
def dated(tmp_path: Path) -> Iterator[Dated]:
    made = Dated(tmp_path)
    yield made
    made.lab.close()


@pytest.mark.parametrize("direct", [False, True])
def test_what_falls_due_during_a_request_is_met_at_its_end(direct: bool, dated: Dated) -> None:
    lab, ppmid = dated.lab, dated.ppmid
    lab.dsp.load([product(ppmid.model, IMAGE.version, IMAGE.manufacturer_image_hash)])
    second, first, later = dated.read_in(0.4), dated.read_in(0.2), dated.read_in(3600)
    if direct:
        assert lab.run(lab.update_firmware(IMAGE, ppmid)) is Outcome.DISTRIBUTED
    else:
        update = UpdateFirmware(IMAGE.to_bytes(), IMAGE.version, (ppmid.eui,))
        answer = lab.run(lab.send(update))
        assert (answer.code, answer.alerts, answer.cause) == ("I99", ["N60"], None)
        assert all(d.request is None for d in answer.deliveries), "its own alone"
    assert dated.ended == [(first, "I0"), (second, "I0")]
    assert lab.dsp.unfinished() == [later]


@pytest.mark.parametrize("direct", [False, True])
def test_what_falls_due_during_a_request_that_fails_is_met_too(direct: bool, dated: Dated) -> None:
    lab, ppmid = dated.lab, dated.ppmid
    due = dated.read_in(0.01)
    if direct:
        with pytest.raises(ServiceRequestFailed) as failed:
            lab.run(lab.activate_firmware(bytes(32), ppmid))
        assert failed.value.outcome is Outcome.NO_IMAGE_HELD
    else:
        answer = lab.run(lab.send(ActivateFirmware(bytes(32)), ppmid.eui))
        assert answer.cause
        assert answer.cause.outcome is Outcome.NO_IMAGE_HELD
    assert dated.ended == [(due, "I0")]
