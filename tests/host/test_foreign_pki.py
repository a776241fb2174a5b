"""Keys, certificates and signatures of other tools, above all of Smart DCC's."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hanlab.cli import app
from hanlab.duis.foreign_pki import import_pki
from hanlab.duis.pki import DSP_NAME, S1SP, S1SP_NAME, Pki, provision, read_pki
from hanlab.duis.reading import read_request
from hanlab.duis.signing import SignatureError, verify
from hanlab.errors import UsageError
from hanlab.eui import Eui

THEIRS = Path(__file__).parent / "dcc_style"
SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
DSP = Eui.parse("90-B3-D5-1F-30-00-00-02")
NETWORK = Eui.parse("90-B3-D5-1F-30-03-00-00")
PARTIES = [("supplier", SUPPLIER), ("network", NETWORK), (DSP_NAME, DSP), (S1SP_NAME, S1SP)]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return provision(tmp_path / "pki", PARTIES, imported=import_pki(THEIRS / "keys"))


def message(name: str) -> bytes:
    return (THEIRS / name).read_bytes()


def test_whose_keys_are_found_and_which_comes_first() -> None:
    found = [(one.file.name, str(one.eui)) for one in import_pki(THEIRS / "keys")]
    assert found == [
        ("xml-sign-00DB123456780004-ds.pem", "00-DB-12-34-56-78-00-04"),
        ("xml-sign-90B3D51F30010000-ds.pem", str(SUPPLIER)),
        ("dsp-xml-sign-90B3D51F30000002-ds.pem", str(DSP)),
        ("Z1-supplier-ds.pem", str(SUPPLIER)),
    ], "the key agreement certificate signs nothing"


def test_the_lab_has_their_keys_and_makes_what_is_missing(pki: Pki) -> None:
    assert sorted(pki.signers) == ["dsp", "network", "s1sp", "supplier"]
    assert [c.name for c in pki.others] == ["supplier-2"]
    issuers = {n: s.certificate.issuer_serial[0] for n, s in pki.signers.items()}
    ours = "CN=hanlab test CA,OU=07"
    assert issuers == {
        "supplier": "CN=Z1,OU=07",
        "dsp": "CN=Z1,OU=07",
        "network": ours,
        "s1sp": ours,
    }
    assert read_pki(pki.folder).certificates == pki.certificates


@pytest.mark.parametrize(
    ("name", "signer"),
    [("11.2_signed.xml", "supplier"), ("11.2_signed_instructions.xml", "supplier-2")],
)
def test_what_their_tool_signed_is_verified_and_read(name: str, signer: str, pki: Pki) -> None:
    signed = verify(message(name), pki.certificates)
    assert (signed.by.name, signed.by.eui) == (signer, SUPPLIER)
    sample = THEIRS.parent / "duis_samples" / "11.2_request_future.xml"
    assert read_request(signed.octets) == read_request(sample.read_bytes())


@pytest.mark.parametrize(
    "issuer", ["OU=07,CN=Z1", "OU=07, CN=Z1", "CN=Z1, OU=07", "\n CN=Z1 ,\tOU=07 "]
)
def test_an_issuer_is_written_in_several_ways(issuer: str, pki: Pki) -> None:
    written = message("11.2_signed.xml").replace(b">CN=Z1,OU=07<", f">{issuer}<".encode())
    assert verify(written, pki.certificates).by.name == "supplier"


@pytest.mark.parametrize(
    "issuer", ["CN=Z2,OU=07", "CN=Z1", "OU=07", "CN=Z1,OU=07,OU=07", "", "=", "CN=Z1+OU=07"]
)
def test_another_issuer_is_nobodys(issuer: str, pki: Pki) -> None:
    written = message("11.2_signed.xml").replace(b">CN=Z1,OU=07<", f">{issuer}<".encode())
    with pytest.raises(SignatureError, match="no certificate of this lab"):
        verify(written, pki.certificates)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<?before it?>", b""),
        (b"<?after it?>", b"<?after that?>"),
        (b"<?in it?>", b""),
        (b"<sr:Header>", b"<?more?><sr:Header>"),
        (b"<sr:Request ", b"<?more?><sr:Request "),
    ],
)
def test_a_processing_instruction_is_signed_as_all_else(old: bytes, new: bytes, pki: Pki) -> None:
    written = message("11.2_signed_instructions.xml")
    assert old in written
    with pytest.raises(SignatureError, match="Digest mismatch"):
        verify(written.replace(old, new, 1), pki.certificates)


def test_a_comment_is_not_signed_and_says_nothing(pki: Pki) -> None:
    written = message("11.2_signed.xml").replace(b":1001<", b":10<!-- 9 -->01<")
    signed = verify(written, pki.certificates)
    assert read_request(signed.octets).id.counter == 1001
    assert b"<!--" not in signed.octets


# -- folders


def test_any_names_pem_and_der_alike(tmp_path: Path) -> None:
    for number, file in enumerate(sorted((THEIRS / "keys").iterdir())):
        shutil.copy(file, tmp_path / f"file-{number}")
    (tmp_path / "notes.txt").write_text("no key")
    (tmp_path / "large").write_bytes(bytes(100_000))
    (tmp_path / "folder").mkdir()
    found = import_pki(tmp_path)
    assert {one.eui for one in found} == {one.eui for one in import_pki(THEIRS / "keys")}


def test_a_key_that_belongs_to_no_certificate_is_not_taken(tmp_path: Path) -> None:
    keys = THEIRS / "keys"
    shutil.copy(keys / "Z1-supplier-ds.pem", tmp_path / "a.pem")
    shutil.copy(keys / "xml-sign-90B3D51F30010000-ds.key", tmp_path / "a.key")
    with pytest.raises(UsageError, match="2 files 1 are certificates and 1 such keys"):
        import_pki(tmp_path)


def hanlab(*arguments: str, folder: Path) -> tuple[int, str]:
    """Exit code and output of a command with a lab in `folder`."""
    lab = folder / "lab.toml"
    if not lab.exists():
        lab.write_text(
            '[comms_hub]\nboard = "esp32-devkitc"\nmodel = "skyline-i510"\n'
            'eui = "00-DB-12-34-56-78-90-A2"\n'
        )
    try:
        ran = CliRunner().invoke(app, [*arguments, "--lab", str(lab)], catch_exceptions=False)
    except UsageError as e:
        return e.exit_code, str(e)
    return ran.exit_code, ran.output


def test_provision_imports_into_the_lab(tmp_path: Path) -> None:
    code, said = hanlab(
        "provision", "--import-pki", str(THEIRS / "keys"), "--json", folder=tmp_path
    )
    made = json.loads(said)
    assert code == 0
    assert made["imported"] == {
        "supplier": "xml-sign-90B3D51F30010000-ds.pem",
        "dsp": "dsp-xml-sign-90B3D51F30000002-ds.pem",
    }
    signed = verify(message("11.2_signed.xml"), read_pki(Path(made["folder"])).certificates)
    assert signed.by.eui == SUPPLIER


WRONG = ("missing", "file", "empty", "pictures", "strangers", "damaged")
MADE_NEW = {("serve", "missing"), ("provision", "missing"), ("provision", "empty")}


@pytest.mark.parametrize(
    ("way", "what"), sorted({*product(("import", "serve", "provision"), WRONG)} - MADE_NEW)
)
def test_a_wrong_folder_is_left_alone_and_force_is_never_advised(
    what: str, way: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    if what == "file":
        wrong.write_text("no folder")
    elif what != "missing":
        wrong.mkdir()
    if what == "pictures":
        (wrong / "cat.jpg").write_bytes(b"\xff\xd8")
        (wrong / "mine.pem").write_text("mine")
    if what == "strangers":
        for file in (THEIRS / "keys").glob("*00DB*"):
            shutil.copy(file, wrong)
    if what == "damaged":
        provision(wrong, PARTIES)
        (wrong / "notes.txt").write_text("somebody's")
        for key in wrong.glob("*.key"):
            key.write_text("no key")
    before = {f: f.read_bytes() for f in wrong.glob("*")}
    arguments = {
        "import": ["provision", "--import-pki", str(wrong)],
        "serve": ["serve", "--pki", str(wrong)],
        "provision": ["provision", str(wrong), "--force"],
    }[way]
    code, said = hanlab(*arguments, folder=tmp_path)
    assert code == 2
    assert str(wrong) in said
    assert "--force" not in said
    assert {f: f.read_bytes() for f in wrong.glob("*")} == before
