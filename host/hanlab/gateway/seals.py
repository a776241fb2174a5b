"""How the gateway knows whose a request is, and how it signs: with the lab's test PKI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hanlab.duis.messages import Request
from hanlab.duis.pki import DSP_NAME, Pki
from hanlab.duis.reading import read_request
from hanlab.duis.signing import SignatureError, is_signed, verify


@dataclass(frozen=True)
class Seals:
    """`open` reads a Service Request whose originator is proved; `sign` signs what the DSP says.

    `open` raises SignatureError or DuisError.
    """

    open: Callable[[bytes], Request]
    sign: Callable[[bytes], bytes]


def seals_of(pki: Pki, *, unsigned: bool = False) -> Seals:
    """The DSP signs every response; a request is signed by its originator.

    `unsigned`: one without a signature passes too, and then anybody can send it.
    """
    known = pki.certificates

    def open_request(octets: bytes) -> Request:
        if unsigned and not is_signed(octets):
            return read_request(octets)
        signed = verify(octets, known)
        request = read_request(signed.octets)
        if signed.by.eui != request.id.originator:
            raise SignatureError(
                f"{signed.by.name} ({signed.by.eui}) signed a request of {request.id.originator}",
                next_step="sign it with the originator's key",
            )
        return request

    return Seals(open_request, pki.signers[DSP_NAME].sign_octets)
