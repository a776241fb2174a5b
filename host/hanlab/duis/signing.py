"""XML signatures as DUIS has them: ECDSA P-256 with SHA-256, exclusive C14N, enveloped.

KeyInfo names the signer's certificate by issuer and serial number. The work is signxml's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from lxml import etree

from hanlab.duis.lexical import INTEGER, WHITE, base64_binary
from hanlab.duis.names import DS, SIGNATURE
from hanlab.duis.parsing import parse, plain, xml_parser
from hanlab.errors import HanlabError
from hanlab.eui import Eui

if TYPE_CHECKING:
    from signxml.signer import XMLSigner
    from signxml.verifier import XMLVerifier

_SPACES: Final = re.compile(r"(?<!\\)[ \t\r\n]*,[ \t\r\n]*")
"""Distinguished names are written with spaces after the commas or without."""


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

    def is_named(self, issuer: str, serial: str) -> bool:
        """Whether KeyInfo's X509IssuerSerial means it.

        Some write a name from its end, as RFC 4514 does, others from its beginning.
        """
        try:
            number = INTEGER.read(serial)
            name = x509.Name.from_rfc4514_string(_SPACES.sub(",", issuer))
        except ValueError:
            return False
        backwards = x509.Name(list(reversed(name.rdns)))
        return number == self.x509.serial_number and self.x509.issuer in (name, backwards)


@dataclass(frozen=True)
class Signer:
    """Somebody with a private key."""

    certificate: Certificate
    key: ec.EllipticCurvePrivateKey

    def sign(self, root: etree._Element) -> etree._Element:
        """A copy of `root` with a signature over the whole of it, as its last child."""
        from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod

        signer = _signer()(
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


@dataclass(frozen=True)
class Signed:
    """What a verifier gave back: who signed, and the octets (UTF-8) that the signature covers.

    Whoever goes by a signed message reads these octets and no others.
    """

    by: Certificate
    octets: bytes


def is_signed(octets: bytes) -> bool:
    """Whether a message's root has a signature, right or wrong."""
    return parse(octets).find(SIGNATURE) is not None


def verify(octets: bytes, known: Iterable[Certificate]) -> Signed:
    """Who signed a message, and what of it: always the whole of it, without the signature.

    The one reference has to be to the document (URI=""), by the algorithms that DUIS has. Dates of
    certificates are not looked at: a lab's time is not the calendar's, and published test
    certificates have run out.

    Raises:
        DuisError: it is no XML.
        SignatureError: nobody signed it who is known, or the signature is wrong.
    """
    from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
    from signxml.exceptions import InvalidInput, SignXMLException
    from signxml.verifier import SignatureConfiguration, VerifyResult

    root = parse(octets)
    signatures = root.findall(SIGNATURE)
    if len(signatures) != 1:
        raise SignatureError(
            f"the message has {len(signatures)} signatures" if signatures else "it is not signed",
            next_step="sign it once, with a key of this lab: hanlab provision makes test keys",
        )
    (signature,) = signatures
    _check_form(signature)
    certificate = _signer_of(signature, known)
    config = SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=frozenset({SignatureMethod.ECDSA_SHA256}),
        digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
        default_reference_c14n_method=CanonicalizationMethod.CANONICAL_XML_1_0,
        verification_time=certificate.x509.not_valid_before_utc,
    )
    try:
        result = _verifier()().verify(
            plain(octets),
            x509_cert=certificate.x509,
            expect_config=config,
            parser=xml_parser(everything=True),
        )
    except (SignXMLException, InvalidInput, ValueError, etree.Error) as e:
        raise SignatureError(
            f"the signature of {certificate.name} is wrong: {e}",
            next_step="sign the message as it is sent; nothing may change afterwards",
        ) from None
    assert isinstance(result, VerifyResult), "one reference, one result"
    return Signed(certificate, result.signed_data)


def _check_form(signature: etree._Element) -> None:
    """Refuse references and algorithms other than DUIS's, before anything is computed."""
    info = f"{{{DS}}}SignedInfo"
    references = signature.findall(f"{info}/{{{DS}}}Reference")
    uris = [reference.get("URI") for reference in references]
    if uris != [""]:
        shown = ", ".join("none" if uri is None else repr(uri[:40]) for uri in uris[:4]) or "none"
        raise SignatureError(
            f"the signature is over a part of the message only: it refers to {shown}",
            next_step='sign the whole of it: one Reference, with URI=""',
        )
    for path, allowed in _ALGORITHMS.items():
        found = [
            e.get("Algorithm", "") for e in signature.findall(path.replace("ds:", f"{{{DS}}}"))
        ]
        if tuple(found) not in allowed:
            raise SignatureError(
                f"{path.split(':')[-1]} of the signature is {', '.join(found) or 'missing'}",
                next_step=f"DUIS has {', '.join(allowed[0])}",
            )
    for path, length in _VALUES.items():
        _check_value(signature, path, length)


def _check_value(signature: etree._Element, path: str, length: int) -> None:
    """Refuse a value that is not `length` octets in base64."""
    name = path.split(":")[-1]
    texts = [e.text or "" for e in signature.findall(path.replace("ds:", f"{{{DS}}}"))]
    try:
        sizes = [len(base64_binary(text)) for text in texts]
    except ValueError as e:
        raise SignatureError(f"{name} of the signature {e}", next_step=_SIGN_AGAIN) from None
    if sizes != [length]:
        found = f"{sizes[0]} octets" if sizes else "missing"
        raise SignatureError(
            f"{name} of the signature is {found}; {length} are right", next_step=_SIGN_AGAIN
        )


_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ENVELOPED: Final = f"{DS}enveloped-signature"
_ALGORITHMS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "ds:SignedInfo/ds:CanonicalizationMethod": ((_EXCLUSIVE,),),
    "ds:SignedInfo/ds:SignatureMethod": (("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",),),
    "ds:SignedInfo/ds:Reference/ds:Transforms/ds:Transform": (
        (_ENVELOPED,),
        (_ENVELOPED, _EXCLUSIVE),
    ),
    "ds:SignedInfo/ds:Reference/ds:DigestMethod": (("http://www.w3.org/2001/04/xmlenc#sha256",),),
}
"""Path to algorithms; without a canonicalisation among the Transforms it is Canonical XML 1.0's."""
_SIGN_AGAIN: Final = (
    "sign it again: SignatureValue is ECDSA's r and s, 32 octets each and not DER, and DigestValue "
    "a SHA-256"
)
_VALUES: Final = {"ds:SignatureValue": 64, "ds:SignedInfo/ds:Reference/ds:DigestValue": 32}
"""Path to the octets of what stands there."""


def _signer_of(signature: etree._Element, known: Iterable[Certificate]) -> Certificate:
    """The certificate that KeyInfo names by issuer and serial number."""
    place = f"{{{DS}}}KeyInfo/{{{DS}}}X509Data/{{{DS}}}X509IssuerSerial/{{{DS}}}"
    issuer = (signature.findtext(f"{place}X509IssuerName") or "").strip(WHITE)
    serial = (signature.findtext(f"{place}X509SerialNumber") or "").strip(WHITE)
    for certificate in known:
        if certificate.is_named(issuer, serial):
            return certificate
    raise SignatureError(
        f"no certificate of this lab is {issuer[:80] or 'of no issuer'}, serial {serial[:80] or 'none'}",
        next_step="hanlab provision makes test keys, hanlab provision --import-pki takes others'; "
        "sign with one of them",
    )


@cache
def _signer() -> type[XMLSigner]:
    """signxml's signer, for images of 10,240,000 octets as well; made for the first signature."""
    from signxml.signer import XMLSigner

    class LargeSigner(XMLSigner):
        @property
        def parser(self) -> etree.XMLParser:
            return xml_parser(everything=True)

    return LargeSigner


@cache
def _verifier() -> type[XMLVerifier]:
    """signxml's verifier for whole documents; made when the first signature comes."""
    from signxml.verifier import XMLVerifier

    class DocumentVerifier(XMLVerifier):
        """URI="" is the document: processing instructions around its root are signed as well.

        signxml takes the root's element for it; here a root stands for its document.
        """

        def _tostring(self, xml_node: Any, **kwargs: Any) -> Any:
            return super()._tostring(_whole(xml_node), **kwargs)  # type: ignore[no-untyped-call]  # signxml has no type there

        def _c14n(self, nodes: Any, *args: Any, **kwargs: Any) -> Any:
            return super()._c14n(_whole(nodes), *args, **kwargs)

    return DocumentVerifier


def _whole(node: Any) -> Any:
    return node.getroottree() if node.getparent() is None else node
