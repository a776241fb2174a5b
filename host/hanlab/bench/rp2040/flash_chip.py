"""The flash behind the RP2040's SSI: W25Q16JV commands of the boot ROM, and the time that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rp2040py.peripherals.ssi import (
    CMD_BLOCK_ERASE,
    CMD_PAGE_PROGRAM,
    CMD_SECTOR_ERASE,
    FLASH_BLOCK_SIZE,
    FLASH_PAGE_SIZE,
    FLASH_SECTOR_SIZE,
    RPSSI,
)
from rp2040py.rp2040 import RP2040

_READ_UNIQUE_ID: Final = 0x4B
_ID_AT: Final = 5
"""Octets of that command before the id: itself and four dummies."""


class FlashChip(RPSSI):
    """`erase(address, octets)` and `program(address, octets)` do what the commands say.

    `rp2040py`'s own does it in no time; these two have the chip wait.
    """

    _tx_buffer: bytearray
    _write_enabled: bool

    def __init__(
        self,
        rp2040: RP2040,
        unique_id: bytes,
        erase: Callable[[int, int], None],
        program: Callable[[int, bytes], None],
    ) -> None:
        super().__init__(rp2040, "SSI")
        self._id = unique_id
        self._erase = erase
        self._program = program

    def _shift_byte(self, byte_out: int) -> int:
        answer = super()._shift_byte(byte_out)
        at = len(self._tx_buffer) - 1 - _ID_AT
        if self._tx_buffer[0] == _READ_UNIQUE_ID and 0 <= at < len(self._id):
            return self._id[at]
        return answer

    def _apply_command(self) -> None:
        command = bytes(self._tx_buffer)
        if len(command) < 4 or not self._write_enabled:
            super()._apply_command()
            return
        address = self._address_from_buffer()
        if command[0] in (CMD_SECTOR_ERASE, CMD_BLOCK_ERASE):
            size = FLASH_SECTOR_SIZE if command[0] == CMD_SECTOR_ERASE else FLASH_BLOCK_SIZE
            self._erase(address & ~(size - 1), size)
        elif command[0] == CMD_PAGE_PROGRAM:
            self._program(address, command[4 : 4 + FLASH_PAGE_SIZE])
        else:
            super()._apply_command()
            return
        self._write_enabled = False
        self._tx_buffer = bytearray()
