"""How often something was switched on: what makes an emulated lab's nonces new each time, and still its seed's.

The count lies beside the flash, not in it: a chip's entropy does not come back with a flash image that is
put back.
"""

from __future__ import annotations

import logging
import re
import secrets
from pathlib import Path
from typing import Final

from hanlab.files import write_whole

KIND: Final = ".power_ups"
_COUNT: Final = re.compile(r"[0-9]{1,18}\n", re.ASCII)
_LOG: Final = logging.getLogger(__name__)


class Starts:
    """Of a board or the host. One that `is_new` may have no count in `folder` yet, and gets it at once: it
    may be long until its first start.

    Raises:
        OSError: the count cannot be kept.
    """

    def __init__(self, folder: Path, name: str, *, is_new: bool) -> None:
        self._file = folder / f"{name}{KIND}"
        if is_new and not self._file.exists():
            write_whole(self._file, b"0\n", lasting=False)

    def next(self) -> int:
        """A number that it has not had before.

        If the count is lost, it begins anew in a place that nobody knows, and that is logged.

        Raises:
            OSError: the count cannot be kept.
        """
        count = self._read()
        if count is None:
            count = secrets.randbits(48)
            _LOG.warning(
                "%s is damaged or gone: it counts starts, so that no login challenge comes twice. They come from "
                "this computer's own chance from now on, and runs are no longer the seed's",
                self._file,
            )
        write_whole(self._file, f"{count + 1}\n".encode())
        return count

    def _read(self) -> int | None:
        try:
            text = self._file.read_text("ascii")
        except (OSError, ValueError):
            return None
        return int(text) if _COUNT.fullmatch(text) else None
