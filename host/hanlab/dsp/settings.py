"""What a lab.toml says of the DSP: switches with their dates, Service Users, faults.

```toml
[dsp]
start = 2026-01-01T00:00:00Z  # an emulated lab's civil time when its DSP is new; without it
                              # `hanlab serve` and real boards have the computer's
mp105 = 2021-11-04            # the day from which the change holds; false: never (rules 84, 85, 114)
secmp0007 = 2021-11-04        # rule 108
lost_responses = 0.2          # the share of 11.3 responses that never reach the DSP (rule 94)
suspended_credit = false      # may a Suspended meter get 2.1 and 2.5, emergency credit? see DspSettings (rule 109)

[[user]]                      # optional: other Service Users than the default ones
name = "supplier"
eui = "90-B3-D5-1F-30-01-00-00"
roles = ["IS", "GS"]
listener = "http://127.0.0.1:1880/smartdcc/duis"   # where `hanlab serve` posts what comes for it
retries = 3                   # how often its own system sends an 11.3 again that nobody answered (rules 91 to 93)
```

The DSP itself sends nothing again. `retries` is what `hanlab activate`, `Lab.send` and the demos do in
that user's name; another program that sends to `hanlab serve` does it itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from hanlab.dsp.service_requests import ALL_ROLES
from hanlab.errors import UsageError
from hanlab.eui import Eui
from hanlab.toml import check_keys, shown

DSP: Final = Eui.parse("90-B3-D5-1F-30-00-00-02")
"""The DSP's own identifier, the target of non-device Service Requests."""


NEW_YEAR: Final = datetime(2026, 1, 1, tzinfo=UTC)
YEARS: Final = range(1970, 2900)
"""In which a lab's civil time may begin: in the year 3000 DUIS cancels requests."""
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
    retries: int = 0
    """How often its system sends an 11.3 again that nobody answered (rule 93)."""


_LISTENER: Final = "http://127.0.0.1:1880/smartdcc/duis"
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
    suspended_credit: bool = False
    """What a Suspended prepayment consumer may get is said in two ways (rule 109). False: MP105's report, by
    which nobody can set up or activate emergency credit, so 2.1 and 2.5 get E5. True: DUIS, which marks
    both as critical, so they pass as any critical request does (rule 79)."""
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
    dsp = dict(dsp)
    _refuse_retries(dsp.pop("retries", 0))
    check_keys(dsp, "[dsp]", _READERS)
    values: dict[str, Any] = {key: _READERS[key](key, value) for key, value in dsp.items()}
    if users:
        values["users"] = tuple(_user(u, f"user {i + 1}") for i, u in enumerate(users))
        for what in ("eui", "name"):
            seen = [getattr(u, what) for u in values["users"]]
            if len(set(seen)) < len(seen):
                raise UsageError(f"two users have the same {what}", next_step="give each its own")
    return DspSettings(**values)


def _wrong(key: str, value: object, wanted: str) -> UsageError:
    return UsageError(f"[dsp]: {key} = {shown(value)} is wrong", next_step=f"{key} = {wanted}")


def _read_start(key: str, value: object) -> datetime:
    if not isinstance(value, datetime):
        raise _wrong(key, value, "2026-01-01T00:00:00Z")
    if value.year not in YEARS:  # also because the calendar's ends have no room for a time zone
        raise UsageError(
            f"[dsp]: start = {shown(value)} is out of reach: years {YEARS.start} to {YEARS.stop - 1}",
            next_step=f"{key} = 2026-01-01T00:00:00Z",
        )
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


def _read_flag(key: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(key, value, "true or false")


MOST_RETRIES: Final = 10
"""Of a Service User's system."""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_RETRIES


def _refuse_retries(value: object) -> None:
    """[dsp] had `retries`. 0 is what the DSP does; any other number is for a Service User to have."""
    if value != 0 or isinstance(value, bool):
        raise UsageError(
            f"[dsp]: retries = {shown(value)}: the DSP sends no 11.3 again, a supplier's own system does (rule 93)",
            next_step="take it out of [dsp], and put it into that user's table: [[user]] with name, eui, "
            f"roles and retries = {value if _is_count(value) else 1}",
        )


_READERS: Final = {
    "start": _read_start,
    "mp105": _read_switch,
    "secmp0007": _read_switch,
    "lost_responses": _read_share,
    "suspended_credit": _read_flag,
}


DSP_KEYS: Final = tuple(_READERS)
USER_KEYS: Final = ("name", "eui", "roles", "active", "listener", "retries")
_USER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_RESERVED: Final = ("ca", "dsp", "s1sp")
"""Who else has test keys in a file of that name."""


def _user(data: Mapping[str, Any], where: str) -> User:
    check_keys(data, where, USER_KEYS)
    for key, kind, example in (
        ("name", str, '"supplier"'),
        ("eui", str, '"90-B3-D5-1F-30-01-00-00"'),
        ("roles", list, '["IS"]'),
        ("active", bool, "true"),
        ("listener", str, f'"{_LISTENER}"'),
    ):
        optional = key in ("active", "listener")
        if not (optional and key not in data) and not isinstance(data.get(key), kind):
            wrong = f"= {shown(data[key])} is wrong" if key in data else "is missing"
            raise UsageError(f"{where}: {key} {wrong}", next_step=f"{key} = {example}")
    name, roles = data["name"], data["roles"]
    if not _USER_NAME.fullmatch(name) or name.lower() in _RESERVED:
        raise UsageError(
            f"{where}: {name!r} is no name for a user",
            next_step="1 to 32 letters, digits, - and _; ca, dsp and s1sp have keys of their own",
        )
    for role in roles or [""]:
        if role not in sorted(ALL_ROLES):
            raise UsageError(
                f"{where}: roles = {shown(roles)}: {shown(role)} is no role",
                next_step=f'roles = ["IS"], of {", ".join(sorted(ALL_ROLES))}',
            )
    return User(
        name,
        Eui.parse(data["eui"]),
        frozenset(roles),
        data.get("active", True),
        _listener(data.get("listener"), where),
        _retries(data.get("retries", 0), where),
    )


def _retries(value: object, where: str) -> int:
    if not isinstance(value, int) or not _is_count(value):
        raise UsageError(
            f"{where}: retries = {shown(value)} is wrong",
            next_step=f"retries = 1, from 0 to {MOST_RETRIES}",
        )
    return value


def _listener(url: str | None, where: str) -> str:
    """A URL that can be posted to; "" if there is none."""
    if url is None:
        return ""
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
    except ValueError:  # a port that is no number, half an IPv6 address
        good = False
    if not good:
        raise UsageError(
            f"{where}: listener = {url!r} is no URL", next_step=f'listener = "{_LISTENER}"'
        )
    return url
