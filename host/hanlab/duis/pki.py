"""A test PKI: keys and certificates for the lab's users, its DSP and its S1SP. For labs only."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hanlab.duis.signing import Certificate, Signer
from hanlab.errors import UsageError
from hanlab.eui import Eui

DSP_NAME: Final = "dsp"
S1SP_NAME: Final = "s1sp"
S1SP: Final = Eui.parse("90-B3-D5-1F-30-00-00-03")
"""The S1SP's identifier in hanlab; no public document gives one."""
_ISSUER: Final = "hanlab test CA"
_UNIT: Final = "07"
_YEARS: Final = 10


@dataclass(frozen=True)
class Pki:
    """Who can sign, by name, and whose signatures are known."""

    folder: Path
    signers: dict[str, Signer]

    @property
    def certificates(self) -> list[Certificate]:
        return [signer.certificate for signer in self.signers.values()]


def provision(folder: Path, parties: Iterable[tuple[str, Eui]], *, force: bool = False) -> Pki:
    """Make a CA, and a key with a certificate for each of `parties` (name, EUI-64).

    `NAME.pem` is a certificate, `NAME.key` its private key, for its owner alone.

    Raises:
        UsageError: the folder has keys already and `force` is not set.
    """
    if not force and folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} has something in it already", next_step="--force makes new keys in its place"
        )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for old in [*folder.glob("*.pem"), *folder.glob("*.key")]:
        old.unlink()
    ca = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, _UNIT),
            x509.NameAttribute(NameOID.COMMON_NAME, _ISSUER),
        ]
    )
    _keep(folder, "ca", _certificate(issuer, issuer, ca, ca, ca=True), ca)
    for name, eui in parties:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, str(eui)),
            ]
        )
        _keep(folder, name, _certificate(subject, issuer, key, ca, ca=False), key)
    return read_pki(folder)


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
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / f"{name}.key"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def read_pki(folder: Path) -> Pki:
    """What `provision` made.

    Raises:
        UsageError: it is not there, or damaged.
    """
    signers = {}
    try:
        for file in sorted(folder.glob("*.key")):
            if file.stem == "ca":
                continue
            certificate = x509.load_pem_x509_certificate(file.with_suffix(".pem").read_bytes())
            key = serialization.load_pem_private_key(file.read_bytes(), None)
            (eui,) = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError(f"{file.name} is no EC key")
            known = Certificate(file.stem, Eui.parse(str(eui.value)), certificate)
            signers[file.stem] = Signer(known, key)
    except (OSError, ValueError) as e:
        raise UsageError(
            f"the keys in {folder} cannot be read: {e}", next_step="hanlab provision --force"
        ) from None
    if not {DSP_NAME, S1SP_NAME} <= set(signers):
        raise UsageError(f"{folder} has no keys of DSP and S1SP", next_step="hanlab provision")
    return Pki(folder, signers)
