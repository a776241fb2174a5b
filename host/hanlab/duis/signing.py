"""XML signatures as DUIS has them: ECDSA P-256 with SHA-256, exclusive C14N, enveloped.

KeyInfo names the signer's certificate by issuer and serial number. The work is signxml's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from lxml import etree

from hanlab.duis.names import DS, SIGNATURE
from hanlab.duis.parsing import parse
from hanlab.errors import HanlabError
from hanlab.eui import Eui


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

    def sign(self, root: etree._Element) -> etree._Element:
        """A copy of `root` with a signature over the whole of it, as its last child."""
        from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
        from signxml.signer import XMLSigner

        signer = XMLSigner(
            signature_algorithm=SignatureMethod.ECDSA_SHA256,
            digest_algorithm=DigestAlgorithm.SHA256,
            c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
        )
        certificate = [self.certificate.x509]
        return signer.sign(root, key=self.key, cert=certificate, key_info=self._key_info())

    def _key_info(self) -> etree._Element:
        issuer, serial = self.certificate.issuer_serial
        info = etree.Element(f"{{{DS}}}KeyInfo", nsmap={"ds": DS})
        data = etree.SubElement(info, f"{{{DS}}}X509Data")
        named = etree.SubElement(data, f"{{{DS}}}X509IssuerSerial")
        etree.SubElement(named, f"{{{DS}}}X509IssuerName").text = issuer
        etree.SubElement(named, f"{{{DS}}}X509SerialNumber").text = serial
        return info

    def sign_octets(self, xml: bytes) -> bytes:
        """`xml` with a signature over all of it."""
        return etree.tostring(self.sign(parse(xml)), xml_declaration=True, encoding="UTF-8")


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
