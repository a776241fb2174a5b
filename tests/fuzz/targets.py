"""What is fuzzed: one function a parser. Any octets are right; an exception that gets out is a bug."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from smpclient.requests.image_management import ImageStatesRead, ImageUploadWrite
from smpclient.requests.os_management import MCUMgrParametersRead, MemoryPoolStatisticsRead

from hanlab.boards import data as board_data
from hanlab.boards.data import Board, DeviceModel, load_board, load_model
from hanlab.dsp.cpl import read_cpl
from hanlab.dsp.smi import read_inventory
from hanlab.duis.foreign_pki import import_pki
from hanlab.duis.parsing import DuisError
from hanlab.duis.reading import read_request, read_response
from hanlab.duis.signing import Certificate, SignatureError, verify
from hanlab.duis.writing import write_request
from hanlab.errors import HanlabError, UsageError
from hanlab.images import ImageError, OtaImage, inspect
from hanlab.lab.config import DEFAULT, LabConfig, make_lab, read_lab
from hanlab.toml import parse_toml
from hanlab.wan import messages
from hanlab.wan.answers import offset, parsed
from hanlab.wan.framing import FRAMINGS

# the boards' own files are read again and again
patch.object(board_data, "parse_toml", lru_cache(maxsize=64)(parse_toml)).start()

_FOLDER: Final = Path(tempfile.mkdtemp(prefix="hanlab-fuzz-"))
_LAB: Final = make_lab("fuzz", DEFAULT)
_KEYS: Final = Path(__file__).parents[1] / "host" / "dcc_style" / "keys"
_CERTIFICATES: Final = [Certificate(i.file.stem, i.eui, i.x509) for i in import_pki(_KEYS)]


def images(octets: bytes) -> None:
    """`hanlab image inspect` explains every octet, and agrees with what a push would say."""
    flag, data = octets[:1], octets[1:]
    found = inspect(data, trailer={b"\0": False, b"\1": True}.get(flag))
    at = 0
    for region in found.regions:
        assert region.offset == at
        assert region.size > 0
        at += region.size
    assert at == len(data)
    found.as_dict()
    try:
        image = OtaImage.from_bytes(data)
    except ImageError:
        assert found.push_problem is not None
    else:
        assert found.push_problem is None
        assert image.to_bytes() == data


def duis(octets: bytes) -> None:
    """A message is refused, or read; and what was read and can be written is read again."""
    with suppress(DuisError):
        read_response(octets)
    with suppress(DuisError, SignatureError):
        verify(octets, _CERTIFICATES)
    with suppress(DuisError):
        request = read_request(octets)
        with suppress(UsageError):  # bodies that hanlab does not write
            written = write_request(request)
            if getattr(request.body, "execution", None) is None:  # dates lose their microseconds
                assert read_request(written) == request


def lists(octets: bytes) -> None:
    """A CPL or an inventory from a file: CSV or TOML by the first octet."""
    file = _FOLDER / ("list.csv" if octets[:1] < b"\x80" else "list.toml")
    file.write_bytes(octets[1:])
    for read in (read_cpl, read_inventory):
        with suppress(UsageError):
            read(file)


def console(octets: bytes) -> None:
    """The console framing of SMP."""
    _framing("console", octets)


def cobs(octets: bytes) -> None:
    """The COBS framing of SMP."""
    _framing("cobs", octets)


def _framing(name: str, octets: bytes) -> None:
    """However it is cut, the same messages come out; and a message sent after a line end and a 00 does."""
    cut = octets[0] if octets else 0
    pieces = [octets[:cut], octets[cut:]]
    whole, parts = FRAMINGS[name](), FRAMINGS[name]()
    assert _read(whole, [octets]) == _read(parts, pieces)
    message = b"\x08\x00\x00\x00\x00\x00\x00\x06"
    _read(whole, [b"\n\0"])
    assert _read(whole, list(whole.encode(message))) == [message]


def _read(framing: Any, pieces: list[bytes]) -> list[bytes]:
    messages_read = []
    for piece in pieces:
        framing.feed(piece)
        while (message := framing.take()) is not None:
            messages_read.append(bytes(message))
    return messages_read


_REQUESTS: Final[tuple[Any, ...]] = (
    ImageUploadWrite(off=0, data=b"x", sequence=1),
    ImageStatesRead(sequence=1),
    MCUMgrParametersRead(sequence=1),
    MemoryPoolStatisticsRead(sequence=1),
    messages.StoreRead(sequence=1),
    messages.DevicesRead(sequence=1),
    messages.ProgressRead(sequence=1),
    messages.VersionRead(eui=bytes(8), sequence=1),
    messages.EventsRead(since=0, sequence=1),
    messages.Distribute(eui=bytes(8), hash=bytes(32), sequence=1),
)


def answers(octets: bytes) -> None:
    """What a board answers: the request's own kind of answer, or a HanlabError on one line."""
    if not octets:
        return
    request = _REQUESTS[octets[0] % len(_REQUESTS)]
    answer = octets[1:]
    if octets[0] >= 0x80:  # with the header that belongs to it
        own = request.BYTES[:8]
        answer = bytes([own[0] | 1, 0, *len(answer).to_bytes(2), *own[4:8]]) + answer
    for read in (
        lambda: parsed(request, answer),
        lambda: offset(answer, 1000),
    ):
        try:
            read()
        except HanlabError as e:
            if "\n" in str(e):
                raise


def lab(octets: bytes) -> None:
    """lab.toml."""
    file = _FOLDER / "lab.toml"
    file.write_bytes(octets)
    with suppress(UsageError):
        assert isinstance(read_lab(file), LabConfig)


def impair(octets: bytes) -> None:
    """--impair"""
    with suppress(UsageError):
        assert isinstance(_LAB.impaired(octets.decode("utf-8", "replace")), LabConfig)


def boards(octets: bytes) -> None:
    """Board files and Device Models."""
    folder = _FOLDER / "boards"
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "x.toml").write_bytes(octets)
    (folder / "models" / "x.toml").write_bytes(octets)
    with patch.object(board_data, "boards_dir", lambda: folder):
        with suppress(UsageError):
            assert isinstance(load_board("x"), Board)
        with suppress(UsageError):
            assert isinstance(load_model("x"), DeviceModel)


_PARSERS: Final = (images, console, cobs, answers, lab, impair, boards, duis, lists)
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {t.__name__: t for t in _PARSERS}
