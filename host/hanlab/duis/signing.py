"""XML signatures as DUIS has them: ECDSA P-256 with SHA-256, exclusive C14N, enveloped.

KeyInfo names the signer's certificate by issuer and serial number. Signing builds the one form that
DUIS has; checking is signxml's, which knows the attacks.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from hanlab.duis.names import DS, SIGNATURE
from hanlab.duis.parsing import parse
from hanlab.errors import HanlabError
from hanlab.eui import Eui

_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ECDSA: Final = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
_ENVELOPED: Final = f"{DS}enveloped-signature"
_SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
_HALF: Final = 32
"""Octets of r and of s."""


class SignatureError(HanlabError):
    """A signature is wrong, or nobody knows who made it."""

    exit_code = 1


@dataclass(frozen=True)
class Certificate:
    """A signer's certificate; `eui` is who it is for."""

    name: str
    eui: Eui
    x509: x509.Certificate

    @property
    def issuer_serial(self) -> tuple[str, str]:
        """As KeyInfo writes it."""
        return self.x509.issuer.rfc4514_string(), str(self.x509.serial_number)


@dataclass(frozen=True)
class Signer:
    """Somebody with a private key."""

    certificate: Certificate
    key: ec.EllipticCurvePrivateKey

    def sign(self, root: etree._Element) -> None:
        """Put a signature over the whole of `root` into it, as its last child."""
        digest = hashlib.sha256(_canonical(root)).digest()
        signature = etree.SubElement(root, SIGNATURE, nsmap={"ds": DS})
        info = _under(signature, "SignedInfo")
        _under(info, "CanonicalizationMethod", _C14N)
        _under(info, "SignatureMethod", _ECDSA)
        reference = _under(info, "Reference")
        reference.set("URI", "")
        _under(_under(reference, "Transforms"), "Transform", _ENVELOPED)
        transforms = reference[0]
        _under(transforms, "Transform", _C14N)
        _under(reference, "DigestMethod", _SHA256)
        _under(reference, "DigestValue").text = base64.b64encode(digest).decode()
        made = self.key.sign(_canonical(info), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(made)
        value = r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")
        _under(signature, "SignatureValue").text = base64.b64encode(value).decode()
        issuer, serial = self.certificate.issuer_serial
        named = _under(_under(_under(signature, "KeyInfo"), "X509Data"), "X509IssuerSerial")
        _under(named, "X509IssuerName").text = issuer
        _under(named, "X509SerialNumber").text = serial

    def sign_octets(self, xml: bytes) -> bytes:
        """`xml` with a signature over all of it."""
        root = parse(xml)
        self.sign(root)
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def is_signed(octets: bytes) -> bool:
    """Whether a message's root has a signature, right or wrong."""
    return b"Signature" in octets and parse(octets).find(SIGNATURE) is not None


def check(octets: bytes, known: Iterable[Certificate]) -> Certificate:
    """Who signed a whole message.

    Raises:
        SignatureError: nobody who is known, or the signature is wrong.
    """
    from signxml.exceptions import InvalidInput, SignXMLException
    from signxml.verifier import SignatureConfiguration, XMLVerifier

    root = parse(octets)
    signature = root.find(SIGNATURE)
    if signature is None or signature.getparent() is not root:
        raise SignatureError(
            "the message is not signed", next_step="sign it with a key of this lab"
        )
    issuer = signature.findtext(f".//{{{DS}}}X509IssuerName", "")
    serial = signature.findtext(f".//{{{DS}}}X509SerialNumber", "")
    for certificate in known:
        if (_plain(certificate.issuer_serial[0]), certificate.issuer_serial[1]) == (
            _plain(issuer),
            serial.strip(),
        ):
            break
    else:
        raise SignatureError(
            f"no certificate of this lab is {issuer or 'of no issuer'}, serial {serial or 'none'}",
            next_step="hanlab provision makes test keys; sign with one of them",
        )
    config = SignatureConfiguration(location="./", expect_references=1)
    try:
        verified = XMLVerifier().verify(root, x509_cert=certificate.x509, expect_config=config)
        signed = verified.signed_xml if not isinstance(verified, list) else None
    except (SignXMLException, InvalidInput, ValueError, etree.Error) as e:
        raise SignatureError(
            f"the signature of {certificate.name} is wrong: {e}",
            next_step="sign the message as it is sent; nothing may change afterwards",
        ) from None
    if signed is None or signed.tag != root.tag:
        raise SignatureError(
            "the signature is over a part of the message only", next_step="sign the whole of it"
        )
    return certificate


def _plain(name: str) -> str:
    """Distinguished names are written with spaces after the commas or without."""
    return name.replace(", ", ",").strip()


def _canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=False)


def _under(parent: etree._Element, name: str, algorithm: str = "") -> etree._Element:
    element = etree.SubElement(parent, f"{{{DS}}}{name}")
    if algorithm:
        element.set("Algorithm", algorithm)
    return element
