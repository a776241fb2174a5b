"""SMP group 0x5331: what a Communications Hub offers beyond the standard groups.

The firmware's half is firmware/smets1/wan/han_group.py; firmware/README.md describes the messages.
EUI-64s are 8 octets, most significant first; hashes are 32 octets; sizes and offsets are octets.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

from pydantic import BaseModel, ConfigDict
from smp import error, message

GROUP: Final = 0x5331
""""S1": a group id from the range that SMP leaves to users."""


@unique
class HanError(IntEnum):
    """The group's error codes."""

    UNKNOWN = 1
    NO_DEVICE = 2
    """No device on this HAN has that EUI-64."""
    NO_IMAGE = 3
    """The store holds no image with that hash for that device."""
    BUSY = 4
    """A transfer or an activation is in progress on this HAN."""
    NO_ANSWER = 5
    """The device did not answer over the HAN."""
    REFUSED = 6
    """The device answered that it will not."""
    BAD_REQUEST = 7
    """A field is missing or has another type or length."""
    FULL = 8
    """The device table has no room for one more."""


class HanErrorV1(error.ErrorV1):
    _GROUP_ID = GROUP


class HanErrorV2(error.ErrorV2[HanError]):
    _GROUP_ID = GROUP


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class StoredImage(_Part):
    """One image in a store."""

    id: int
    size: int
    state: str
    """"stored" or "running"."""
    sha: bytes
    """SHA-256 of the whole file."""
    hash: bytes
    """SHA-256 of the Manufacturer Image: the one that 11.3 carries."""
    type: str
    """The device type it is for, e.g. "PPMID"."""
    version: str
    ok: bool | None = None
    """Whether flash still has that SHA-256; None: `verify` was not asked for."""


class PartialImage(_Part):
    """An upload that has not come to its end."""

    id: int
    sha: bytes
    size: int
    off: int
    digest: bytes = b""
    """SHA-256 of the octets before `off`, computed from flash; empty: `verify` was not asked for."""


class StoreReadResponse(message.ReadResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 0

    capacity: int | None = None
    """Octets; None: the Device Model publishes no limit (rule 9)."""
    used: int
    reserved: int
    free: int
    behaviour: str
    images: list[StoredImage]
    partial: PartialImage | None = None
    more: bool = False
    """The rest did not fit: read on, and skip those."""
    recovered: str = ""
    """What the last start of the store had to mend; empty: nothing."""


class HanDevice(_Part):
    """A device on the HAN, as the Communications Hub knows it."""

    eui: bytes
    type: str
    address: int
    seen: bool
    """It has announced itself or answered since the hub started."""
    counter: int = 0
    """Of the last authorisation to activate that the CH accepted for it."""
    state: str
    """"joined", or of one that may join: "whitelisted", "joining"."""


class DevicesReadResponse(message.ReadResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 1

    devices: list[HanDevice]
    counter: int = 0
    """Of the last 11.3 that the CH accepted for itself."""
    open_ms: int
    """How long a device may join still."""
    more: bool = False
    """The rest did not fit: read on, and skip those."""


class JobStarted(message.WriteResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 2

    job: int


class ActivateStarted(message.WriteResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 4

    job: int


class ProgressReadResponse(message.ReadResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 3

    job: int
    op: str = ""
    """"distribute" or "activate"."""
    eui: bytes = b""
    state: str
    """"idle", "running", "done" or "failed"."""
    off: int = 0
    len: int = 0
    status: int = 0
    """distribute: the ZCL status of the transfer; activate: the 11.3 response code."""
    reason: str = ""
    note: str = ""
    """How the transfer began, if not afresh."""
    wanted: str = ""
    """activate: the version that is to run after it, if an 11.1 for this device has told the CH."""


class VersionReadResponse(message.ReadResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 5

    firmware: str
    """The version as the device writes it, e.g. "IHDAE05"."""
    file_version: int
    model: str


class EventsReadResponse(message.ReadResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 6

    events: list[dict[str, int | str | bytes]]
    lost: int = 0
    more: bool = False
    """The rest did not fit: read on, since the last one's number."""


class LimitsReadResponse(message.ReadResponse):
    """Deadlines that the board advertises."""

    _GROUP_ID = GROUP
    _COMMAND_ID = 7

    reply_ms: int
    """To answer what needs no flash work and no HAN."""
    write_octets_s: int
    """At least so fast are octets stored."""
    hash_octets_s: int
    """At least so fast is flash read back and hashed."""
    han_ms: int
    """To answer what a device on the HAN has to be asked for."""


class CountersReadResponse(message.ReadResponse):
    """What did not belong and was dropped, by layer and reason."""

    _GROUP_ID = GROUP
    _COMMAND_ID = 8

    han: dict[str, int]
    wan: dict[str, int]


class NetworkReadResponse(message.ReadResponse):
    """Where a board is on the air; 0xFFFF and 0xFFFE: on no network."""

    _GROUP_ID = GROUP
    _COMMAND_ID = 9

    pan: int
    address: int
    state: str
    """"none", "trial" (let in by a CH that has yet to prove itself) or "joined"."""


class ChallengeReadResponse(message.ReadResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 10

    nonce: bytes
    """16 octets, good for one login."""
    open: bool
    """The board lets anybody do everything."""


class LoginResponse(message.WriteResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 11

    mac: bytes
    """By which the board proves that it has the key, too."""


class JoinResponse(message.WriteResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 13

    open_ms: int
    """How long a device may join from now on."""


class LeaveResponse(message.WriteResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 14


class LogoutResponse(message.WriteResponse):
    _GROUP_ID = GROUP
    _COMMAND_ID = 12


class _Errors:
    _ErrorV1 = HanErrorV1
    _ErrorV2 = HanErrorV2


class StoreRead(message.ReadRequest, _Errors):
    _GROUP_ID = GROUP
    _COMMAND_ID = 0
    _Response = StoreReadResponse

    verify: bool | None = None
    """Have every image hashed afresh."""
    skip: int | None = None
    """How many images to leave out of the answer, because they are known."""


class DevicesRead(message.ReadRequest, _Errors):
    _GROUP_ID = GROUP
    _COMMAND_ID = 1
    _Response = DevicesReadResponse

    skip: int | None = None
    """How many devices to leave out of the answer, because they are known."""


class Distribute(message.WriteRequest, _Errors):
    """Hand the image with that Manufacturer Image hash, of the file with that SHA-256, to a device."""

    _GROUP_ID = GROUP
    _COMMAND_ID = 2
    _Response = JobStarted

    eui: bytes
    hash: bytes
    sha: bytes | None = None
    jitter: int = 100
    """Of the Image Notify, 1 to 100."""


class ProgressRead(message.ReadRequest, _Errors):
    _GROUP_ID = GROUP
    _COMMAND_ID = 3
    _Response = ProgressReadResponse


class Activate(message.WriteRequest, _Errors):
    """Activate the image with that hash on a device; `counter` is the originator counter.

    Dual control: `mac` is the S1SP's over device, hash and counter, `dco_mac` the DCO's.
    """

    _GROUP_ID = GROUP
    _COMMAND_ID = 4
    _Response = ActivateStarted

    eui: bytes
    hash: bytes
    counter: int
    mac: bytes
    dco_mac: bytes


class VersionRead(message.ReadRequest, _Errors):
    _GROUP_ID = GROUP
    _COMMAND_ID = 5
    _Response = VersionReadResponse

    eui: bytes


class EventsRead(message.ReadRequest, _Errors):
    _GROUP_ID = GROUP
    _COMMAND_ID = 6
    _Response = EventsReadResponse

    since: int


class LimitsRead(message.ReadRequest, _Errors):
    _GROUP_ID = GROUP
    _COMMAND_ID = 7
    _Response = LimitsReadResponse


class CountersRead(message.ReadRequest, _Errors):
    _GROUP_ID = GROUP
    _COMMAND_ID = 8
    _Response = CountersReadResponse


class NetworkRead(message.ReadRequest, _Errors):
    _GROUP_ID = GROUP
    _COMMAND_ID = 9
    _Response = NetworkReadResponse


class Challenge(message.ReadRequest, _Errors):
    """Ask for what a login has to answer."""

    _GROUP_ID = GROUP
    _COMMAND_ID = 10
    _Response = ChallengeReadResponse


class Login(message.WriteRequest, _Errors):
    """Prove to have the board's key; `nonce` (16 octets) is the board's challenge."""

    _GROUP_ID = GROUP
    _COMMAND_ID = 11
    _Response = LoginResponse

    nonce: bytes
    mac: bytes


class Logout(message.WriteRequest, _Errors):
    """End the login; it is sealed as any other write."""

    _GROUP_ID = GROUP
    _COMMAND_ID = 12
    _Response = LogoutResponse


class Join(message.WriteRequest, _Errors):
    """Let a device join within `minutes` (1 to 60); `code` is the install code of its label (6 to 16 octets)."""

    _GROUP_ID = GROUP
    _COMMAND_ID = 13
    _Response = JoinResponse

    eui: bytes
    code: bytes
    type: str
    steps: int = 1
    """Of its updates, 1 or 2."""
    minutes: int


class Leave(message.WriteRequest, _Errors):
    """A device is to leave the HAN, or may not join any more."""

    _GROUP_ID = GROUP
    _COMMAND_ID = 14
    _Response = LeaveResponse

    eui: bytes
