"""DUIS XML: what is read, what is written, and what is refused."""

from __future__ import annotations

import base64
import copy
import dataclasses
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from full_disk import no_room
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from benchmarks.dsp import memory_of_largest_update
from hanlab.duis.messages import (
    MAX_COUNTER,
    MAX_IMAGE,
    ActivateFirmware,
    Body,
    DevicePreNotification,
    OtherBody,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    RequestId,
    TopUpDevice,
    UpdateFirmware,
    UpdateHanDeviceLog,
)
from hanlab.duis.names import DS, SIGNATURE, sr
from hanlab.duis.parsing import MAX_OCTETS
from hanlab.duis.pki import DSP_NAME, S1SP_NAME, Pki, provision, read_pki
from hanlab.duis.reading import DuisError, read_request, read_response
from hanlab.duis.responses import FirmwareActivated, Response, UpdateFirmwareWarning
from hanlab.duis.signing import SignatureError, is_signed, verify
from hanlab.duis.writing import write_request, write_response
from hanlab.errors import UsageError
from hanlab.eui import Eui

SAMPLES = Path(__file__).parent / "duis_samples"
REQUESTS = sorted(p.name for p in SAMPLES.glob("*_request*.xml") if p.name[0] == "1")
RESPONSES = sorted(
    p.name for p in SAMPLES.glob("*.xml") if p.name not in REQUESTS and not p.name.startswith("neg")
)
WRONG = {
    "neg_fwversion_9_chars.xml": "sr:FirmwareVersion",
    "neg_hash_31_bytes.xml": "sr:FirmwareHash",
    "neg_two_lists_space.xml": "sr:DeviceIDList",
}
SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    dsp, s1sp = Eui(bytes(8)), Eui(bytes(7) + b"\x01")
    parties = [("supplier", SUPPLIER), (DSP_NAME, dsp), (S1SP_NAME, s1sp)]
    return provision(tmp_path_factory.mktemp("pki"), parties)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def canonical(octets: bytes) -> bytes:
    """Without signatures and without white space between elements."""
    root = etree.fromstring(octets, etree.XMLParser(remove_blank_text=True))
    for signature in root.findall(f".//{SIGNATURE}"):
        parent = signature.getparent()
        assert parent is not None
        parent.remove(signature)
    return etree.tostring(root, method="c14n", exclusive=True)


def without_fractions(octets: bytes) -> bytes:
    """Dates are written to the millisecond; a sample may have fewer digits."""
    return canonical(octets).replace(b".00Z", b".000Z")


@pytest.mark.parametrize("name", REQUESTS)
def test_every_sample_of_a_request_is_read_and_written(name: str) -> None:
    request = read_request(sample(name))
    assert without_fractions(write_request(request)) == without_fractions(sample(name))


@pytest.mark.parametrize("name", RESPONSES)
def test_every_sample_of_a_response_is_read_and_written(name: str, pki: Pki) -> None:
    response = read_response(sample(name))
    written = write_response(response, lambda: pki.signers[S1SP_NAME])
    assert read_response(written) == response
    assert without_fractions(written) == without_fractions(sample(name))


@pytest.mark.parametrize(("name", "element"), WRONG.items())
def test_every_wrong_sample_is_refused(name: str, element: str) -> None:
    with pytest.raises(DuisError, match=element):
        read_request(sample(name))


def test_there_are_samples() -> None:
    assert (len(REQUESTS), len(RESPONSES)) == (5, 18)


euis = st.binary(min_size=8, max_size=8).map(Eui)
ids = st.builds(RequestId, euis, euis, st.integers(0, MAX_COUNTER))
dates = st.none() | st.datetimes(
    datetime(2000, 1, 1), datetime(3000, 12, 31), timezones=st.just(UTC)
).map(lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000))
words = st.text("ABCdef019.-_ <&>\"'", min_size=1, max_size=8)
lists = st.lists(euis, min_size=1, max_size=5).map(tuple)
bodies: dict[str, st.SearchStrategy[Body]] = {
    "2.2": st.builds(TopUpDevice, st.text("0123456789", min_size=20, max_size=20)),
    "8.2": st.builds(ReadInventory, euis),
    "8.11": st.builds(
        UpdateHanDeviceLog, euis, st.just(True), st.integers(1, 3600),
        st.binary(min_size=6, max_size=16), dates,
    ),
    "11.1": st.builds(UpdateFirmware, st.binary(max_size=300), words, lists),
    "11.2": st.builds(ReadFirmwareVersion, dates),
    "11.3": st.builds(ActivateFirmware, st.binary(min_size=32, max_size=32), dates),
    "11.4": st.builds(UpdateFirmware, st.binary(max_size=300), words, lists),
    "12.2": st.builds(
        DevicePreNotification, euis, words, words, st.sampled_from(["ESME", "PPMID"]),
        st.none() | words, st.none() | words, st.none() | st.just("AD"), st.none() | euis,
    ),
}  # fmt: skip


@given(st.data())
def test_what_is_written_is_read(data: st.DataObject) -> None:
    service = data.draw(st.sampled_from(sorted(bodies)))
    request = Request(
        data.draw(ids), data.draw(st.integers(1, 9)), service, service, data.draw(bodies[service])
    )
    assert read_request(write_request(request)) == request


@given(st.binary(max_size=400))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    for read in (read_request, read_response):
        with pytest.raises(DuisError):
            read(octets)


@given(st.data())
def test_a_damaged_message_is_read_or_refused(data: st.DataObject) -> None:
    octets = bytearray(sample(data.draw(st.sampled_from(REQUESTS + RESPONSES))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=8))
        if not octets:
            break
    for read in (read_request, read_response):
        try:
            read(bytes(octets))
        except DuisError:
            continue


def request_with(body: str, service: str = "11.2", id_: str = f"{SUPPLIER}:{PPMID}:1") -> bytes:
    return (
        '<sr:Request xmlns:sr="http://www.dccinterface.co.uk/ServiceUserGateway" schemaVersion="5.4">'
        f"<sr:Header><sr:RequestID>{id_}</sr:RequestID><sr:CommandVariant>1</sr:CommandVariant>"
        f"<sr:ServiceReference>{service}</sr:ServiceReference>"
        f"<sr:ServiceReferenceVariant>{service}</sr:ServiceReferenceVariant></sr:Header>"
        f"<sr:Body>{body}</sr:Body></sr:Request>"
    ).encode()


READ = "<sr:ReadFirmwareVersion/>"
BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(2, 12))
    + b"]>"
)


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (b"", "no XML"),
        (b"hello", "no XML"),
        (request_with(READ)[:-10], "no XML"),
        (BOMB + request_with("<sr:ReadFirmwareVersion>&a11;</sr:ReadFirmwareVersion>"), "entities"),
        (
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + request_with("&x;"),
            "entities",
        ),
        (b'<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd">' + request_with(READ), "document type"),
        (request_with("<a>" * 5000 + "</a>" * 5000), "tags"),
        (request_with("<a " + " ".join(f'b{n}=""' for n in range(5000)) + "/>"), "attributes"),
        (b" " * (MAX_OCTETS + 1), "octets"),
        (request_with(READ, id_="1:2:3"), "sr:RequestID"),
        (request_with(READ, id_=f"{SUPPLIER}:{PPMID}:01"), "sr:RequestID"),
        (request_with(READ, id_=f"{SUPPLIER}:{PPMID}:{2**64}"), "sr:RequestID"),
        (request_with(READ, service="eleven"), "sr:ServiceReference"),
        (request_with("<sr:ActivateFirmware/>"), "11.2 has sr:ReadFirmwareVersion"),
        (request_with(READ + READ), "does not belong"),
        (request_with("text" + READ), "text between"),
        (request_with("<sr:ReadFirmwareVersion><a/></sr:ReadFirmwareVersion>"), "not belong"),
        (request_with(READ).replace(b' schemaVersion="5.4"', b""), "schemaVersion"),
        (
            request_with(
                "<sr:UpdateFirmware><sr:FirmwareImage>A*==</sr:FirmwareImage>"
                f"<sr:FirmwareVersion>1</sr:FirmwareVersion><sr:DeviceIDList>{PPMID}"
                "</sr:DeviceIDList></sr:UpdateFirmware>",
                "11.1",
            ),
            "base64",
        ),
    ],
)
def test_what_is_no_service_request_is_refused(octets: bytes, what: str) -> None:
    with pytest.raises(DuisError) as e:
        read_request(octets)
    assert what in e.value.what


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("Add<", "Ask<", "RequestType"),
        (">3600<", ">3601<", "JoinTimePeriod"),
        (">3600<", ">0<", "JoinTimePeriod"),
        ("00" * 16, "00" * 5, "InstallCode"),
        ("00" * 16, "00" * 17, "InstallCode"),
    ],
)
def test_an_8_11_outside_of_its_bounds(old: str, new: str, what: str) -> None:
    request = Request(RequestId(SUPPLIER, PPMID, 1), 1, "8.11", "8.11", UpdateHanDeviceLog(PPMID))
    octets = write_request(request)
    assert read_request(octets) == request
    assert old.encode() in octets
    with pytest.raises(DuisError, match=what):
        read_request(octets.replace(old.encode(), new.encode()))


def test_a_request_that_hanlab_knows_by_name_only() -> None:
    request = read_request(request_with("<sr:UpdateTariff><a/></sr:UpdateTariff>", "1.1.1"))
    assert request.body == OtherBody("UpdateTariff")


def test_characters_that_xml_does_not_have_are_written_as_escapes(pki: Pki) -> None:
    id_ = RequestId(SUPPLIER, PPMID, 1)
    body = FirmwareActivated(False, 2, "hashMismatch", None, "a\x00b")
    response = Response("I0", datetime(2026, 1, 1, tzinfo=UTC), id_, "11.3", "11.3", body, True)
    written = read_response(write_response(response, lambda: pki.signers[S1SP_NAME]))
    assert isinstance(written.body, FirmwareActivated)
    assert written.body.debug == r"'a\x00b'"


def test_fifty_thousand_devices() -> None:
    devices = tuple(Eui(n.to_bytes(8, "big")) for n in range(50_000))
    request = Request(
        RequestId(SUPPLIER, PPMID, 1), 8, "11.1", "11.1", UpdateFirmware(b"x", "1", devices)
    )
    assert read_request(write_request(request)) == request
    more = dataclasses.replace(request, body=UpdateFirmware(b"x", "1", (*devices, PPMID)))
    with pytest.raises(DuisError, match="DeviceIDList"):
        read_request(write_request(more))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_ten_megabytes_are_read_with_less_than_a_hundred_more() -> None:
    peak = memory_of_largest_update()
    assert 10_240_000 < peak < 100_000_000, "the image itself, and not ten times that"


# -- signatures


def test_what_is_signed_is_known_again(pki: Pki) -> None:
    signed = pki.signers["supplier"].sign_octets(request_with(READ))
    assert is_signed(signed)
    assert verify(signed, pki.certificates).by == pki.signers["supplier"].certificate
    assert read_request(signed) == read_request(request_with(READ))


def test_what_the_s1sp_says_has_its_own_signature_within(pki: Pki) -> None:
    response = read_response(sample("11.2_smets1_response_I0.xml"))
    xml = write_response(response, lambda: pki.signers[S1SP_NAME])
    whole = pki.signers[DSP_NAME].sign_octets(xml)
    assert verify(whole, pki.certificates).by.name == DSP_NAME
    inner = etree.fromstring(whole).find(f".//{sr('SMETS1SignedResponse')}")
    assert inner is not None
    assert verify(etree.tostring(inner), pki.certificates).by.name == S1SP_NAME
    with pytest.raises(UsageError, match="signature"):
        write_response(response)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b":1<", b":2<"),
        (b"<sr:CommandVariant>1", b"<sr:CommandVariant>8"),
        (b"ReadFirmwareVersion/>", b'ReadFirmwareVersion a=""/>'),
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>AAAA"),
        (b"ecdsa-sha256", b"hmac-sha256"),
        (b'URI=""', b'URI="#x"'),
        (b"<ds:X509SerialNumber>", b"<ds:X509SerialNumber>9"),
    ],
)
def test_a_message_that_was_changed_is_refused(old: bytes, new: bytes, pki: Pki) -> None:
    signed = pki.signers["supplier"].sign_octets(request_with(READ))
    assert old in signed
    with pytest.raises(SignatureError):
        verify(signed.replace(old, new, 1), pki.certificates)


def test_the_placeholders_of_templates_are_no_signatures(pki: Pki) -> None:
    placeholder = etree.fromstring(sample("11.2_smets1_response_I0.xml")).find(f".//{SIGNATURE}")
    assert placeholder is not None
    root = etree.fromstring(request_with(READ))
    root.append(placeholder)
    with pytest.raises(SignatureError):
        verify(etree.tostring(root), pki.certificates)


def wrapped(signed: bytes, reference: str) -> bytes:
    """A stranger's message with a signed one inside its ds:Object, to which the reference is moved."""
    inner = etree.fromstring(signed)
    signature = inner.find(SIGNATURE)
    assert signature is not None
    inner.remove(signature)
    inner.set("Id", "x")
    place = signature.find(f".//{{{DS}}}Reference")
    assert place is not None
    place.set("URI", reference)
    etree.SubElement(signature, f"{{{DS}}}Object").append(inner)
    stranger = etree.fromstring(request_with(READ, id_=f"{SUPPLIER}:{PPMID}:99"))
    stranger.append(signature)
    return etree.tostring(stranger)


def sign_by_id(pki: Pki) -> bytes:
    """A request with an Id, signed by the supplier by that, as other tools than DUIS's do it."""
    from signxml.algorithms import CanonicalizationMethod
    from signxml.signer import XMLSigner

    signer = pki.signers["supplier"]
    root = etree.fromstring(request_with(READ))
    root.set("Id", "x")
    signed = XMLSigner(
        signature_algorithm="ecdsa-sha256",
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    ).sign(
        root,
        key=signer.key,
        cert=[signer.certificate.x509],
        key_info=signer._key_info(),
        reference_uri="#x",
    )
    return etree.tostring(signed)


def test_a_signed_request_wrapped_in_a_strangers_signs_nothing(pki: Pki) -> None:
    wrong = wrapped(sign_by_id(pki), "#x")
    with pytest.raises(SignatureError, match="a part of the message only"):
        verify(wrong, pki.certificates)


@pytest.mark.parametrize(
    "reference", ["#x", "#xpointer(/)", "http://127.0.0.1/x", "file:///etc/passwd", " "]
)
def test_a_reference_to_anything_but_the_document_is_refused(reference: str, pki: Pki) -> None:
    signed = pki.signers["supplier"].sign_octets(request_with(READ))
    with pytest.raises(SignatureError, match="a part of the message only"):
        verify(wrapped(signed, reference), pki.certificates)


def test_one_reference_and_one_signature(pki: Pki) -> None:
    signed = etree.fromstring(pki.signers["supplier"].sign_octets(request_with(READ)))
    info = signed.find(f".//{{{DS}}}SignedInfo")
    assert info is not None
    info.append(copy.deepcopy(info[-1]))
    with pytest.raises(SignatureError, match="a part of the message only"):
        verify(etree.tostring(signed), pki.certificates)
    del info[-2:]
    with pytest.raises(SignatureError, match="refers to none"):
        verify(etree.tostring(signed), pki.certificates)
    twice = etree.fromstring(pki.signers["supplier"].sign_octets(request_with(READ)))
    twice.append(copy.deepcopy(twice[-1]))
    with pytest.raises(SignatureError, match="2 signatures"):
        verify(etree.tostring(twice), pki.certificates)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", f"{DS}hmac-sha1"),
        (
            "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
            "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
        ),
        ("http://www.w3.org/2001/04/xmlenc#sha256", f"{DS}sha1"),
        ("http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmlenc#sha512"),
        ("http://www.w3.org/2001/10/xml-exc-c14n#", "http://www.w3.org/2006/12/xml-c14n11"),
        (f"{DS}enveloped-signature", f"{DS}base64"),
        (f"{DS}enveloped-signature", "http://www.w3.org/TR/1999/REC-xpath-19991116"),
        (f"{DS}enveloped-signature", "http://www.w3.org/TR/1999/REC-xslt-19991116"),
    ],
)
def test_algorithms_that_duis_has_not_are_refused_by_name(old: str, new: str, pki: Pki) -> None:
    signed = pki.signers["supplier"].sign_octets(request_with(READ)).decode()
    assert old in signed
    with pytest.raises(SignatureError) as e:
        verify(signed.replace(old, new).encode(), pki.certificates)
    assert new in e.value.what
    assert old in e.value.next_step


def _without(root: etree._Element, at: int) -> None:
    element = list(root.iter(f"{{{DS}}}*"))[at]
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)


def _emptied(root: etree._Element, at: int) -> None:
    element = list(root.iter(f"{{{DS}}}*"))[at]
    element.text = None
    for child in list(element):
        element.remove(child)


@pytest.mark.parametrize("change", [_without, _emptied])
def test_a_signature_that_lacks_something_is_refused(
    change: Callable[[etree._Element, int], None], pki: Pki
) -> None:
    """Every element of it, one after the other."""
    signed = pki.signers["supplier"].sign_octets(request_with(READ))
    elements = list(etree.fromstring(signed).iter(f"{{{DS}}}*"))
    for at, element in enumerate(elements):
        if change is not _without and element.get("Algorithm"):
            continue  # its text says nothing
        root = etree.fromstring(signed)
        change(root, at)
        with pytest.raises(SignatureError):
            verify(etree.tostring(root), pki.certificates)


def test_a_signature_in_der_is_told_apart(pki: Pki) -> None:
    root = etree.fromstring(pki.signers["supplier"].sign_octets(request_with(READ)))
    value = root.find(f".//{{{DS}}}SignatureValue")
    assert value is not None
    raw = base64.b64decode(value.text or "")
    halves = [int.from_bytes(half, "big") for half in (raw[:32], raw[32:])]
    value.text = base64.b64encode(encode_dss_signature(*halves)).decode()
    with pytest.raises(
        SignatureError, match=r"SignatureValue of the signature is 7[0-2] octets; 64"
    ):
        verify(etree.tostring(root), pki.certificates)


@pytest.mark.parametrize("added", ["<!-- 8 -->", "<?eight?>"])
def test_what_says_nothing_does_not_cut_a_text_short(added: str) -> None:
    """A text with a comment in it is one text, not what stands before the comment."""
    cut = request_with(READ, id_=f"{SUPPLIER}:{PPMID}:12{added}34")
    assert read_request(cut).id.counter == 1234


def test_the_largest_11_1_is_signed_and_verified(pki: Pki) -> None:
    body = UpdateFirmware(bytes(MAX_IMAGE), "1", (PPMID,))
    request = Request(RequestId(SUPPLIER, PPMID, 1), 8, "11.1", "11.1", body)
    signed = pki.signers["supplier"].sign_octets(write_request(request))
    assert read_request(verify(signed, pki.certificates).octets) == request


def test_a_signed_part_in_a_strangers_message_signs_nothing(pki: Pki) -> None:
    signed = etree.fromstring(pki.signers["supplier"].sign_octets(request_with(READ)))
    stranger = etree.fromstring(request_with(READ, id_=f"{SUPPLIER}:{PPMID}:99"))
    signature = signed.find(SIGNATURE)
    assert signature is not None
    copy = etree.fromstring(etree.tostring(signature))
    etree.SubElement(copy, f"{{{DS}}}Object").append(signed)
    stranger.append(copy)
    with pytest.raises(SignatureError):
        verify(etree.tostring(stranger), pki.certificates)


def test_another_key_behind_the_same_certificate_is_refused(pki: Pki) -> None:
    forged = dataclasses.replace(
        pki.signers["supplier"], key=ec.generate_private_key(ec.SECP256R1())
    )
    with pytest.raises(SignatureError, match="supplier"):
        verify(forged.sign_octets(request_with(READ)), pki.certificates)


def test_an_unsigned_message_has_no_signer(pki: Pki) -> None:
    assert not is_signed(request_with(READ))
    with pytest.raises(SignatureError, match="not signed"):
        verify(request_with(READ), pki.certificates)


def test_keys_are_their_owners_and_stay(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    parties = [("supplier", SUPPLIER), (DSP_NAME, PPMID), (S1SP_NAME, PPMID)]
    made = provision(folder, parties)
    modes = {p.name: p.stat().st_mode & 0o777 for p in folder.glob("*.key")}
    assert modes == dict.fromkeys(("ca.key", "dsp.key", "s1sp.key", "supplier.key"), 0o600)
    again = read_pki(folder)
    assert again.certificates == made.certificates
    with pytest.raises(UsageError, match="already"):
        provision(folder, parties)
    with no_room(300), pytest.raises(OSError, match="too large"):  # a certificate has more
        provision(folder, parties, force=True)
    assert read_pki(folder).certificates == made.certificates, "all of them or none"
    renewed = provision(folder, parties, force=True)
    assert renewed.certificates != made.certificates


@pytest.mark.parametrize("damage", ["dsp.key", "supplier.pem"])
def test_damaged_keys_are_named(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    provision(folder, [("supplier", SUPPLIER), (DSP_NAME, PPMID), (S1SP_NAME, PPMID)])
    (folder / damage).write_text("no key")
    with pytest.raises(UsageError, match="cannot be read"):
        read_pki(folder)


def test_a_warning_leaves_empty_lists_out() -> None:
    response = Response(
        "W110101",
        datetime(2026, 1, 1, tzinfo=UTC),
        RequestId(SUPPLIER, PPMID, 1),
        "11.1",
        "11.1",
        UpdateFirmwareWarning(other_in_progress=(PPMID,)),
    )
    assert b"InvalidDeviceIDList" not in write_response(response)
    assert read_response(write_response(response)) == response
