"""What a lab.toml says of the DSP: switches with their dates, Service Users, faults.

```toml
[dsp]
start = 2026-01-01T00:00:00Z  # an emulated lab's civil time when its DSP is new; real boards: the computer's time
mp105 = 2021-11-04            # the day from which the change holds; false: never (rules 84, 85, 114)
secmp0007 = 2021-11-04        # rule 108
lost_responses = 0.2          # the share of 11.3 responses that never reach the DSP (rule 94)
retries = 1                   # how often the DSP sends an 11.3 again that nobody answered (rule 91)

[[user]]                      # optional: other Service Users than the default ones
name = "supplier"
eui = "90-B3-D5-1F-30-01-00-00"
roles = ["IS", "GS"]
listener = "http://127.0.0.1:1880/smartdcc/duis"   # where `hanlab serve` posts what comes for it
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from hanlab.dsp.service_requests import ALL_ROLES
from hanlab.errors import UsageError
from hanlab.eui import Eui

DSP: Final = Eui.parse("90-B3-D5-1F-30-00-00-02")
"""The DSP's own identifier, the target of non-device Service Requests."""


NEW_YEAR: Final = datetime(2026, 1, 1, tzinfo=UTC)
TARGET_RELEASE: Final = date(2021, 11, 4)
"""The release that MP105 (rule 114) and SECMP0007 (rule 108) were meant for; from there on they hold."""


@dataclass(frozen=True)
class User:
    """A Service User. `active` is False for one whose status the DSP does not permit (E3)."""

    name: str
    eui: Eui
    roles: frozenset[str]
    active: bool = True
    listener: str = ""
    """Where its responses and DCC Alerts are posted to (URL); none: they wait."""


DEFAULT_USERS: Final = (
    User("supplier", Eui.parse("90-B3-D5-1F-30-01-00-00"), frozenset({"IS", "GS"})),
    User("other-supplier", Eui.parse("90-B3-D5-1F-30-02-00-00"), frozenset({"IS", "GS"})),
    User("network", Eui.parse("90-B3-D5-1F-30-03-00-00"), frozenset({"ED", "GT"})),
)


@dataclass(frozen=True)
class DspSettings:
    """`mp105` and `secmp0007`: the day from which a change holds; None: it never does."""

    start: datetime | None = None
    """None: `NEW_YEAR`; the computer's time in a lab of real boards."""
    mp105: date | None = TARGET_RELEASE
    secmp0007: date | None = TARGET_RELEASE
    lost_responses: float = 0.0
    retries: int = 1
    users: tuple[User, ...] = DEFAULT_USERS

    def has_mp105(self, now: datetime) -> bool:
        return self.mp105 is not None and now.date() >= self.mp105

    def has_secmp0007(self, now: datetime) -> bool:
        return self.secmp0007 is not None and now.date() >= self.secmp0007

    def user(self, eui: Eui) -> User | None:
        return next((u for u in self.users if u.eui == eui), None)

    def with_role(self, role: str) -> Eui | None:
        """The first user with that role: who is responsible where nothing else is said."""
        return next((u.eui for u in self.users if role in u.roles), None)


DEFAULT_SETTINGS: Final = DspSettings()


def read_settings(dsp: object, users: object) -> DspSettings:
    """The settings from lab.toml's table [dsp] and its array [[user]]; each may be missing ({}, []).

    Raises:
        UsageError: a key is unknown or has a wrong value.
    """
    if not isinstance(dsp, Mapping):
        raise UsageError("dsp has to be a table", next_step="write [dsp]")
    if not isinstance(users, list) or not all(isinstance(u, Mapping) for u in users):
        raise UsageError("user has to be an array of tables", next_step="write [[user]]")
    for key in dsp:
        if key not in _READERS:
            raise UsageError(
                f"[dsp] has no setting {key!r}", next_step=f"there are {', '.join(_READERS)}"
            )
    values: dict[str, Any] = {key: _READERS[key](key, value) for key, value in dsp.items()}
    if users:
        values["users"] = tuple(_user(u, f"user {i + 1}") for i, u in enumerate(users))
        euis = [u.eui for u in values["users"]]
        if len(set(euis)) < len(euis):
            raise UsageError("two users have the same eui", next_step="give each its own")
    return DspSettings(**values)


def _wrong(key: str, value: object, wanted: str) -> UsageError:
    return UsageError(f"[dsp]: {key} = {value!r} is wrong", next_step=f"{key} = {wanted}")


def _read_start(key: str, value: object) -> datetime:
    if not isinstance(value, datetime):
        raise _wrong(key, value, "2026-01-01T00:00:00Z")
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _read_switch(key: str, value: object) -> date | None:
    if value is False:
        return None
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise _wrong(key, value, "2021-11-04, the day from which it holds, or false")


def _read_share(key: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise _wrong(key, value, "0.2, a share from 0 to 1")


def _read_count(key: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10:
        return value
    raise _wrong(key, value, "1, from 0 to 10")


_READERS: Final = {
    "start": _read_start,
    "mp105": _read_switch,
    "secmp0007": _read_switch,
    "lost_responses": _read_share,
    "retries": _read_count,
}


def _user(data: Mapping[str, Any], where: str) -> User:
    unknown = set(data) - {"name", "eui", "roles", "active", "listener"}
    roles = data.get("roles")
    if (
        unknown
        or not isinstance(data.get("name"), str)
        or not isinstance(data.get("eui"), str)
        or not isinstance(roles, list)
        or not isinstance(data.get("active", True), bool)
        or not isinstance(data.get("listener", ""), str)
        or not set(roles) <= ALL_ROLES
    ):
        raise UsageError(
            f"{where}: it needs a name, an eui and roles of {', '.join(sorted(ALL_ROLES))}"
            + (f", and has no {min(unknown)!r}" if unknown else ""),
            next_step='name = "supplier", eui = "90-B3-D5-1F-30-01-00-00", roles = ["IS"]',
        )
    return User(
        data["name"],
        Eui.parse(data["eui"]),
        frozenset(roles),
        data.get("active", True),
        data.get("listener", ""),
    )
