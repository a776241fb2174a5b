# The OTA Upgrade cluster on a device: asks for an image, fetches it block by block into a sink, ends.
#
# The receive loop itself carries a download: the handler of a block writes it and answers with the next request. The
# task in download() only watches the clock and asks again, so a block costs no task switch.
import asyncio
import struct
from time import ticks_add, ticks_diff

from micropython import const

from smets1.han.frames import copy, put_u32, same, u32
from smets1.han.ids import (
    ABORT,
    CLUSTER_OTA,
    COORDINATOR,
    INVALID_IMAGE,
    NO_IMAGE_AVAILABLE,
    SUCCESS,
    TIMEOUT,
    TYPE_ENUM8,
    TYPE_EUI64,
    TYPE_U16,
    TYPE_U32,
    WAIT_FOR_DATA,
)
from smets1.han.ota import (
    BLOCK_DATA,
    BLOCK_MAX,
    BLOCK_REQUEST,
    BLOCK_RESPONSE,
    COMPLETE,
    CURRENT_FILE_VERSION,
    DOWNLOADING,
    END_REQUEST,
    END_RESPONSE,
    FILE_OFFSET,
    IMAGE_NOTIFY,
    IMAGE_TYPE_ID,
    IMAGE_UPGRADE_STATUS,
    MANUFACTURER_ID,
    NORMAL,
    QUERY_REQUEST,
    QUERY_RESPONSE,
    UPGRADE_SERVER_ID,
    WAIT,
    WAITING_TO_UPGRADE,
)
from smets1.han.zcl import BODY, Cluster, Exchange, NoAnswer

_WAIT_MOST_S = const(3600)  # however long the server says
_NO_OFFSET = const(0xFFFF_FFFF)


class Refused(Exception):
    """A sink will not have this image, or no more of it."""


class OtaClient(Cluster):
    """identity: basic.Identity; sink: where the OTA file goes, header included:

    begin(size, file_version, manufacturer, image_type) -> offset to go on from
    write(memoryview): the next octets
    end() -> whether the image is sound (hash, header)
    drop(): forget it
    begin and write raise Refused when the store is too small and the like; OSError, from flash, does the same.

    A download that gets no answer any more, or that the server stops (it may have restarted, and have no offer yet), is
    left in the sink: begin() may go on from there the next time.
    """

    def __init__(
        self, network, identity, sink, ticks_ms, server=COORDINATOR, timeout_ms=300, tries=5
    ):
        """timeout_ms: of the first try of a block; it doubles with each one."""
        super().__init__(network, CLUSTER_OTA, False)
        self.identity = identity
        self.sink = sink
        self.image_upgrade_status = NORMAL
        self.offset = _NO_OFFSET
        self.size = 0
        self.waits = 0  # WAIT_FOR_DATA answers of this download
        self.retries = 0  # blocks asked for again
        self.strays = 0  # blocks that were not the one asked for
        self._ticks_ms = ticks_ms
        self._server = server
        self._timeout_ms = timeout_ms
        self._tries_most = tries
        self._asked = asyncio.Event()
        self._exchange = Exchange()  # query and end
        self._request = bytearray(BODY + 14)
        self._name = bytes(8)  # manufacturer, image type, version of the image under way
        self._fetching = False
        self._outcome = None
        self._stopped = False  # by the server
        self._wake = asyncio.Event()  # the outcome is there, or the deadline has come nearer
        self._tries = 0
        self._deadline = 0
        self.commands = {
            IMAGE_NOTIFY: (2, self._notified),
            QUERY_RESPONSE: (1, self._offered),
            BLOCK_RESPONSE: (1, self._block),
            END_RESPONSE: (16, self._ended),
        }
        self.attributes = {
            UPGRADE_SERVER_ID: (TYPE_EUI64, self._server_id),
            FILE_OFFSET: (TYPE_U32, lambda: self.offset),
            CURRENT_FILE_VERSION: (TYPE_U32, lambda: identity.file_version),
            IMAGE_UPGRADE_STATUS: (TYPE_ENUM8, lambda: self.image_upgrade_status),
            MANUFACTURER_ID: (TYPE_U16, lambda: identity.manufacturer),
            IMAGE_TYPE_ID: (TYPE_U16, lambda: identity.image_type),
        }

    def ask(self):
        """Have run() ask the server for an image; nothing if a download is under way."""
        if self.image_upgrade_status != DOWNLOADING:
            self._asked.set()

    async def run(self, on_result):
        """For ever: on an Image Notify or ask(), download, then on_result(status, upgrade_time) as of download()."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            on_result(*await self.download())

    async def download(self):
        """Ask for an image and fetch it: (status, upgrade time in seconds or ota.WAIT).

        SUCCESS, NO_IMAGE_AVAILABLE, TIMEOUT (no answer), INVALID_IMAGE (the sink's end() said so), ABORT (the server or
        the sink would not go on).
        """
        self.image_upgrade_status = DOWNLOADING
        try:
            status, when = await self._download()
        except NoAnswer:
            status, when = TIMEOUT, WAIT
        self.image_upgrade_status = WAITING_TO_UPGRADE if status == SUCCESS else NORMAL
        return status, when

    async def _download(self):
        offer = await self._query()
        if offer is None:
            return NO_IMAGE_AVAILABLE, WAIT
        manufacturer, image_type, version, self.size = offer
        self._name = struct.pack("<HHI", manufacturer, image_type, version)
        self.waits = self.retries = self.strays = 0
        self._stopped = False
        try:
            self.offset = self.sink.begin(self.size, version, manufacturer, image_type)
        except (Refused, OSError):
            await self._end(ABORT)
            return ABORT, WAIT
        status = await self._fetch() if self.offset < self.size else SUCCESS
        if status == TIMEOUT:
            return TIMEOUT, WAIT
        if status == SUCCESS and not self.sink.end():
            status = INVALID_IMAGE
        if status != SUCCESS:
            if not self._stopped:
                self.sink.drop()
            self.offset = _NO_OFFSET
            await self._end(status)
            return status, WAIT
        self.image_upgrade_status = COMPLETE
        try:
            return SUCCESS, await self._end(SUCCESS)
        except NoAnswer:  # the image is whole all the same
            return SUCCESS, WAIT

    async def _query(self):
        """(manufacturer, image type, version, size) of the server's offer, or None."""
        identity = self.identity
        frame = bytearray(BODY + 11)
        tsn = self.next_tsn()
        self.header(frame, tsn, QUERY_REQUEST)
        struct.pack_into(
            "<BHHIH",
            frame,
            BODY,
            1,
            identity.manufacturer,
            identity.image_type,
            identity.file_version,
            identity.hardware,
        )
        return await self._exchange.ask(
            self._server,
            (QUERY_REQUEST, tsn),
            lambda: self.send(self._server, frame, len(frame)),
            self._timeout_ms,
            self._tries_most,
        )

    async def _fetch(self):
        """Fetch the blocks: SUCCESS, ABORT, or TIMEOUT when nothing comes any more."""
        self._outcome = None
        self._tries = 0
        self._deadline = self._ticks_ms()
        self._fetching = True
        try:
            while self._outcome is None:
                left = ticks_diff(self._deadline, self._ticks_ms())
                if left > 0:  # blocks move the deadline on while this waits
                    self._wake.clear()
                    try:
                        await asyncio.wait_for_ms(self._wake.wait(), left)
                    except asyncio.TimeoutError:
                        pass
                    continue
                if self._tries == self._tries_most:
                    return TIMEOUT
                if self._tries:
                    self.retries += 1
                self._deadline = ticks_add(self._ticks_ms(), self._timeout_ms << self._tries)
                self._tries += 1
                n = self._block_request(self._request)
                await self.send(self._server, self._request, n)
        finally:
            self._fetching = False
        return self._outcome

    async def _end(self, status):
        """Tell the server how it ended; the upgrade time it answers."""
        frame = bytearray(BODY + 9)
        tsn = self.next_tsn()
        self.header(frame, tsn, END_REQUEST, status != SUCCESS)
        frame[3] = status
        frame[4:12] = self._name
        return await self._exchange.ask(
            self._server,
            (END_REQUEST, tsn),
            lambda: self.send(self._server, frame, len(frame)),
            self._timeout_ms,
            self._tries_most,
        )

    def _block_request(self, buf):
        self.header(buf, self.next_tsn(), BLOCK_REQUEST)
        buf[3] = 0
        copy(buf, 4, self._name, 0, 8)
        put_u32(buf, 12, self.offset)
        buf[16] = BLOCK_MAX
        return BODY + 14

    def _server_id(self):
        peer = self.network.peers.get(self._server)
        return int.from_bytes(peer.eui if peer else b"\xff" * 8, "big")

    # what comes from the server

    def _notified(self, peer, frame, reply):
        kind = frame[3]
        if kind > 3 or len(frame) < BODY + (2, 4, 6, 10)[kind]:
            return -1
        identity = self.identity
        ours = (kind < 1 or frame[5] | frame[6] << 8 in (identity.manufacturer, 0xFFFF)) and (
            kind < 2 or frame[7] | frame[8] << 8 in (identity.image_type, 0xFFFF)
        )
        if peer.short == self._server and ours:
            self.ask()
        return self.confirm(frame, reply)

    def _offered(self, peer, frame, reply):
        offer = None
        if frame[3] == SUCCESS:
            if len(frame) != BODY + 13:
                return -1
            offer = struct.unpack_from("<HHII", frame, 4)
            if offer[0] != self.identity.manufacturer or offer[1] != self.identity.image_type:
                offer = None
        self._exchange.answer(peer.short, (QUERY_REQUEST, frame[1]), offer)
        return 0

    def _block(self, peer, frame, reply):
        status = frame[3]
        if not self._fetching or peer.short != self._server:
            return 0
        if status == SUCCESS:
            if len(frame) < BLOCK_DATA + 1 or len(frame) != BLOCK_DATA + frame[16]:
                return -1
            # A block that was not asked for now, such as the second answer to a request sent twice, is let go by: to
            # answer it as well would double every request from then on. The clock asks again.
            if (
                same(frame, 4, self._name, 8)
                and u32(frame, 12) == self.offset
                and self.offset + frame[16] <= self.size
            ):
                return self._take(frame, reply)
            self.strays += 1
            return 0
        if status == WAIT_FOR_DATA:
            if len(frame) < BODY + 9:
                return -1
            now, then = u32(frame, 4), u32(frame, 8)
            wait = min(max(then - now, 1), _WAIT_MOST_S)
            self.waits += 1
            self._tries = 0
            self._deadline = ticks_add(self._ticks_ms(), wait * 1000)
            self._wake.set()
            return 0
        self._stopped = True
        self._finish(ABORT)
        return 0

    def _take(self, frame, reply):
        """Write the block; the next request."""
        try:
            self.sink.write(frame[BLOCK_DATA:])
        except (Refused, OSError):
            self._finish(ABORT)
            return 0
        self.offset += frame[16]
        if self.offset == self.size:
            self._finish(SUCCESS)
            return 0
        self._deadline = ticks_add(self._ticks_ms(), self._timeout_ms)
        if self._tries > 1:  # the watch sleeps for longer than that
            self._wake.set()
        self._tries = 1  # what is sent now is the first
        return self._block_request(reply)

    def _finish(self, outcome):
        self._outcome = outcome
        self._fetching = False
        self._wake.set()

    def _ended(self, peer, frame, reply):
        now, then = struct.unpack_from("<II", frame, 11)
        when = WAIT if then == WAIT else max(then - now, 0)
        self._exchange.answer(peer.short, (END_REQUEST, frame[1]), when)
        return 0

    def on_default_response(self, peer, tsn, command, status):
        if (
            command == BLOCK_REQUEST
            and status != SUCCESS
            and self._fetching
            and peer.short == self._server
        ):
            self._finish(ABORT)  # asked for what the image has not
        elif command == END_REQUEST:
            self._exchange.answer(peer.short, (END_REQUEST, tsn), WAIT)
        elif command == QUERY_REQUEST:
            self._exchange.answer(peer.short, (QUERY_REQUEST, tsn), None)
