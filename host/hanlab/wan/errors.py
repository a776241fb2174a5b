"""What can go wrong between the host and the board at the other end of a WAN link."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from smp.error import MGMT_ERR
from smp.image_management import IMG_MGMT_ERR

from hanlab.errors import HanlabError
from hanlab.wan.messages import GROUP, HanError

_CODES: Final[dict[int, type[IntEnum]]] = {1: IMG_MGMT_ERR, GROUP: HanError}


class WanError(HanlabError):
    """The WAN link, or the board at its end, failed."""


class NoAnswer(WanError):
    """The board stopped answering."""


class AccessDenied(WanError):
    """The board lets this client change nothing: it has no key, or another one."""


class FalseBoard(WanError):
    """The board at the other end does not know its own key, so it is another one."""


class Refused(WanError):
    """The board answered with an SMP error: `group` and `rc` as SMP defines them."""

    def __init__(self, group: int, rc: int) -> None:
        self.group = group
        self.rc = rc
        names = {code.value: code.name for code in _CODES.get(group, MGMT_ERR)}
        self.name = names.get(rc, "unknown code")
        super().__init__(f"the board answered {self.name} (SMP group {group}, rc {rc})")

    @property
    def denied(self) -> bool:
        """It wants a login first."""
        return self.group == 0 and self.rc == MGMT_ERR.EACCESSDENIED

    @property
    def busy(self) -> bool:
        """Somebody else is at it."""
        return self.group == 0 and self.rc == MGMT_ERR.EBUSY
