"""How a firmware Service Request can end, in the words that users read."""

from __future__ import annotations

from enum import IntEnum, StrEnum, unique

from hanlab.errors import HanlabError


@unique
class Outcome(StrEnum):
    """One word for each end; a demo's expectation, and `outcome` in --json."""

    STORED = "stored"
    """11.1 on a one-step model: the CH holds the image (rule 96)."""
    DISTRIBUTED = "distributed"
    """11.1 on a two-step model: the device holds the image (rule 97)."""
    ACTIVATED = "activated"
    TOO_LARGE = "too-large"
    """Refused before the first octet: larger than what is free in the CH's store (rule 4)."""
    OVERFLOW = "overflow"
    """The CH's store was full in mid-transfer."""
    TRUNCATED = "truncated"
    """The CH kept only what fits; the hash over what it stored gave it away."""
    SILENT = "silent"
    """The CH stopped answering."""
    CORRUPT = "corrupt"
    """What the CH stored has another hash than what was sent."""
    METADATA = "metadata"
    """The image carries no metadata block, or another manufacturer's (rules 28 to 30)."""
    NOT_AN_IMAGE = "not-an-image"
    """The CH does not take this for an OTA file."""
    NO_DEVICE = "no-device"
    NO_IMAGE_HELD = "no-image-held"
    HASH_MISMATCH = "hash-mismatch"
    ACTIVATION_FAILURE = "activation-failure"
    DEVICE_REFUSED = "device-refused"
    """The device ended the transfer: its store is too small, or the image is not for it."""
    NO_ANSWER = "no-answer"
    """The device does not answer on the HAN."""
    NO_CONTACT = "no-contact"
    """The CH does not answer on the WAN, or does not let the S1SP in."""
    NOT_AUTHORISED = "not-authorised"
    """The CH refused 11.3: not both MACs, or an old counter (dual control)."""
    THIRD_PARTY = "third-party"
    """A third-party PPMID on a Secure installation (rules 22 to 27)."""
    BUSY = "busy"
    """An update is in progress on this HAN (rule 35)."""

    @property
    def filled_the_store(self) -> bool:
        """The CH's store was full with it, before the image was thrown away."""
        return self in (Outcome.OVERFLOW, Outcome.TRUNCATED, Outcome.SILENT)


@unique
class ActivateCode(IntEnum):
    """The response codes of 11.3 Activate Firmware (GBCS ActivateImageResponseCode)."""

    SUCCESS = 0
    NO_IMAGE_HELD = 1
    HASH_MISMATCH = 2
    ACTIVATION_FAILURE = 3

    @property
    def duis(self) -> str:
        """The name as DUIS writes it, e.g. `hashMismatch`."""
        first, *rest = self.name.lower().split("_")
        return first + "".join(word.title() for word in rest)


ACTIVATE_OUTCOME = {
    ActivateCode.SUCCESS: Outcome.ACTIVATED,
    ActivateCode.NO_IMAGE_HELD: Outcome.NO_IMAGE_HELD,
    ActivateCode.HASH_MISMATCH: Outcome.HASH_MISMATCH,
    ActivateCode.ACTIVATION_FAILURE: Outcome.ACTIVATION_FAILURE,
}


class ServiceRequestFailed(HanlabError):
    """A device or the CH refused; `outcome` says how, the text says why and with which numbers.

    `begun`: an 11.3 had gone to the CH, so that the device may have carried it out all the same.
    """

    code = ""
    """The DSP's response code, where the request went through the DSP."""

    def __init__(
        self, outcome: Outcome, what: str, *, next_step: str = "", begun: bool = False
    ) -> None:
        super().__init__(what, next_step=next_step)
        self.outcome = outcome
        self.begun = begun
