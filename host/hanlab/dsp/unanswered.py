"""11.3 requests whose answer never came to the DSP, though the device may have carried them out (rule 86).

A second 11.3 for the same device and hash is then a retry: the Service User's, and the DSP treats its
answer as rules 91 to 93 say. A new 11.1 begins another update, and the 11.3 after it is no retry (rule 87).
"""

from __future__ import annotations

from hanlab.dsp.database import Database
from hanlab.eui import Eui


class UnansweredActivations:
    """By device and Manufacturer Image hash; in the DSP's file, so it outlives the process."""

    def __init__(self, database: Database) -> None:
        self._sql = database.sql

    def add(self, device: Eui, hash_: bytes) -> None:
        self._sql.execute("INSERT OR IGNORE INTO unanswered VALUES (?, ?)", (device.octets, hash_))

    def has(self, device: Eui, hash_: bytes) -> bool:
        row = self._sql.execute(
            "SELECT 1 FROM unanswered WHERE device = ? AND hash = ?", (device.octets, hash_)
        )
        return row.fetchone() is not None

    def forget(self, device: Eui) -> None:
        """It is updated anew, or the SMI knows what it runs."""
        self._sql.execute("DELETE FROM unanswered WHERE device = ?", (device.octets,))
