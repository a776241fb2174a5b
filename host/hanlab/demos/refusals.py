"""Images and hashes that do not belong to the device or its CH."""

from __future__ import annotations

from typing import Final

from hanlab.demos.parts import (
    ELSTER,
    FACTORY,
    FOR_ELSTER,
    OTHER,
    UPDATE,
    Activate,
    Demo,
    ImageSpec,
    Push,
    Scene,
    Version,
)
from hanlab.s1sp.outcome import Outcome

REFUSALS: Final[tuple[Demo, ...]] = (
    Demo(
        "hash-mismatch",
        "11.3 with the hash of another image",
        "the device compares the command's hash with that of the image it holds",
        (
            Scene(
                (
                    Push(UPDATE, Outcome.DISTRIBUTED),
                    Activate(OTHER, Outcome.HASH_MISMATCH),
                    Version(FACTORY),
                ),
            ),
        ),
        tour=True,
    ),
    Demo(
        "no-image",
        "11.3 before 11.1",
        "there is nothing to activate: noImageHeld",
        (Scene((Activate(UPDATE, Outcome.NO_IMAGE_HELD), Version(FACTORY))),),
    ),
    Demo(
        "metadata-lock",
        "The same firmware on another manufacturer's CH",
        "the hash covers the CH manufacturer's metadata, so one image fits one make (rules 28 to 30)",
        (
            Scene((Push(UPDATE, Outcome.DISTRIBUTED),), about="made for Secure, on a Secure CH"),
            Scene((Push(FOR_ELSTER, Outcome.METADATA),), about="made for Elster, on a Secure CH"),
            Scene(
                (Push(UPDATE, Outcome.METADATA),),
                hub=ELSTER,
                about="made for Secure, on an Elster CH",
            ),
            Scene(
                (Push(ImageSpec(for_ch=None), Outcome.METADATA),),
                about="made for no CH in particular",
            ),
        ),
        tour=True,
    ),
    Demo(
        "wrong-hardware",
        "An image for other hardware",
        "the OTA header names the hardware versions it is for; the CH offers it to no other device",
        (
            Scene(
                (
                    Push(ImageSpec(hardware=(0x7000, 0x7FFF)), Outcome.DEVICE_REFUSED),
                    Version(FACTORY),
                ),
            ),
        ),
    ),
    Demo(
        "size-lie",
        "The header tells another size",
        "a header that claims less than there is gets nowhere: the CH compares it with the upload",
        (
            Scene(
                (Push(ImageSpec(claims=60_000), Outcome.NOT_AN_IMAGE), Version(FACTORY)),
                hub={"size_behaviour": "overflow"},
            ),
        ),
    ),
)
