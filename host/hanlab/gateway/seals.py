"""How the gateway checks and signs messages: with the lab's test PKI."""

from __future__ import annotations

from hanlab.duis.pki import DSP_NAME, Pki
from hanlab.duis.reading import read_request
from hanlab.duis.signing import SignatureError, check, is_signed
from hanlab.gateway.app import Seals


def seals_of(pki: Pki) -> Seals:
    """The DSP signs every response; a request may be signed, and then by its originator."""
    known = pki.certificates

    def check_request(octets: bytes) -> None:
        if not is_signed(octets):
            return
        signer = check(octets, known)
        originator = read_request(octets).id.originator
        if signer.eui != originator:
            raise SignatureError(
                f"{signer.name} ({signer.eui}) signed a request of {originator}",
                next_step="sign it with the originator's key",
            )

    return Seals(check_request, pki.signers[DSP_NAME].sign_octets)
