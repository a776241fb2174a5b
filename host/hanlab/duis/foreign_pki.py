"""Keys and certificates that others made, such as the test ones that come with DCC Boxed's tools.

Smart DCC's certificates (SMKI) have the holder's EUI-64 as x500UniqueIdentifier, a BIT STRING, and its
role as OU; the issuer is called e.g. `CN=Z1,OU=07`. Their keys are PKCS #8, often as DER.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hanlab.errors import UsageError
from hanlab.eui import Eui

_BITS: Final = b"\x03\x09\x00"
"""How a BIT STRING of 64 bits begins in DER."""
_XML_SIGN: Final = ("87", "135", "89", "137")
"""OU of certificates that sign XML, in hexadecimal and in decimal: a user's, and the DSP's."""
_MOST_FILES: Final = 1000
_MOST_OCTETS: Final = 64 * 1024


@dataclass(frozen=True)
class Imported:
    """A certificate with its private key. `file` is where the certificate was."""

    file: Path
    eui: Eui
    x509: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def eui_of(certificate: x509.Certificate) -> Eui:
    """Whose certificate it is: by its x500UniqueIdentifier, or by its serialNumber as hanlab writes it.

    Raises:
        ValueError: it does not say.
    """
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.X500_UNIQUE_IDENTIFIER):
        value = attribute.value
        octets = value if isinstance(value, bytes) else value.encode("latin-1")
        if len(octets) == len(_BITS) + 8 and octets.startswith(_BITS):
            octets = octets[len(_BITS) :]
        octets = octets.removeprefix(b"\0") if len(octets) == 9 else octets
        if len(octets) == 8:
            return Eui(octets)
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER):
        return Eui.parse(str(attribute.value))
    raise ValueError(f"{certificate.subject.rfc4514_string() or 'a subject'} has no EUI-64")


def load_key(octets: bytes) -> ec.EllipticCurvePrivateKey | None:
    """An EC P-256 private key in PEM or DER, without a passphrase; None if it is none."""
    for load in (serialization.load_pem_private_key, serialization.load_der_private_key):
        try:
            key = load(octets, None)
        except (ValueError, TypeError):
            continue
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return key
    return None


def import_pki(folder: Path) -> list[Imported]:
    """Every certificate in a folder (PEM or DER) whose private key is there too, whatever they are called.

    The best for signing XML comes first: those whose role says so, then those that hold longest.

    Raises:
        UsageError: the folder cannot be read, or there is no such pair in it.
    """
    certificates: list[tuple[Path, x509.Certificate]] = []
    keys: dict[bytes, ec.EllipticCurvePrivateKey] = {}
    try:
        files = sorted(file for file in folder.iterdir() if file.is_file())[:_MOST_FILES]
        for file in files:
            if file.stat().st_size > _MOST_OCTETS:
                continue
            octets = file.read_bytes()
            if key := load_key(octets):
                keys[_point(key.public_key())] = key
            elif certificate := _load_certificate(octets):
                certificates.append((file, certificate))
    except OSError as e:
        raise UsageError(
            f"{folder} cannot be read: {e.strerror}",
            next_step="give the folder that the keys are in",
        ) from None
    found: list[Imported] = []
    for file, certificate in certificates:
        public = certificate.public_key()
        key_ = keys.get(_point(public)) if isinstance(public, ec.EllipticCurvePublicKey) else None
        try:
            eui = eui_of(certificate)
        except (ValueError, UsageError):
            continue
        twice = any(one.x509 == certificate for one in found)
        if key_ and _can_sign(certificate) and not twice:
            found.append(Imported(file, eui, certificate, key_))
    if not found:
        raise UsageError(
            f"{folder} has no certificate with an EUI-64 whose EC P-256 private key is there too: of "
            f"{len(files):,} files {len(certificates):,} are certificates and {len(keys):,} such keys",
            next_step="give the folder that has both, as PEM or DER; nothing was changed",
        )
    return sorted(found, key=_merit)


def _merit(one: Imported) -> tuple[bool, float, int, str]:
    units = one.x509.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    signs_xml = any(unit.value in _XML_SIGN for unit in units)
    return (
        not signs_xml,
        -one.x509.not_valid_after_utc.timestamp(),
        len(one.file.name),
        one.file.name,
    )


def _can_sign(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.digital_signature


def _load_certificate(octets: bytes) -> x509.Certificate | None:
    for load in (x509.load_pem_x509_certificate, x509.load_der_x509_certificate):
        try:
            certificate = load(octets)
            certificate.subject  # noqa: B018 - read now what is wrong in it
        except ValueError:
            continue
        return certificate
    return None


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
