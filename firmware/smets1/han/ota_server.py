# The OTA Upgrade cluster on the Communications Hub: offers one image a device and hands it out block by block.
import struct

from micropython import const

from smets1.han.frames import copy, same, u32
from smets1.han.ids import (
    ABORT,
    CLUSTER_OTA,
    MALFORMED_COMMAND,
    NO_IMAGE_AVAILABLE,
    SUCCESS,
    WAIT_FOR_DATA,
)
from smets1.han.ota import (
    BLOCK_DATA,
    BLOCK_MAX,
    BLOCK_REQUEST,
    BLOCK_RESPONSE,
    END_REQUEST,
    END_RESPONSE,
    IMAGE_NOTIFY,
    QUERY_REQUEST,
    QUERY_RESPONSE,
    WAIT,
)
from smets1.han.zcl import BODY, Cluster

_PAYLOAD_ALL = const(3)  # Image Notify with manufacturer, image type and version
_JITTER = const(100)  # every client is to answer


class Offer:
    """An image for one device.

    size: octets of the whole OTA file
    reader(offset, buf) -> octets put into buf; None: not ready, the device is told to wait `wait_s`; 0 or OSError: it
    cannot be read, ABORT
    hw_min, hw_max: hardware versions that it fits
    upgrade_time: ota.NOW, ota.WAIT or seconds
    """

    def __init__(
        self,
        manufacturer,
        image_type,
        file_version,
        size,
        reader,
        hw_min=0,
        hw_max=0xFFFF,
        upgrade_time=WAIT,
        wait_s=1,
    ):
        self.manufacturer = manufacturer
        self.image_type = image_type
        self.file_version = file_version
        self.size = size
        self.reader = reader
        self.hw_min = hw_min
        self.hw_max = hw_max
        self.upgrade_time = upgrade_time
        self.wait_s = wait_s
        self.ended = None  # the status of the device's Upgrade End Request, when it came
        # what each request and answer about this image repeats
        self.name = struct.pack("<HHI", manufacturer, image_type, file_version)


class OtaServer(Cluster):
    """on_progress(eui, offset): the device has asked for the block at `offset`; on_end(eui, status): it has ended,
    once for each download. on_query(eui, status): it has asked for an image and was answered with this status."""

    def __init__(self, network, on_progress=None, on_end=None, on_query=None):
        super().__init__(network, CLUSTER_OTA, True)
        self.on_query = on_query
        self.on_progress = on_progress
        self.on_end = on_end
        self.offers = {}  # EUI-64: Offer
        self.commands = {
            QUERY_REQUEST: (9, self._query),
            BLOCK_REQUEST: (14, self._block),
            END_REQUEST: (9, self._end),
        }

    def offer(self, eui, offer):
        """Offer an image to a device in place of any earlier one."""
        self.offers[eui] = offer

    def withdraw(self, eui):
        """Offer nothing; a download under way is answered ABORT."""
        self.offers.pop(eui, None)

    async def notify(self, eui, jitter=_JITTER):
        """Tell the device of its offer (Image Notify); jitter: 1 to 100."""
        offer = self.offers[eui]
        frame = bytearray(13)
        self.header(frame, self.next_tsn(), IMAGE_NOTIFY)
        frame[3] = _PAYLOAD_ALL
        frame[4] = jitter
        frame[5:13] = offer.name
        await self.send(self.network.peer(eui).short, frame, len(frame))

    def _named(self, peer, frame, at):
        """The peer's offer if frame[at:] names it: manufacturer, image type, version."""
        offer = self.offers.get(peer.eui)
        if offer is None or not same(frame, at, offer.name, 8):
            return None
        return offer

    def _query(self, peer, frame, reply):
        control, manufacturer, image_type, current = struct.unpack_from("<BHHI", frame, BODY)
        hardware = None
        if control & 1:
            if len(frame) < BODY + 11:
                return -1
            hardware = frame[BODY + 9] | frame[BODY + 10] << 8
        self.header(reply, frame[1], QUERY_RESPONSE)
        offer = self.offers.get(peer.eui)
        if (
            offer is None
            or offer.manufacturer != manufacturer
            or offer.image_type != image_type
            or offer.file_version == current
            or (hardware is not None and not offer.hw_min <= hardware <= offer.hw_max)
        ):
            reply[3] = NO_IMAGE_AVAILABLE
            self._tell_query(peer, NO_IMAGE_AVAILABLE)
            return 4
        offer.ended = None
        reply[3] = SUCCESS
        reply[4:12] = offer.name
        struct.pack_into("<I", reply, 12, offer.size)
        self._tell_query(peer, SUCCESS)
        return 16

    def _tell_query(self, peer, status):
        if self.on_query:
            self.on_query(peer.eui, status)

    def _block(self, peer, frame, reply):
        self.header(reply, frame[1], BLOCK_RESPONSE)
        offer = self._named(peer, frame, BODY + 1)
        if offer is None:
            reply[3] = ABORT
            return 4
        offset = u32(frame, BODY + 9)
        wanted = min(frame[BODY + 13], BLOCK_MAX, offer.size - offset)
        if wanted <= 0:  # past the end, or nothing asked for
            return self.default_response(frame, reply, MALFORMED_COMMAND)
        try:
            n = offer.reader(offset, reply[BLOCK_DATA : BLOCK_DATA + wanted])
        except OSError:
            n = 0
        if n is None:
            reply[3] = WAIT_FOR_DATA
            struct.pack_into("<IIH", reply, 4, 0, offer.wait_s, 0)
            return 14
        if not n:  # it cannot be read any more
            reply[3] = ABORT
            return 4
        reply[3] = SUCCESS
        copy(reply, 4, frame, 4, 12)
        reply[16] = n
        if self.on_progress:
            self.on_progress(peer.eui, offset)
        return BLOCK_DATA + n

    def _end(self, peer, frame, reply):
        status = frame[3]
        offer = self._named(peer, frame, BODY + 1)
        if offer is not None and offer.ended is None:
            offer.ended = status
            if self.on_end:
                self.on_end(peer.eui, status)
        if status != SUCCESS:
            return self.confirm(frame, reply)
        # withdrawn in the meantime: the device keeps what it has until it is told more
        when = WAIT if offer is None else offer.upgrade_time
        self.header(reply, frame[1], END_RESPONSE)
        copy(reply, 3, frame, 4, 8)
        struct.pack_into("<II", reply, 11, 0, when)
        return 19
