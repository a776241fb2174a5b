"""A capture of the HAN that Wireshark opens: classic pcap, microseconds of bench time."""

from __future__ import annotations

import shlex
import struct
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Final, Self

from hanlab.files import write_whole

LINKTYPE_IEEE802_15_4_WITHFCS: Final = 195


class PcapWriter:
    """Writes frames as they come, so that a capture is whole up to the moment of a crash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO = path.open("wb", buffering=0)
        self.frames = 0
        self._write(
            struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, LINKTYPE_IEEE802_15_4_WITHFCS)
        )

    def __call__(self, when_us: int, psdu: bytes) -> None:
        seconds, micros = divmod(when_us, 1_000_000)
        self._write(struct.pack("<IIII", seconds, micros, len(psdu), len(psdu)) + psdu)
        self.frames += 1

    def _write(self, octets: bytes) -> None:
        try:
            self._file.write(octets)
        except OSError as e:  # which says no name
            raise OSError(e.errno, e.strerror, str(self._path)) from None

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def wireshark_folder(pcap: Path) -> Path:
    """The folder beside a capture that makes Wireshark read it: `WIRESHARK_CONFIG_DIR=` takes it."""
    return pcap.with_name(f"{pcap.name}.wireshark")


def how_to_open(pcap: Path) -> str:
    """The command that opens a capture, decrypted."""
    folder, file = shlex.quote(str(wireshark_folder(pcap))), shlex.quote(str(pcap))
    return f"open the HAN capture with: WIRESHARK_CONFIG_DIR={folder} wireshark {file}"


def write_keys(pcap: Path, keys: Mapping[str, bytes]) -> None:
    """Put these keys, by their names, beside the capture, for Wireshark and for nobody else (mode 0600)."""
    folder = wireshark_folder(pcap)
    folder.mkdir(mode=0o700, exist_ok=True)
    text = "".join(f'"{key.hex(":")}","Normal","hanlab {name}"\n' for name, key in keys.items())
    write_whole(folder / "zigbee_pc_keys", text.encode(), mode=0o600, lasting=False)
