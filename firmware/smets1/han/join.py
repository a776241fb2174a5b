# How a device comes to a HAN, stays there and leaves it: the device's side (admission.py is the CH's).
#
# It is on the network of its record (roles/network_record.py), or on none. On none, or when its CH has proved nothing
# for long, it looks around: Beacon Request, and an association wherever a beacon says that one may join. The network
# key that comes opens with the install code of its label alone. It is in the record before anything is sent under it;
# the network before stays there until the new CH has proved itself, and so has the device in its table.
import asyncio

from micropython import const

from smets1.han import mac, zdo
from smets1.han.frames import u16
from smets1.han.ids import COORDINATOR, LEAVE, LEAVE_REQUEST, NO_ADDRESS, NO_PAN
from smets1.han.mmo import key_transport_key
from smets1.han.network import NetworkConfig

# Illustrative, all of them, but for the response wait (macResponseWaitTime) and the scan (duration 3).
_FIRST_MS = const(
    500
)  # after a start: the first try to reach the CH, and to the next, doubled each time
_MOST_MS = const(16_000)
_LOST_MS = const(60_000)  # without a CH that proves itself, until it looks for another
_TRIAL_MS = const(10_000)  # the same of one that has just let it in
_LISTEN_MS = const(1_800_000)  # how often a CH has to prove itself again
_SCAN_MS = const(150)
_RESPONSE_WAIT_MS = const(490)
_POLL_MS = const(300)  # for an answer to a Data Request
_POLLS = const(3)
_BEACONS = const(8)  # of one look around


class Join:
    """record: a NetworkRecord; code: the install code, None where the label is not known, and nothing is joined.
    counters_of(membership or None): Counters for a network. log(name, text) takes events."""

    def __init__(self, network, record, eui, code, counters_of, log):
        self._network = network
        self._record = record
        self._eui = eui
        self._key = key_transport_key(code) if code else None
        self._counters_of = counters_of
        self._log = log
        self._beacons = []  # (PAN, CH's EUI-64) of those heard, while it looks around
        self._asked = None  # the PAN where it associates
        self._response = None  # (short address, status)
        self._transport = None  # a frame with the network key
        self._last_refusal = ""
        self._heard = asyncio.Event()
        self._sent_away = asyncio.Event()
        network.on_bare = self._receive
        network.on_command = self._command

    async def run(self):
        """For ever."""
        patience_ms = _LOST_MS
        wait_ms = _FIRST_MS
        await asyncio.sleep_ms(_FIRST_MS)
        while True:
            if self._record.here:
                if await self._stay(patience_ms):
                    wait_ms = _FIRST_MS
                if self._record.candidate and self._record.current:
                    self._go_back()
                    patience_ms = _LOST_MS
                    continue
            elif self._key is None:
                return  # what is neither on a network nor has a code stays where it is
            if await self._look_around():
                patience_ms = _TRIAL_MS
                continue
            wait_ms = min(2 * wait_ms, _MOST_MS)
            patience_ms = wait_ms
            if not self._record.here:
                await asyncio.sleep_ms(wait_ms)

    # -- on a network

    async def _stay(self, patience_ms):
        """Until the CH has not proved itself for so long, or sends it away: whether it has proved itself at all."""
        proved = False
        waited_ms = 0
        wait_ms = _FIRST_MS
        self._sent_away.clear()
        while waited_ms < patience_ms or self._key is None:
            hub = self._network.peers.get(COORDINATOR)
            proof = self._network.proof
            if await (proof.afresh(hub, _POLL_MS) if proved else proof.of(hub)):
                if not proved and not await self._at_home():
                    continue  # flash does not take it: the next try
                proved = True
                patience_ms = _LOST_MS
                waited_ms = 0
                wait_ms = _FIRST_MS
                if await self._is_sent_away(_LISTEN_MS):
                    return True
                continue
            if await self._is_sent_away(wait_ms):
                return True
            waited_ms += wait_ms
            wait_ms = min(2 * wait_ms, _MOST_MS)
        if proved:
            self._network.counters.forget(hub.eui)  # it has to prove itself again
        return proved

    async def _at_home(self):
        """The CH has proved itself: this is the network now, whatever was before."""
        if self._record.candidate:
            try:
                self._record.take()
            except OSError:
                await asyncio.sleep_ms(_FIRST_MS)
                return False
            self._log("joined", "PAN %04X" % self._network.config.pan_id)
        await zdo.announce(self._network)
        return True

    async def _is_sent_away(self, wait_ms):
        """Whether the CH sends the device away within that time."""
        try:
            await asyncio.wait_for_ms(self._sent_away.wait(), wait_ms)
        except asyncio.TimeoutError:
            return False
        await self._network.command(COORDINATOR, bytes((LEAVE, 0)))
        try:
            self._record.leave()
        except OSError:
            pass  # after the next start its CH does not prove itself: it looks for another
        self._move(None)
        self._log("left", "")
        return True

    def _command(self, peer, octets):
        if peer.short == COORDINATOR and octets == bytes((LEAVE, LEAVE_REQUEST)):
            self._sent_away.set()

    def _go_back(self):
        try:
            self._record.give_up()
        except OSError:
            return  # it goes on trying the other one
        self._log("not joined", "its CH did not prove itself")
        self._move(self._record.current)

    def _move(self, membership):
        self._network.move(network_config(self._eui, membership), self._counters_of(membership))

    # -- looking for one

    async def _look_around(self):
        """Whether a network has let it in; it is the record's candidate then, and where the device is on the air."""
        if self._key is None:
            return False
        self._beacons = []
        await self._put(mac.beacon_request(self._sequence()))
        await asyncio.sleep_ms(_SCAN_MS)
        for pan, hub in self._beacons:
            membership = await self._associate(pan, hub)
            if membership:
                self._log("let in", "PAN %04X" % pan)
                try:
                    self._record.try_(membership)
                except OSError:
                    return False
                self._move(membership)
                return True
        return False

    async def _associate(self, pan, hub):
        """A place on that CH's network, or None."""
        self._response = self._transport = None
        self._asked = pan
        try:
            await self._put(mac.association_request(self._sequence(), pan, self._eui))
            await asyncio.sleep_ms(_RESPONSE_WAIT_MS)
            if not await self._poll(
                lambda: mac.data_request(self._sequence(), pan, self._eui),
                lambda: self._response,
            ):
                return None
            address, status = self._response
            if status != mac.ASSOCIATED:
                self._refused("PAN %04X, status 0x%02X" % (pan, status))
                return None
            if not await self._poll(
                lambda: mac.data_request_short(self._sequence(), pan, address),
                lambda: self._transport,
            ):
                return None
            key = mac.open_transport_key(self._transport, self._eui, hub, self._key)
            if key is None:
                self._refused("PAN %04X has another install code for it" % pan)
                return None
            return self._record.membership(pan, address, *key, hub)
        finally:
            self._asked = None

    def _refused(self, words):
        if words != self._last_refusal:  # or a log would have nothing else in it
            self._last_refusal = words
            self._log("join refused", words)

    async def _poll(self, request, arrived):
        """Whether it arrived, asked a few times."""
        for _ in range(_POLLS):
            self._heard.clear()
            await self._put(request())
            try:
                await asyncio.wait_for_ms(self._heard.wait(), _POLL_MS)
            except asyncio.TimeoutError:
                continue
            if arrived():
                return True
        return False

    def _receive(self, frame, n):
        """What comes without the network key; whether it was for this device."""
        kind = mac.kind(frame, n)
        if kind == mac.BEACON:
            beacon = mac.parse_beacon(frame)
            if beacon and beacon not in self._beacons and len(self._beacons) < _BEACONS:
                self._beacons.append(beacon)
            return True
        if self._asked is None or u16(frame, 3) != self._asked:
            return False
        if kind == mac.ASSOCIATION_RESPONSE and mac.eui_at(frame, 5) == self._eui:
            if self._response:
                return True  # it comes again, and is not what is waited for now
            self._response = u16(frame, 22), frame[24]
        elif kind == mac.TRANSPORT_KEY and self._response and u16(frame, 5) == self._response[0]:
            self._transport = bytes(frame[:n])
        else:
            return False
        self._heard.set()
        return True

    async def _put(self, frame):
        await self._network.put(frame)

    def _sequence(self):
        return self._network.next_sequence()


def network_config(eui, membership):
    """Of a Membership; None: on no network."""
    if membership is None:
        return NetworkConfig(NO_PAN, NO_ADDRESS, eui, bytes(16))
    return NetworkConfig(
        membership.pan,
        membership.address,
        eui,
        membership.key,
        membership.key_sequence,
        {membership.hub: COORDINATOR},
    )
