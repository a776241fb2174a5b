"""firmware/README.md's wire formats, as tests read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import cbor2
from pycddl import Schema
from smp.header import Header

from hanlab.resources import firmware_dir
from hanlab.wan.messages import GROUP

README: Final = (firmware_dir() / "README.md").read_text()
_ROW: Final = re.compile(r"^\| (\d+) \| (\w+) \| (read|write) \|", re.MULTILINE)
_RULE: Final = re.compile(r"^([\w-]+)\s+= (.*(?:\n .*)*)", re.MULTILINE)
_FIELD: Final = re.compile(r"(\? )?(\w+):")
_WRITE: Final = 2
_INNER: Final = {
    "images": "image",
    "devices": "device",
    "events": "event",
    "partial": "partial-image",
}
"""Fields whose values are maps with a rule of their own."""


@dataclass(frozen=True)
class Command:
    """A row of the table of group 0x5331."""

    id: int
    name: str
    op: str


def commands() -> dict[tuple[str, int], Command]:
    """The group's commands by operation ("read", "write") and id."""
    rows = (Command(int(number), name, op) for number, name, op in _ROW.findall(README))
    return {(row.op, row.id): row for row in rows}


def cddl() -> str:
    """The block that describes the messages of group 0x5331."""
    found = re.search(r"```cddl\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def rules() -> dict[str, str]:
    return dict(_RULE.findall(cddl()))


def fields(rule: str) -> dict[str, bool]:
    """A map's fields, and whether each may be missing."""
    return {name: bool(optional) for optional, name in _FIELD.findall(rules()[rule])}


class Checked:
    """What went over a WAN link, held against the README: `seen` fields by rule, those of maps in maps too."""

    def __init__(self) -> None:
        self._rows = commands()
        self._schemas = {
            f"{row.name}-{end}": Schema(f"root = {row.name}-{end}\n{cddl()}")
            for row in self._rows.values()
            for end in ("request", "answer")
        }
        self.seen: dict[str, set[str]] = {rule: set() for rule in rules()}

    def take(self, message: bytes) -> None:
        """Raises pycddl.ValidationError for a message of group 0x5331 that is not as the README says."""
        if int.from_bytes(message[4:6]) != GROUP:
            return
        op = "write" if message[0] & _WRITE else "read"
        end = "answer" if message[0] & 1 else "request"
        payload = message[Header.SIZE :]
        body = cbor2.loads(payload)
        if "rc" in body or "err" in body:
            return
        rule = f"{self._rows[op, message[7]].name}-{end}"
        self._schemas[rule].validate_cbor(payload)
        self._note(rule, body)

    def _note(self, rule: str, body: dict[str, Any]) -> None:
        self.seen[rule] |= body.keys()
        for name, value in body.items():
            for item in value if isinstance(value, list) else [value]:
                if name in _INNER:
                    self._note(_INNER[name], item)

    def unseen(self) -> list[str]:
        """Fields that the README has and no message had."""
        return [
            f"{rule}: {name}"
            for rule, seen in self.seen.items()
            for name in fields(rule).keys() - seen
        ]
