"""Where firmware and board files are: in the checkout, else in the installed package."""

from __future__ import annotations

from pathlib import Path

from hanlab.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """The checkout that this hanlab runs from; None: it is installed from a wheel."""
    root = _PACKAGE.parent.parent
    return root if (root / "firmware").is_dir() and (root / "boards").is_dir() else None


def boards_dir() -> Path:
    """The folder of board files (`*.toml`), Device Models (`models/`) and ports (`ports/`)."""
    return _resource("boards")


def firmware_dir() -> Path:
    """The folder of what runs on a board: the boards import `smets1` from here."""
    return _resource("firmware")


def samples_dir() -> Path:
    """The folder of what `hanlab init` writes: a lab.toml, Service Requests as DUIS."""
    return _PACKAGE / "samples"


def _resource(name: str) -> Path:
    folder = (checkout() or _PACKAGE / "bundled") / name
    if not folder.is_dir():
        raise UsageError(
            f"hanlab's {name} are missing: there is no folder {folder}",
            next_step="install hanlab again, or run it from a checkout",
        )
    return folder
