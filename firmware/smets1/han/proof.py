# Where a neighbour's frame counter is now, and up to where it has seen ours: asked under a challenge, once after each
# start, and answered under the network key. So neither has to trust what flash held before, and a recording of an
# earlier day is no answer. Zigbee (R23) learns APS counters in the same way; this is hanlab's form of it, in a
# cluster of its own.
#   ZCL header, challenge (8 octets; 0: none), the challenge that this answers (8; 0: none), newest counter seen (u32)
# The counter of the answer's own frame is where its sender is; one by lot (counters.FREE) says that it does not know
# that yet, and its challenge comes along: the answer to it tells, and is answered again.
import asyncio

from micropython import const

from smets1.han.counters import FREE
from smets1.han.frames import put_u32, same, u32
from smets1.han.ids import CLUSTER_PROOF, ENDPOINT, PROFILE_SE

_NONCE = const(8)
_CHALLENGE = const(3)  # where they are in the frame
_ANSWERED = const(11)
_SEEN = const(19)
_SIZE = const(23)
_CONTROL = const(0x11)  # a command of the cluster, to the server; no Default Response
_NO_CHALLENGE = bytes(_NONCE)
_WAIT_MS = const(250)
# Answers under a counter by lot, in one start: an old challenge that is played again and again gets no more.
_ANSWERS_BY_LOT = const(32)


class _Asked:
    """A challenge that waits for its answer. counter: by lot, of the frame that carries it while ours is not known;
    it is sent again octet for octet, so that a neighbour who is off costs no more of them."""

    def __init__(self, random, counter, sequence):
        self.challenge = random(_NONCE)
        self.counter = counter
        self.sequence = sequence
        self.proved = asyncio.Event()
        self.sending = False


class Proof:
    """For one Network. log(name, text) takes events; on_proved(eui): this neighbour has proved itself.

    admit(eui, fresh) -> whether to answer its challenge (fresh: it has just answered ours). Who is joining is answered
    once the CH has it in its table: so no device counts itself in that the CH does not count (admission.py)."""

    def __init__(self, network):
        self._network = network
        self._asked = {}  # EUI-64: _Asked
        self._by_lot = _ANSWERS_BY_LOT
        self.log = print
        self.on_proved = None
        self.admit = None
        network.handle(PROFILE_SE, CLUSTER_PROOF, ENDPOINT, self._receive)

    @property
    def _counters(self):
        return self._network.counters

    def restart(self):
        """The network is another one: nobody there has been asked anything."""
        self._asked = {}
        self._by_lot = _ANSWERS_BY_LOT

    def forget(self, eui):
        """What it was asked is answered no more."""
        self._asked.pop(eui, None)

    async def of(self, peer, wait_ms=_WAIT_MS):
        """Ask a neighbour if need be: whether it has proved itself."""
        return peer.eui in self._counters.seen or await self.afresh(peer, wait_ms)

    async def afresh(self, peer, wait_ms=_WAIT_MS):
        """Ask a neighbour: whether it proves itself, and so is there now."""
        asked = self._ask(peer.eui)
        frame = bytearray(_SIZE)
        self._fill(frame, asked.challenge, _NO_CHALLENGE, peer.eui)
        asked.sending = True
        try:
            by_lot = () if self._counters.settled else (asked.counter, asked.sequence)
            await self._network.transmit(
                peer.short, PROFILE_SE, CLUSTER_PROOF, ENDPOINT, ENDPOINT, frame, _SIZE, *by_lot
            )
            await asyncio.wait_for_ms(asked.proved.wait(), wait_ms)
        except asyncio.TimeoutError:
            return False
        finally:
            asked.sending = False
        return True

    def wanted(self, peer):
        """A frame came from a neighbour that has not proved itself: ask it, unless that is under way."""
        if not self._ask(peer.eui).sending:
            asyncio.create_task(self.of(peer))

    def _ask(self, eui):
        asked = self._asked.get(eui)
        if asked is None:
            counters = self._counters
            asked = _Asked(counters.random, counters.free(), self._network.next_sequence())
            self._asked[eui] = asked
        return asked

    def _fill(self, frame, challenge, answered, eui):
        frame[0] = _CONTROL
        frame[1] = frame[2] = 0
        frame[_CHALLENGE:_ANSWERED] = challenge
        frame[_ANSWERED:_SEEN] = answered
        put_u32(frame, _SEEN, self._counters.last(eui))

    def _receive(self, peer, frame, reply):
        counters = self._counters
        if len(frame) != _SIZE or frame[0] != _CONTROL or frame[2]:
            self._network.stats["malformed"] += 1
            return 0
        asked = self._asked.get(peer.eui)
        fresh = asked is not None and same(frame, _ANSWERED, asked.challenge, _NONCE)
        if fresh:
            self._answered(peer, asked, u32(frame, _SEEN))
        if same(frame, _CHALLENGE, _NO_CHALLENGE, _NONCE):
            return 0
        if self.admit and not self.admit(peer.eui, fresh):
            self.wanted(peer)
            return 0
        if not counters.settled:
            self._by_lot -= 1
            if self._by_lot < 0:
                return 0
        # what it is asked in return: nothing, once it has proved itself
        challenge = _NO_CHALLENGE
        if peer.eui not in counters.seen:
            challenge = self._ask(peer.eui).challenge
        theirs = bytes(frame[_CHALLENGE:_ANSWERED])
        self._fill(reply, challenge, theirs, peer.eui)
        return _SIZE

    def _answered(self, peer, asked, seen):
        words = self._counters.told(seen)
        if words:
            self.log("frame counters", words)
        if self._network.counter < FREE:  # it knows its own
            if peer.eui not in self._counters.seen:
                self._counters.due = True  # flash has it from now on, however short this start is
            self._counters.accept(peer.eui, self._network.counter)
            del self._asked[peer.eui]
            asked.proved.set()
            if self.on_proved:
                self.on_proved(peer.eui)
