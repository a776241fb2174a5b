"""Image files on the laptop's disk."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from hanlab.errors import UsageError
from hanlab.files import write_whole
from hanlab.images.doubts import image_to_push
from hanlab.images.errors import ImageError
from hanlab.images.ota import DUIS_IMAGE_LIMIT, MAKE_ONE, OtaImage, check_size


def read_image(path: str | os.PathLike[str]) -> OtaImage:
    """The image in `path` for a command that pushes it: one whole OTA image and nothing else.

    Raises ImageError, with the numbers and the next step, for a file that cannot be read, is
    empty, longer than DUIS takes, no OTA image, cut short, has octets before or after the image,
    whose header contradicts itself, or whose sub-elements are damaged (`hanlab.images.doubts`).
    """
    data = read_octets(path, DUIS_IMAGE_LIMIT)
    try:
        return image_to_push(data, name=shlex.quote(os.fspath(path)))
    except ImageError as error:
        raise ImageError(f"{path}: {error.what}", next_step=error.next_step) from None


def read_octets(path: str | os.PathLike[str], limit: int) -> bytes:
    """The octets of an ordinary file of at most `limit` octets, else ImageError."""
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{path} is a directory", next_step="name the image file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(
                f"{path} is no ordinary file", next_step="save the image to a file first"
            )
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise ImageError(
            f"there is no file {path}",
            next_step=f"check its name; {MAKE_ONE}",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(
            f"{path} cannot be read: {reason}", next_step="check its name and permissions"
        ) from None
    if len(data) > limit:
        size = max(status.st_size, len(data))
        if limit == DUIS_IMAGE_LIMIT:
            check_size(size, str(path))
        raise ImageError(
            f"{path} has {size:,} octets; {limit:,} are read at most",
            next_step=f"an image has {DUIS_IMAGE_LIMIT:,} at most: cut it out first",
        )
    return data


def write_octets(path: str | os.PathLike[str], data: bytes, *, force: bool = False) -> None:
    """Write `data` to a new file, all or nothing; UsageError if it cannot be.

    A file that is there already is replaced only with `force`.
    """
    try:
        target = Path(path).resolve()
        if target.is_dir():
            raise UsageError(f"{path} is a directory", next_step="name a file in it")
        if target.exists() and not target.is_file():
            raise UsageError(f"{path} is no ordinary file", next_step="give another name")
        if target.exists() and not force:
            raise UsageError(
                f"{path} is there already, {target.stat().st_size:,} octets",
                next_step="give another name, or --force to replace it",
            )
        write_whole(target, data, lasting=False)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path} cannot be written: {reason}",
            next_step="check that its directory is there and may be written to",
        ) from None
