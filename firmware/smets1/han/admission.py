# How a device comes to a Communications Hub's HAN: the CH's side. The WAN names the device, the install code of its
# label and the minutes; all of that is in RAM, so a power cut closes the window.
#
#   Beacon Request           →  a Beacon while anybody may join
#   Association Request      →  at the next Data Request: a short address, or why not
#   Data Request from there  →  Transport-Key: the network key, under the key of the install code
#   a proof challenge        →  one back: who answers that has the network key now, and is in the device table before
#                               its own challenge is answered, so that none counts itself in that the table has not
import asyncio
from time import ticks_add, ticks_diff

from micropython import const

from smets1.han import mac
from smets1.han.frames import u16
from smets1.han.ids import COORDINATOR, NO_ADDRESS, NO_PAN
from smets1.han.mmo import key_transport_key
from smets1.han.network import eui_text

_GRACE_MS = const(5000)  # who was let in in time may still come to the end; illustrative
_ANSWERS = const(4)  # associations that wait for their Data Request
_WHY_NOT = {mac.AT_CAPACITY: "the device table is full", mac.DENIED: "it may not, or no longer"}

WHITELISTED = "whitelisted"
JOINING = "joining"


class _Candidate:
    """A device that may join: what the table is to know of it, as a device of the table has it."""

    seen = False

    def __init__(self, eui, code, type, steps, until):
        self.eui = eui
        self.type = type
        self.steps = steps
        self.key = key_transport_key(code)
        self.until = until
        self.is_open = True
        self.address = NO_ADDRESS  # until it has associated

    @property
    def state(self):
        return WHITELISTED if self.address == NO_ADDRESS else JOINING


class Admission:
    """table: a DeviceTable; ticks_ms(); log(name, text) takes events."""

    def __init__(self, network, table, ticks_ms, log):
        self._network = network
        self._table = table
        self._ticks_ms = ticks_ms
        self._log = log
        self._candidates = {}  # EUI-64: _Candidate
        self._answers = {}  # EUI-64: status of its association
        network.on_bare = self._receive
        network.proof.admit = self._admit

    def open(self, eui, code, type, steps, ms):
        """Let a device join within `ms` from now; as asked for last."""
        self._close(eui)
        until = ticks_add(self._ticks_ms(), ms)
        self._candidates[eui] = candidate = _Candidate(eui, code, type, steps, until)
        self._log("whitelisted", "%s for %d s" % (eui_text(eui), ms // 1000))
        asyncio.create_task(self._closes(eui, candidate, ms))

    def withdraw(self, eui):
        """Whether that device might have joined, and may not any more."""
        return self._close(eui)

    def open_ms(self):
        """How long somebody may join still."""
        now = self._ticks_ms()
        left = 0
        for candidate in self._candidates.values():
            if candidate.is_open:
                left = max(left, ticks_diff(candidate.until, now))
        return left

    def waiting(self):
        """Those that have not joined yet."""
        return [c for c in self._candidates.values() if c.eui not in self._table.devices]

    async def _closes(self, eui, candidate, ms):
        await asyncio.sleep_ms(ms)
        candidate.is_open = False
        if candidate.address != NO_ADDRESS:
            await asyncio.sleep_ms(_GRACE_MS)
        if self._candidates.get(eui) is candidate:
            self._close(eui)

    def _close(self, eui):
        candidate = self._candidates.pop(eui, None)
        if candidate is None:
            return False
        self._answers.pop(eui, None)
        if eui not in self._table.devices:
            if candidate.address != NO_ADDRESS:
                self._network.expel(eui)
            self._log("not joined", eui_text(eui))
        return True

    # -- HAN

    def _receive(self, frame, n):
        """What comes without the network key; whether it was for a CH, this one."""
        kind = mac.kind(frame, n)
        config = self._network.config
        if kind == mac.BEACON_REQUEST:
            if self.open_ms():
                self._put(mac.beacon(self._sequence(), config.pan_id, config.eui))
            return True
        if u16(frame, 3) != config.pan_id or u16(frame, 5) != COORDINATOR:
            return False
        if kind == mac.ASSOCIATION_REQUEST:
            self._asked(mac.eui_at(frame, 9))
        elif kind == mac.DATA_REQUEST:
            self._tell(mac.eui_at(frame, 7))
        elif kind == mac.DATA_REQUEST_SHORT:
            self._send_key(u16(frame, 7))
        else:
            return False
        return True

    def _asked(self, eui):
        """An association: decided now, and answered when the device asks for the answer."""
        status = self._associate(eui)
        if status != mac.ASSOCIATED and self._answers.get(eui) != status:
            self._log("join refused", "%s: %s" % (eui_text(eui), _WHY_NOT[status]))
        if eui not in self._answers and len(self._answers) >= _ANSWERS:
            self._answers.clear()  # whoever still waits for one asks again
        self._answers[eui] = status

    def _associate(self, eui):
        candidate = self._candidates.get(eui)
        if candidate is None or not candidate.is_open:
            return mac.DENIED
        device = self._table.devices.get(eui)
        if device:
            candidate.address = device.address
        elif candidate.address == NO_ADDRESS:
            joining = [c for c in self.waiting() if c.state is JOINING]
            if not self._table.has_room(len(joining)):
                return mac.AT_CAPACITY
            candidate.address = self._free_address()
            self._network.add_peer(eui, candidate.address)
        return mac.ASSOCIATED

    def _free_address(self):
        address = COORDINATOR + 1
        while address in self._network.peers:
            address += 1
        return address

    def _tell(self, eui):
        status = self._answers.get(eui)
        if status is None:
            return
        candidate = self._candidates.get(eui)
        address = candidate.address if candidate and status == mac.ASSOCIATED else NO_PAN
        config = self._network.config
        self._put(
            mac.association_response(
                self._sequence(), config.pan_id, eui, config.eui, address, status
            )
        )

    def _send_key(self, address):
        for eui, candidate in self._candidates.items():
            if candidate.address == address:
                config = self._network.config
                self._put(
                    mac.transport_key(
                        self._sequence(),
                        config.pan_id,
                        address,
                        eui,
                        config.eui,
                        self._network.next_counter(),
                        config.key,
                        config.key_sequence,
                        candidate.key,
                    )
                )

    def _admit(self, eui, fresh):
        """Whether a neighbour's challenge is to be answered: it is in the table, or has come to be now."""
        candidate = self._candidates.get(eui)
        if eui in self._table.devices or candidate is None:
            return True
        if not fresh:
            return False
        try:
            device = self._table.add(eui, candidate.type, candidate.address, candidate.steps)
        except OSError:
            return False  # it asks again
        self._network.put_peer(device)
        self._log("joined", eui_text(eui))
        return True

    def _sequence(self):
        return self._network.next_sequence()

    def _put(self, frame):
        asyncio.create_task(self._network.put(frame))
