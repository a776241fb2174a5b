"""Hardware-in-the-loop tests: one pytest file for emulated boards, emulated chips and real ones.

pytest finds the fixtures by itself (`plugin.py`); here is what a test file may import. host/README.md has them all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hanlab.hil.boards import Board, CommsHub, Device
    from hanlab.hil.dsp import Dsp
    from hanlab.hil.lab import Home, Lab
    from hanlab.hil.sharing import hub_models, ppmid_models, shared_lab
    from hanlab.hil.wire import Wire

__all__ = [
    "Board",
    "CommsHub",
    "Device",
    "Dsp",
    "Home",
    "Lab",
    "Wire",
    "hub_models",
    "ppmid_models",
    "shared_lab",
]

_WHERE: Final = {
    "Board": "boards",
    "CommsHub": "boards",
    "Device": "boards",
    "Dsp": "dsp",
    "Home": "lab",
    "Lab": "lab",
    "Wire": "wire",
    "hub_models": "sharing",
    "ppmid_models": "sharing",
    "shared_lab": "sharing",
}

if not TYPE_CHECKING:  # a type checker knows the names from above, and no others

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
