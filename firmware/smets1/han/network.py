# The HAN as this node sees it: seals and sends frames, opens and dispatches them. On the wire each frame is COBS-coded
# and ended by 0x00. What does not belong is counted in `stats` and dropped; nothing from the wire raises.
import asyncio

from micropython import const

from smets1.han import frames
from smets1.han.ccm import MIC_SIZE, NONCE_SIZE, Ccm
from smets1.han.counters import FREE
from smets1.han.ids import BROADCAST_FIRST, CLUSTER_PROOF, PROFILE_SE
from smets1.han.proof import Proof
from smets1.octets import cobs_decode, cobs_encode, crc16_fcs, find

_WIRE_MAX = const(129)  # a PSDU in COBS with the 0x00 that ends it
_PSDU_MIN = const(10)  # a Beacon Request

STATS = (
    "rx",  # frames accepted
    "tx",  # frames sent
    "framing",  # no COBS frame, or a run of octets too long to be one
    "length",  # too short or too long for a frame of ours
    "fcs",  # FCS wrong
    "foreign",  # another PAN or another node's
    "malformed",  # a header that this HAN does not send, or a ZCL frame that makes no sense
    "unknown",  # from a short address that is no neighbour's
    "forged",  # the EUI-64 in it is not that neighbour's
    "replay",  # its frame counter is not above the last one
    "mic",  # wrong key, or altered
    "unproved",  # its neighbour has not proved since our start where its counters are: an old frame, or asked now
    "unsent",  # a frame of ours to a neighbour that does not prove itself: it is off, or has another key
    "failed",  # its handler raised what no handler should
    "unhandled",  # nobody here wants its profile and cluster
)


def eui_text(eui):
    """00-DB-12-34-56-78-90-A2"""
    return "-".join("%02X" % octet for octet in eui)


class NetworkConfig:
    """What a node knows of its HAN. EUI-64s are 8 octets as they are written, most significant first.

    One that is on no HAN has NO_PAN, NO_ADDRESS, no neighbours, and any key.
    """

    def __init__(self, pan_id, short, eui, key, key_sequence=0, neighbours=None):
        self.pan_id = pan_id
        self.short = short
        self.eui = eui
        self.key = key  # 16 octets
        self.key_sequence = key_sequence
        self.neighbours = neighbours or {}  # EUI-64: short address


class Peer:
    """A neighbour."""

    def __init__(self, eui, short):
        self.eui = eui
        self.short = short


class Network:
    """One node's HAN over one link. `counters`: counters.Counters.

    `handle` registers what is done with the frames of one cluster; a handler answers by writing into the buffer it is
    given, so request and answer cost one pass and no task.
    """

    def __init__(self, link, config, counters):
        self.stats = dict.fromkeys(STATS, 0)
        self._enter(config, counters)
        # Called once the answer being made has been written to the link; for what must not come before it (a reset).
        self.after_reply = None
        # on_bare(frame, n) -> whether it was wanted: of what comes without NWK security (mac.py), no FCS behind it
        self.on_bare = None
        self.on_command = (
            None  # of a NWK command: on_command(peer, octets), with the command's number first
        )
        self._link = link
        self._nonce = bytearray(NONCE_SIZE)
        self._wire_eui = bytes(reversed(config.eui))
        # of MAC, NWK and APS: from anywhere, so that numbers of the last start do not come again at once
        self._sequence = counters.random(1)[0]
        self.counter = 0  # of the frame that is being received
        self._handlers = {}
        self._frame = bytearray(frames.PSDU_MAX)  # being sealed
        # The first 0x00 goes out with the first frame only: it ends what a reset of ours may have cut short.
        self._wire = bytearray(1 + _WIRE_MAX)
        self._wire_view = memoryview(self._wire)
        self._wire_start = 0
        self._sending = False
        self._rx = bytearray(3 * _WIRE_MAX)
        self._reply = bytearray(frames.PAYLOAD_MAX)
        self._reply_view = memoryview(self._reply)
        # of the frame being answered
        self._from = None
        self._profile = self._cluster = self._src_ep = self._dst_ep = 0
        self.proof = Proof(self)

    def move(self, config, counters):
        """Be on another HAN from now on, or on none; its neighbours have yet to prove themselves."""
        self._enter(config, counters)
        self.proof.restart()

    def _enter(self, config, counters):
        self.config = config
        self.counters = counters
        self._ccm = Ccm(config.key)
        self.peers = {}  # short address: Peer
        for eui, short in config.neighbours.items():
            self.add_peer(eui, short)

    def add_peer(self, eui, short):
        self.put_peer(Peer(bytes(eui), short))

    def put_peer(self, peer):
        """A neighbour, as its own object if there is one already: on a CH there may be a hundred."""
        self.remove_peer(peer.eui)
        self.peers[peer.short] = peer

    def expel(self, eui):
        """No neighbour any more. Should it come back, it has to prove itself, and none of its old frames counts."""
        self.remove_peer(eui)
        self.proof.forget(eui)
        self.counters.forget(eui)
        self.counters.let_go({peer.eui for peer in self.peers.values()})

    def remove_peer(self, eui):
        for peer in list(self.peers.values()):
            if peer.eui == eui:
                del self.peers[peer.short]

    def peer(self, eui):
        """The neighbour with this EUI-64, or None."""
        for peer in self.peers.values():
            if peer.eui == eui:
                return peer
        return None

    def handle(self, profile, cluster, endpoint, handler):
        """Have frames to `endpoint` go to handler(peer, payload, reply) -> octets of reply (0: no answer).

        `payload` is a memoryview that is good until the handler returns; `reply` takes PAYLOAD_MAX octets. It must not
        wait. A broadcast is never answered.
        """
        self._handlers[profile << 16 | cluster] = (endpoint, handler)

    async def send(self, short, profile, cluster, src_ep, dst_ep, payload, n):
        """Send payload[:n] to a short address (0xFFF8 and above: broadcast); returns when the link has taken it.

        A neighbour that has not proved itself since our start is asked first. If it does not answer, nothing goes out:
        whoever wants an answer sends again.
        """
        if n > frames.PAYLOAD_MAX:
            raise ValueError("%d octets of payload, a frame takes %d" % (n, frames.PAYLOAD_MAX))
        peer = self.peers.get(short)
        if not (await self.proof.of(peer) if peer else self.counters.settled):
            self.stats["unsent"] += 1
            return
        await self.transmit(short, profile, cluster, src_ep, dst_ep, payload, n)

    async def transmit(
        self,
        short,
        profile,
        cluster,
        src_ep,
        dst_ep,
        payload,
        n,
        counter=None,
        sequence=None,
    ):
        """Send to whoever it is. counter, sequence: of the frame, if not the next ones (proof.py)."""
        await self._turn()
        try:
            if counter is None:
                counter = self.next_counter()
                sequence = self.next_sequence()
            self._head(short, profile, cluster, src_ep, dst_ep, counter, sequence)
            await self._write(self._seal(frames.PAYLOAD, payload, n))
        finally:
            self._sending = False

    async def command(self, short, octets):
        """Send a NWK command to a neighbour that has proved itself: whether it has, and the link has taken it."""
        peer = self.peers.get(short)
        if peer is None or not await self.proof.of(peer):
            self.stats["unsent"] += 1
            return False
        await self._turn()
        try:
            self._head(short, 0, 0, 0, 0, self.next_counter(), self.next_sequence())
            frames.make_command(self._frame)
            await self._write(self._seal(frames.APS, octets, len(octets)))
        finally:
            self._sending = False
        return True

    async def put(self, octets):
        """Send a frame as it is, but for its FCS: one without NWK security (mac.py)."""
        await self._turn()
        try:
            frames.copy(self._frame, 0, octets, 0, len(octets))
            await self._write(len(octets))
        finally:
            self._sending = False

    async def _turn(self):
        while self._sending:  # rare: another task's frame is on its way out
            await asyncio.sleep_ms(1)
        self._sending = True

    async def _write(self, end):
        """Put the FCS behind frame[:end], and have the link take it."""
        frame = self._frame
        fcs = crc16_fcs(frame, 0, end)
        frame[end] = fcs & 0xFF
        frame[end + 1] = fcs >> 8
        end = cobs_encode(frame, end + frames.FCS_SIZE, self._wire, 1)
        self._wire[end] = 0
        start = self._wire_start
        self._wire_start = 1
        await self._link.write(self._wire_view[start : end + 1])
        self.stats["tx"] += 1

    def next_counter(self):
        return self.counters.next() if self.counters.settled else self.counters.free()

    def next_sequence(self):
        self._sequence = (self._sequence + 1) & 0xFF
        return self._sequence

    async def run(self):
        """Receive for ever."""
        rx = self._rx
        view = memoryview(rx)
        used = 0
        while True:
            end = used + await self._link.readinto(view[used:])
            start = 0
            stop = find(rx, 0, used, end)
            while stop >= 0:
                try:
                    n = self._receive(view[start:stop]) if stop > start else 0
                    if n:
                        await self._answer(n)
                except Exception as e:  # no frame does that, but flash that fails may
                    self.stats["failed"] += 1
                    print("HAN frame failed:", type(e).__name__, e)
                start = stop + 1
                stop = find(rx, 0, start, end)
            used = end - start
            if used >= _WIRE_MAX:  # no frame is that long: noise; the next 0x00 ends it
                self.stats["framing"] += 1
                used = 0
            elif start and used:
                frames.copy(rx, 0, rx, start, used)

    async def _answer(self, n):
        """Send what the handler has written."""
        short, endpoint = self._from.short, self._dst_ep
        if self.counters.due:
            self.counters.keep()
        await self.transmit(
            short, self._profile, self._cluster, endpoint, self._src_ep, self._reply, n
        )
        if self.after_reply:
            then, self.after_reply = self.after_reply, None
            then()

    def _head(self, short, profile, cluster, src_ep, dst_ep, counter, sequence):
        config = self.config
        frames.build(
            self._frame,
            config.pan_id,
            short,
            config.short,
            sequence,
            counter,
            self._wire_eui,
            config.key_sequence,
            profile,
            cluster,
            src_ep,
            dst_ep,
        )

    def _seal(self, at, payload, n):
        """Put payload[:n] to frame[at:] and seal the frame; where its MIC ends."""
        frame = self._frame
        frames.copy(frame, at, payload, 0, n)
        frames.with_level(frame)
        frames.fill_nonce(self._nonce, frame)
        end = self._ccm.seal(frame, frames.NWK, frames.APS, at + n, self._nonce)
        frames.without_level(frame)
        return end

    def _receive(self, frame):
        """Open and dispatch one COBS-coded frame; the length of the answer, 0 for none."""
        ended, n = self._open(frame)
        if ended:
            self.stats[ended] += 1
            return 0
        self._profile = frames.u16(frame, frames.APS + 4)
        self._cluster = frames.u16(frame, frames.APS + 2)
        self._dst_ep = frame[frames.APS + 1]
        self._src_ep = frame[frames.APS + 6]
        endpoint, handler = self._handlers.get(self._profile << 16 | self._cluster, (None, None))
        if endpoint != self._dst_ep:
            self.stats["unhandled"] += 1
            return 0
        self.stats["rx"] += 1
        n = handler(self._from, frame[frames.PAYLOAD : n], self._reply_view)
        if frames.u16(frame, frames.NWK + 2) >= BROADCAST_FIRST:
            return 0
        return n

    def _open(self, frame):
        """Decode, check and decrypt in place: (what it counts as, 0) or (None, where its payload ends).

        What is no data for a handler has been dealt with, or is dropped."""
        config = self.config
        n = cobs_decode(frame, len(frame))
        if n < 0:
            return "framing", 0
        if n < _PSDU_MIN or n > frames.PSDU_MAX:
            return "length", 0
        n -= frames.FCS_SIZE
        if crc16_fcs(frame, 0, n) != frames.u16(frame, n):
            return "fcs", 0
        if not frames.is_secured(frame, n) and self.on_bare and self.on_bare(frame, n):
            return "rx", 0
        if n < frames.LEAST_COMMAND:
            return "length" if frames.is_data(frame) else "foreign", 0
        if frames.u16(frame, 3) != config.pan_id:
            return "foreign", 0
        if not frames.headers_fit(frame):
            return "malformed", 0
        is_command = frames.is_command(frame)
        if n < frames.LEAST and not is_command:
            return "length", 0
        to = frames.u16(frame, frames.NWK + 2)
        if to != config.short and to < BROADCAST_FIRST:
            return "foreign", 0
        self._from = peer = self.peers.get(frames.u16(frame, frames.NWK + 4))
        if peer is None:
            return "unknown", 0
        if not frames.same_eui(frame, frames.AUX + 5, peer.eui):
            return "forged", 0
        if frame[frames.AUX + 13] != config.key_sequence:
            return "mic", 0
        counter = self.counter = frames.u32(frame, frames.AUX + 1)
        last = self.counters.seen.get(peer.eui)
        if last is not None and counter <= last:
            return "replay", 0
        frames.with_level(frame)
        frames.fill_nonce(self._nonce, frame)
        n -= MIC_SIZE
        if not self._ccm.open(frame, frames.NWK, frames.APS, n, self._nonce):
            return "mic", 0
        if not is_command and not frames.aps_fits(frame):
            return "malformed", 0
        if last is not None and counter < FREE:
            self.counters.accept(peer.eui, counter)
        elif (
            is_command
            or frames.u16(frame, frames.APS + 2) != CLUSTER_PROOF
            or frames.u16(frame, frames.APS + 4) != PROFILE_SE
        ):
            if last is not None:
                return "malformed", 0  # no other frame has a counter by lot
            if to == config.short:
                self.proof.wanted(peer)
            return "unproved", 0
        if is_command:
            if not self.on_command:
                return "unhandled", 0
            self.on_command(peer, frame[frames.APS : n])
            return "rx", 0
        return None, n
