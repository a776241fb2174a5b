"""12.2 and 8.x, and what SMETS1 devices answer to them: read as they are written, within their bounds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hanlab.duis.messages import (
    Body,
    CommissionDevice,
    DecommissionDevice,
    DeleteDevice,
    JoinService,
    OtherBody,
    ReadDeviceLog,
    Request,
    RequestId,
    SetDetails,
    SetMpxn,
    SetStatus,
    UnjoinService,
    UpdateHanDeviceLog,
    UpdateInventory,
)
from hanlab.duis.names import STATUSES
from hanlab.duis.pki import DSP_NAME, S1SP_NAME, Pki, provision
from hanlab.duis.reading import DuisError, read_request, read_response
from hanlab.duis.responses import (
    DeviceAnswer,
    DeviceCommissioned,
    DeviceLogEntry,
    DeviceLogRead,
    HanDeviceLogUpdated,
    Response,
    ServiceJoined,
)
from hanlab.duis.writing import write_request, write_response
from hanlab.eui import Eui

SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
HUB = Eui.parse("00-DB-12-34-56-78-90-A2")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")
NOW = datetime(2026, 1, 1, tzinfo=UTC)

euis = st.binary(min_size=8, max_size=8).map(Eui)
dates = st.datetimes(datetime(2000, 1, 1), datetime(3000, 12, 31), timezones=st.just(UTC)).map(
    lambda d: d.replace(microsecond=0)
)
words = st.none() | st.text("ABc 0<&", min_size=1, max_size=4)
digits = st.text("0123456789", min_size=13, max_size=13)
changes = st.one_of(
    *(st.builds(SetStatus, st.sampled_from(some), st.just(ch)) for ch, some in STATUSES.items()),
    st.builds(SetDetails, words, words, words, words, st.none() | st.just("AD")),
    st.just(DeleteDevice()),
    st.builds(
        SetMpxn, st.sampled_from(["ImportMPxN", "SecondaryImportMPAN", "ExportMPAN"]), digits
    ),
)
BODIES: dict[str, st.SearchStrategy[Body]] = {
    "8.1.1": st.builds(CommissionDevice, dates, st.integers(0, 86_400)),
    "8.3": st.builds(DecommissionDevice, euis),
    "8.4": st.builds(UpdateInventory, euis, changes),
    "8.7.1": st.builds(JoinService, euis, st.just(True)),
    "8.7.2": st.builds(JoinService, euis),
    "8.8.1": st.builds(UnjoinService, euis, st.just(True)),
    "8.8.2": st.builds(UnjoinService, euis),
    "8.9": st.builds(ReadDeviceLog, st.none() | dates, st.booleans()),
    "8.11": st.builds(UpdateHanDeviceLog, euis, st.just(False), execution=st.none() | dates),
}
entries = st.builds(DeviceLogEntry, euis, st.none() | dates)
of_meters = st.builds(DeviceLogEntry, euis, st.none(), st.sampled_from(["CHF", "GPF", "PPMID"]))
ANSWERS: dict[str, st.SearchStrategy[DeviceAnswer]] = {
    "8.1.1": st.builds(DeviceCommissioned, st.none() | dates, st.booleans()),
    "8.7.1": st.builds(ServiceJoined, st.just(True), st.just(True)),
    "8.7.2": st.builds(ServiceJoined, st.just(True), st.just(False)),
    "8.8.1": st.builds(ServiceJoined, st.just(False), st.just(True)),
    "8.8.2": st.just(ServiceJoined(False, False, 1, "otherDeviceNotInDeviceLog", False)),
    "8.9": st.builds(DeviceLogRead, st.lists(entries, max_size=16).map(tuple))
    | st.builds(DeviceLogRead, st.lists(of_meters, max_size=20).map(tuple), st.just(False)),
    "8.11": st.builds(HanDeviceLogUpdated, st.booleans()),
}


def services(reference: str) -> tuple[str, str]:
    """The ServiceReference and its variant: 8.7.1 is one of 8.7."""
    return ".".join(reference.split(".")[:2]), reference


def request(reference: str, body: Body) -> Request:
    return Request(RequestId(SUPPLIER, HUB, 1), 1, *services(reference), body)


@given(st.data())
def test_a_request_is_read_as_it_was_written(data: st.DataObject) -> None:
    reference = data.draw(st.sampled_from(sorted(BODIES)))
    written = request(reference, data.draw(BODIES[reference]))
    assert written.reference == reference
    assert read_request(write_request(written)) == written


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return provision(tmp_path_factory.mktemp("pki"), [(DSP_NAME, HUB), (S1SP_NAME, PPMID)])


@pytest.mark.parametrize("reference", sorted(ANSWERS))
def test_a_devices_answer_is_read_as_it_was_written(reference: str, pki: Pki) -> None:
    @given(ANSWERS[reference])
    def check(answer: DeviceAnswer) -> None:
        id_ = RequestId(SUPPLIER, HUB, 1)
        response = Response("I0", NOW, id_, *services(reference), answer, from_device=True)
        xml = write_response(response, lambda: pki.signers[S1SP_NAME])
        assert read_response(xml) == response

    check()


@pytest.mark.parametrize(
    ("reference", "body", "elements"),
    [
        ("8.1.1", CommissionDevice(NOW), "CommissionDeviceSynchroniseClock CurrentDateTime TolerancePeriod"),
        ("8.3", DecommissionDevice(PPMID), "DecommissionDevice DeviceID"),
        ("8.4", UpdateInventory(PPMID, DeleteDevice()), "UpdateInventory DeviceID DeleteDevice"),
        (
            "8.4",
            UpdateInventory(PPMID, SetStatus("Pending")),
            "UpdateInventory DeviceID UpdateDeviceStatusExceptCH",
        ),
        ("8.7.1", JoinService(PPMID, True), "JoinServiceCritical OtherDeviceID"),
        ("8.7.2", JoinService(PPMID), "JoinServiceNonCritical OtherDeviceID"),
        ("8.8.1", UnjoinService(PPMID, True), "UnjoinServiceCritical OtherDeviceID"),
        ("8.8.2", UnjoinService(PPMID), "UnjoinServiceNonCritical OtherDeviceID"),
        ("8.9", ReadDeviceLog(), "ReadDeviceLog"),
        ("8.11", UpdateHanDeviceLog(PPMID, add=False), "UpdateHANDeviceLog DeviceID RequestType"),
    ],
)  # fmt: skip
def test_the_elements_have_the_schemas_names_and_order(
    reference: str, body: Body, elements: str
) -> None:
    root = etree.fromstring(write_request(request(reference, body)))
    (holder,) = root.iterfind("{*}Body")
    assert [etree.QName(e).localname for e in holder.iterdescendants()] == elements.split()


@pytest.mark.parametrize(
    ("reference", "body", "old", "new", "what"),
    [
        ("8.1.1", CommissionDevice(NOW), ">60<", ">86401<", "TolerancePeriod"),
        ("8.1.1", CommissionDevice(NOW), ">60<", ">-1<", "TolerancePeriod"),
        ("8.4", UpdateInventory(PPMID, SetStatus("Pending")), ">Pending<", ">Suspended<", "UpdateDeviceStatus"),
        ("8.4", UpdateInventory(PPMID, SetStatus("Withdrawn", True)), ">Withdrawn<", ">Pending<", "StatusCH"),
        ("8.4", UpdateInventory(PPMID, DeleteDevice()), "DeleteDevice", "RemoveDevice", "RemoveDevice"),
        ("8.4", UpdateInventory(PPMID, SetMpxn("ExportMPAN", "1" * 13)), "1" * 13, "1" * 12, "ExportMPAN"),
        ("8.4", UpdateInventory(PPMID, SetMpxn("ExportMPAN", "1" * 13)), "ExportMPAN", "DeviceID", "DeviceID"),
        ("8.7.1", JoinService(PPMID, True), "ServiceCritical", "ServiceNonCritical", "8.7.1 has"),
        ("8.8.2", UnjoinService(PPMID), "A4<", "<", "OtherDeviceID"),
        ("8.9", ReadDeviceLog(security=True), "ReadSecurityDetails", "ReadDetails", "ReadDetails"),
        ("8.11", UpdateHanDeviceLog(PPMID, add=False), ">Remove<", ">Add<", "AddDeviceToCHFWhitelist"),
        ("8.11", UpdateHanDeviceLog(PPMID), ">Add<", ">Remove<", "AddDeviceToCHFWhitelist"),
        ("8.11", UpdateHanDeviceLog(PPMID), ">3600<", ">100000<", "JoinTimePeriod"),
    ],
)  # fmt: skip
def test_outside_of_its_bounds_it_is_refused(
    reference: str, body: Body, old: str, new: str, what: str
) -> None:
    xml = write_request(request(reference, body))
    read_request(xml)
    assert old.encode() in xml
    with pytest.raises(DuisError, match=what):
        read_request(xml.replace(old.encode(), new.encode()))


def test_a_variant_that_there_is_not_is_known_by_name_only() -> None:
    xml = write_request(request("8.7.2", JoinService(PPMID))).replace(b">8.7.2<", b">8.7.3<")
    assert read_request(xml).body == OtherBody("JoinServiceNonCritical")
