"""A test PKI: keys and certificates for the lab's users, its DSP and its S1SP. For labs only."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hanlab.duis.foreign_pki import Imported, eui_of, load_key
from hanlab.duis.signing import Certificate, Signer
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.files import settle, write_whole

DSP_NAME: Final = "dsp"
S1SP_NAME: Final = "s1sp"
S1SP: Final = Eui.parse("90-B3-D5-1F-30-00-00-03")
"""The S1SP's identifier in hanlab; no public document gives one."""
_ISSUER: Final = "hanlab test CA"
_UNIT: Final = "07"
_YEARS: Final = 10
_ASIDE: Final = ".hanlab-new"
"""Where keys are made, in their folder, until all of them are there."""


@dataclass(frozen=True)
class Pki:
    """Who can sign, by name, and whose signatures are known: theirs, and those of `others`."""

    folder: Path
    signers: dict[str, Signer]
    others: tuple[Certificate, ...] = ()
    """Further certificates of the same parties, without their keys."""

    @property
    def certificates(self) -> list[Certificate]:
        return [*(signer.certificate for signer in self.signers.values()), *self.others]


def provision(
    folder: Path,
    parties: Iterable[tuple[str, Eui]],
    *,
    force: bool = False,
    imported: Iterable[Imported] = (),
) -> Pki:
    """Make a CA, and a key with a certificate for each of `parties` (name, EUI-64).

    `NAME.pem` is a certificate, `NAME.key` its private key, for its owner alone. A party that
    `imported` has keys of keeps those, the best of them as NAME, its other certificates as NAME-2.pem
    and so on.

    Raises:
        UsageError: the folder has keys already and `force` is not set, or it is nobody's to empty:
            with something in it that hanlab has not made.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", next_step="give a folder that is new or empty")
    if folder.exists() and any(folder.iterdir()):
        if not _is_ours(folder):
            raise UsageError(
                f"{folder} has something in it that hanlab did not make, and stays as it is",
                next_step="give a folder that is new or empty; --import-pki FOLDER takes keys from one",
            )
        if not force:
            raise UsageError(
                f"{folder} has test keys already",
                next_step="they can be used as they are; hanlab provision OTHER_FOLDER makes new ones, and these stay",
            )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    aside = folder / _ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    try:
        _make(aside, parties, list(imported))
        for old in [*folder.glob("*.pem"), *folder.glob("*.key")]:
            old.unlink()
        for file in aside.iterdir():
            file.rename(folder / file.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    settle(folder)
    return read_pki(folder)


def _make(folder: Path, parties: Iterable[tuple[str, Eui]], theirs: list[Imported]) -> None:
    ca = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, _UNIT),
            x509.NameAttribute(NameOID.COMMON_NAME, _ISSUER),
        ]
    )
    _keep(folder, "ca", _certificate(issuer, issuer, ca, ca, ca=True), ca)
    for name, eui in parties:
        found = [i for i in theirs if i.eui == eui]
        if found:
            _keep(folder, name, found[0].x509, found[0].key)
            for number, other in enumerate(found[1:], 2):
                _keep_certificate(folder, f"{name}-{number}", other.x509)
            continue
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, str(eui)),
            ]
        )
        _keep(folder, name, _certificate(subject, issuer, key, ca, ca=False), key)


def _is_ours(folder: Path) -> bool:
    """Whether `provision` made what is in it: there is its CA, and nothing but keys and certificates."""
    try:
        ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        names = ca.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (OSError, ValueError):
        return False
    strange = any(
        file.suffix not in (".pem", ".key") and file.name != _ASIDE for file in folder.iterdir()
    )
    return not strange and [name.value for name in names] == [_ISSUER]


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=ca,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(ca_key, hashes.SHA256())
    )


def _keep(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    _keep_certificate(folder, name, certificate)
    octets = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_whole(folder / f"{name}.key", octets, mode=0o600)


def _keep_certificate(folder: Path, name: str, certificate: x509.Certificate) -> None:
    octets = certificate.public_bytes(serialization.Encoding.PEM)
    write_whole(folder / f"{name}.pem", octets)


def read_pki(folder: Path) -> Pki:
    """What `provision` made.

    Raises:
        UsageError: it is not there, or damaged.
    """
    signers = {}
    others = []
    try:
        for file in sorted(folder.glob("*.pem")):
            if file.stem == "ca":
                continue
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
            known = Certificate(file.stem, eui_of(certificate), certificate)
            private = file.with_suffix(".key")
            if private.exists():
                signers[file.stem] = Signer(known, _read_key(private, certificate))
            else:
                others.append(known)
    except (OSError, ValueError) as e:
        raise UsageError(
            f"the keys in {folder} cannot be read: {e}",
            next_step=f"put back what was in it, or move it away: {_MAKES}",
        ) from None
    if not {DSP_NAME, S1SP_NAME} <= set(signers):
        raise UsageError(
            f"{folder} has no keys of DSP and S1SP ({DSP_NAME}.key, {S1SP_NAME}.key)",
            next_step=f"give another folder: {_MAKES}",
        )
    return Pki(folder, signers, tuple(others))


_MAKES: Final = "hanlab provision makes test keys, hanlab provision --import-pki FOLDER takes others' into a lab"


def _read_key(file: Path, certificate: x509.Certificate) -> ec.EllipticCurvePrivateKey:
    """The private key in a file, PEM or DER, that belongs to a certificate; ValueError if it does not."""
    key = load_key(file.read_bytes())
    if key is None or key.public_key() != certificate.public_key():
        raise ValueError(f"{file.name} is not the private key of {file.stem}.pem")
    return key
