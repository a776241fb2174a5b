"""This computer's Bluetooth, as bleak finds it: what may be wrong with it, and what helps."""

from __future__ import annotations

from collections.abc import Coroutine
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from hanlab.errors import UsageError

T = TypeVar("T")


class Broken(Exception):
    """The connection failed; another try may not."""


async def at_the_radio(work: Coroutine[Any, Any, T]) -> T:
    """What comes of it; what is wrong with this computer's Bluetooth as a UsageError.

    Raises:
        UsageError: so it is.
        Broken: anything else went wrong.
    """
    from bleak.exc import BleakBluetoothNotAvailableError, BleakDBusError, BleakError

    try:
        return await work
    except BleakBluetoothNotAvailableError as e:
        raise unavailable(e.reason.name, e.args[0]) from None
    except BleakDBusError as e:
        if e.dbus_error.endswith(("AccessDenied", "NotAuthorized", "NotPermitted")):
            raise unavailable("DENIED_BY_SYSTEM", e) from None
        if e.dbus_error.endswith(("ServiceUnknown", "NameHasNoOwner", "NotReady")):
            raise unavailable("NO_BLUEZ", e) from None
        raise Broken(str(e)) from None
    except (FileNotFoundError, ConnectionRefusedError) as e:  # the D-Bus socket
        raise unavailable("NO_BLUEZ", e.strerror) from None
    except PermissionError as e:
        raise unavailable("DENIED_BY_SYSTEM", e.strerror) from None
    except (BleakError, TimeoutError, OSError, EOFError) as e:
        raise Broken(str(e) or type(e).__name__) from None


def unavailable(reason: str, why: object) -> UsageError:
    """The error for a reason of bleak's, and what it or the system said."""
    what, next_step = _UNAVAILABLE.get(reason, _UNAVAILABLE["UNKNOWN"])
    return UsageError(f"{what} ({why})", next_step=next_step)


def need_bleak() -> None:
    if find_spec("bleak") is None:
        raise UsageError("BLE needs the package bleak", next_step="pip install 'hanlab[ble]'")


_DENIED: Final = (
    "this program may not use Bluetooth",
    "Linux: sudo usermod -aG bluetooth $USER, then log in again; macOS: System Settings, Privacy & Security, "
    "Bluetooth: allow your terminal",
)
_UNAVAILABLE: Final = {
    "NO_BLUEZ": (
        "no Bluetooth service answers here",
        "sudo apt install bluez; sudo systemctl start bluetooth; a container or WSL has none",
    ),
    "NO_BLUETOOTH": (
        "this computer has no Bluetooth adapter",
        "plug one in (bluetoothctl list shows it), or use the board's cable",
    ),
    "NO_BLE_CENTRAL_ROLE": (
        "this computer's Bluetooth adapter cannot do BLE",
        "plug in one for Bluetooth 4.0 or newer, or use the board's cable",
    ),
    "POWERED_OFF": (
        "Bluetooth is switched off",
        "switch it on: rfkill unblock bluetooth; bluetoothctl power on",
    ),
    "DENIED_BY_USER": _DENIED,
    "DENIED_BY_SYSTEM": _DENIED,
    "DENIED_BY_UNKNOWN": _DENIED,
    "UNKNOWN": ("Bluetooth does not work here", "bluetoothctl show says what the adapter is like"),
}
"""By the name of bleak's reason (and NO_BLUEZ, ours): what is wrong, and what helps."""
