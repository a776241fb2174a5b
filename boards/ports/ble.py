# SMP over BLE, as MCUmgr has it: one service with one characteristic. Requests come as writes without response, answers
# go as notifications, each message as many as it takes; its length is in its header.
#
# It is written on MicroPython's plain `bluetooth`, not on aioble: only official Pico W and Pico 2 W images have that
# frozen in, it keeps ten writes and drops the oldest, and its core, device, peripheral and server take nine times this
# file's heap (25,536 octets where this takes 2,784).
#
# What was written and not read yet is in the stack's append buffer. That takes `size` octets in all, drops what is
# beyond them, and tells nobody. So it is as large as all that a client may have under way (smp_buffers).
import asyncio
import gc

from micropython import const

_SERVICE = "8D53DC1D-1DB7-4CD3-868B-8A527460AA84"
_CHARACTERISTIC = "DA2E7828-FBCE-4E01-AE9E-261174997C48"
_FLAGS = const(0x14)  # write without response, notify

# bluetooth's events
_CONNECTED = const(1)
_DISCONNECTED = const(2)
_WRITTEN = const(3)
_MTU_CHANGED = const(21)

_MTU = const(247)  # a whole LL packet of 251 octets, and what every central of today takes
_LEAST_MTU = const(23)  # until the central asks for more
_ATT = const(3)  # octets of an MTU that are no message's
_INTERVAL_US = const(100_000)  # between two advertisements
_RETRY_MS = const(5)  # after a notification that found no buffer
_TRIES = const(2000)  # of one notification; a client that takes none for so long is no client


def open_link(wanted):
    """The Link that board.json wants ("name", and "smp": octets of a request, requests in flight); None if it wants
    none, or this board has no BLE."""
    if not wanted:
        return None
    try:
        import bluetooth

        return Link(bluetooth, wanted["name"], wanted["smp"])
    except (ImportError, OSError) as e:
        print("no BLE here:", repr(e))
        return None


class Link:
    """One client at a time. It advertises whenever there is none; a client that goes takes what it has begun along."""

    def __init__(self, bluetooth, name, smp_buffers):
        self.smp_buffers = tuple(smp_buffers)
        self._client = None  # its connection's handle
        self._gone = False  # a client went, and the reader has not heard of it
        self._advertised = False
        self._mtu = _LEAST_MTU
        self._octets = b""  # what was taken out of the stack,
        self._at = 0  # and from where on the reader has to have it
        self._happened = asyncio.ThreadSafeFlag()
        service = bluetooth.UUID(_SERVICE)
        # flags (general discovery, no BR/EDR), and the one complete list of 128-bit services
        self._advertisement = b"\x02\x01\x06\x11\x07" + bytes(service)
        self._scan_response = bytes((len(name) + 1, 9)) + name.encode()
        self._ble = bluetooth.BLE()
        self._ble.active(True)
        self._ble.config(mtu=_MTU, gap_name=name)
        self._ble.irq(self._irq)
        characteristic = (bluetooth.UUID(_CHARACTERISTIC), _FLAGS)
        ((self._value,),) = self._ble.gatts_register_services(((service, (characteristic,)),))
        size, count = smp_buffers
        self._ble.gatts_set_buffer(self._value, size * count, True)

    def _irq(self, event, data):
        """May come between any two steps of the others, and must not allocate."""
        if event == _CONNECTED:
            if self._client is not None:  # it came in before the advertising had stopped
                self._drop(data[0])
                return
            self._mtu = _LEAST_MTU
            self._client = data[0]
            self._advertised = False
        elif event == _DISCONNECTED and self._client is None:
            self._advertised = False  # a connection failed, and that ends it as well
        elif data[0] != self._client:
            return
        elif event == _DISCONNECTED:
            self._client = None
            self._gone = True
        elif event == _MTU_CHANGED:
            self._mtu = data[1]
        elif event != _WRITTEN:
            return
        self._happened.set()

    async def readinto(self, buf):
        """Wait for octets; 0: the client is gone, and nothing of it is left."""
        while True:
            if self._gone:
                self._forget()
                return 0
            left = len(self._octets) - self._at
            if left:
                n = min(left, len(buf))
                buf[:n] = memoryview(self._octets)[self._at : self._at + n]
                self._at += n
                return n
            self._take()
            if not self._octets:
                if self._client is None and not self._gone and not self._advertised:
                    await self._advertise()
                await self._happened.wait()

    def _take(self):
        self._octets = b""  # before its room is needed again
        self._at = 0
        try:
            self._octets = self._ble.gatts_read(self._value)
        except MemoryError:
            gc.collect()
            try:
                self._octets = self._ble.gatts_read(self._value)
            except MemoryError:  # in pieces: what is lost is this client's upload, not the board
                self._drop(self._client)

    def _drop(self, client):
        if client is not None:
            try:
                self._ble.gap_disconnect(client)
            except OSError:  # it is gone already
                pass

    def _forget(self):
        self._octets = b""
        self._at = 0
        self._ble.gatts_write(self._value, b"")
        self._gone = False

    async def _advertise(self):
        while True:
            try:
                self._ble.gap_advertise(
                    _INTERVAL_US, adv_data=self._advertisement, resp_data=self._scan_response
                )
                self._advertised = True
                return
            except OSError:  # the stack has not done with the client before
                await asyncio.sleep_ms(_RETRY_MS)

    async def write(self, buf):
        """Notify the client of it, if it is still there; what it does not want to hear is lost."""
        view = memoryview(buf)
        at = 0
        tries = 0
        while at < len(view):
            client = self._client
            if client is None:
                return
            n = self._mtu - _ATT
            try:
                self._ble.gatts_notify(client, self._value, view[at : at + n])
            except OSError:  # its buffers are full, or it is gone this very moment
                tries += 1
                if tries == _TRIES:
                    self._drop(client)
                    return
                await asyncio.sleep_ms(_RETRY_MS)
                continue
            at += n
            tries = 0
