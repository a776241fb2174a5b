"""A lab: homes on a desk, their boards, and the Service Requests that reach them. `Lab` is the one façade.

What a lab is made of can be read without its boards, and lists that do so start fast: the façade and what
it stands on are imported when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hanlab.lab.answers import Answer
    from hanlab.lab.facade import Lab
    from hanlab.lab.home import Device, Home
    from hanlab.s1sp.outcome import Outcome
    from hanlab.s1sp.progress import Progress

__all__ = ["Answer", "Device", "Home", "Lab", "Outcome", "Progress"]

_WHERE: Final = {
    "Answer": "hanlab.lab.answers",
    "Device": "hanlab.lab.home",
    "Home": "hanlab.lab.home",
    "Lab": "hanlab.lab.facade",
    "Outcome": "hanlab.s1sp.outcome",
    "Progress": "hanlab.s1sp.progress",
}

if not TYPE_CHECKING:  # a type checker knows the names from above, and no others

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_WHERE[name]), name)
