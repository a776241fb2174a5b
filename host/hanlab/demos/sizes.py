"""Images too large for a store (rules 1 to 6, 147)."""

from __future__ import annotations

from typing import Final

from hanlab.demos.parts import (
    ELSTER,
    FACTORY,
    HEADER,
    KIB,
    METADATA,
    SMALL,
    UPDATE,
    Demo,
    ImageSpec,
    Push,
    Scene,
    Version,
)
from hanlab.s1sp.outcome import Outcome


def _too_small(behaviour: str, expect: Outcome) -> tuple[Scene, ...]:
    return (
        Scene(
            (Push(UPDATE, expect), Version(FACTORY)),
            hub={"store": SMALL, "size_behaviour": behaviour},
            about=f"a CH with room for {SMALL:,} octets",
        ),
    )


SIZES: Final[tuple[Demo, ...]] = (
    Demo(
        "size-refuse",
        "Too large: the CH refuses at once",
        "the CH compares the size with its free room before the first octet (rules 2 to 4)",
        _too_small("refuse", Outcome.TOO_LARGE),
        tour=True,
    ),
    Demo(
        "size-overflow",
        "Too large: the CH fails in mid-transfer",
        "the CH does not look at the size; its store is full before the image is complete",
        _too_small("overflow", Outcome.OVERFLOW),
        tour=True,
    ),
    Demo(
        "size-truncate",
        "Too large: the CH keeps what fits",
        "every octet is taken, the rest is thrown away; only the hash finds out",
        _too_small("truncate", Outcome.TRUNCATED),
        tour=True,
    ),
    Demo(
        "size-silent",
        "Too large: the CH stops answering",
        "the worst kind: no error at all, only a time-out",
        _too_small("silent", Outcome.SILENT),
        tour=True,
    ),
    Demo(
        "size-limit",
        "Exactly at the limit",
        "an image of exactly the store's size fits, one octet more does not (rule 5)",
        (
            Scene(
                (Push(ImageSpec(body=64 * KIB - METADATA - HEADER), Outcome.DISTRIBUTED),),
                hub={"store": 64 * KIB},
                about="an image as large as the store",
            ),
            Scene(
                (Push(ImageSpec(body=64 * KIB - METADATA - HEADER + 1), Outcome.TOO_LARGE),),
                hub={"store": 64 * KIB},
                about="one octet larger",
            ),
        ),
    ),
    Demo(
        "size-two-hubs",
        "The same image, two CH models",
        "the limit is the CH's: the same PPMID and image fit one CH and not another (rules 3 and 11)",
        (
            Scene((Push(ImageSpec(body=224 * KIB), Outcome.DISTRIBUTED),), about="Skyline i-510"),
            Scene(
                (Push(ImageSpec(body=224 * KIB, for_ch="Elster"), Outcome.TOO_LARGE),),
                hub=ELSTER,
                about="AM110R",
            ),
        ),
    ),
    Demo(
        "size-ppmid",
        "It fits the CH, but not the PPMID",
        "the device refuses at the query, before the first block",
        (
            Scene(
                (Push(UPDATE, Outcome.DEVICE_REFUSED), Version(FACTORY)),
                device={"store": SMALL},
                about=f"a PPMID with room for {SMALL:,} octets",
            ),
        ),
    ),
)
