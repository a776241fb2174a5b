"""S1SR Annex C: default values that the S1SP appends where a command needs what DUIS does not carry.

Rule 38 says that there is such a table; what is in it is not public. These are hanlab's own choices, so
all of them are illustrative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Defaults:
    """`query_jitter`: of the OTA Image Notify, 1 to 100; 100 has every device answer."""

    query_jitter: int


ANNEX_C: Final = {
    "Secure": Defaults(query_jitter=100),
    "Elster Honeywell": Defaults(query_jitter=100),
}
"""By the population that a CH belongs to."""
ANY: Final = Defaults(query_jitter=100)
"""Of a population that the table does not have: a Device Model of the user's own."""


def defaults(population: str) -> Defaults:
    return ANNEX_C.get(population, ANY)
