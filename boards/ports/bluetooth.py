# MicroPython's module `bluetooth` on an emulated board, whose VM has none: what boards/ports/ble.py needs of it, a
# peripheral with a GATT server. As on a chip an append buffer takes so many octets, and drops what is beyond them
# without a word. The radio is the bench's; what goes to it and comes from it, little-endian:
#
#     A active u8 | mtu u16                                           to the radio: on, off; the MTU it may agree to
#     S count u8, then for each characteristic: handle u16, flags u8, service 16 octets, characteristic 16 octets
#     V interval in µs u32, length u8, advertisement, scan response   advertise; interval 0: stop
#     N connection u16, handle u16, octets                            notify
#     D connection u16                                                disconnect
#
#     1 connection u16, address type u8, address 6 octets             from it, the module's own numbers: connected
#     2 the same                                                      disconnected
#     3 connection u16, handle u16, octets                            written
#     21 connection u16, MTU u16                                      the MTU has changed
import struct

_CONNECTED = 1
_DISCONNECTED = 2
_WRITTEN = 3
_MTU_CHANGED = 21
_ENODEV = 19
_ENOTCONN = 128
_FIRST_HANDLE = 16  # nobody should count on another


class UUID:
    """Of 16 octets, from a text."""

    def __init__(self, text):
        digits = text.replace("-", "")
        self._octets = bytes(int(digits[i : i + 2], 16) for i in range(30, -2, -2))

    def __iter__(self):  # bytes(uuid), as of the real one: least significant octet first
        return iter(self._octets)


class _Value:
    """Of a characteristic."""

    def __init__(self):
        self.resize(20, False)

    def resize(self, room, append):
        self.append = append
        self._octets = bytearray(room)
        self._fill = 0

    def write(self, octets):
        at = self._fill if self.append else 0
        n = min(len(octets), len(self._octets) - at)
        self._octets[at : at + n] = memoryview(octets)[:n]
        self._fill = at + n

    def read(self):
        octets = bytes(memoryview(self._octets)[: self._fill])
        if self.append:
            self._fill = 0
        return octets

    def overwrite(self, octets):
        self._fill = 0
        self.write(octets)


class BLE:
    """There is one radio."""

    _one = None

    def __new__(cls):
        if cls._one is None:
            self = cls._one = object.__new__(cls)
            self.send = None  # set by the port
            self._on = False
            self._handler = None
            self._mtu = 256
            self._values = {}
            self._connections = set()
        return cls._one

    def active(self, on):
        self._on = on
        self._tell_settings()

    def config(self, mtu, gap_name):
        self._mtu = mtu
        self._tell_settings()

    def _tell_settings(self):
        self.send(b"A" + struct.pack("<BH", self._on, self._mtu))

    def irq(self, handler):
        self._handler = handler

    def gatts_register_services(self, services):
        self._check()
        told = bytearray()
        handles = []
        for service, characteristics in services:
            ours = []
            for characteristic, flags in characteristics:
                handle = _FIRST_HANDLE + 3 * len(self._values)
                self._values[handle] = _Value()
                ours.append(handle)
                told += struct.pack("<HB", handle, flags) + bytes(service) + bytes(characteristic)
            handles.append(tuple(ours))
        self.send(b"S" + bytes((len(self._values),)) + told)
        return tuple(handles)

    def gatts_set_buffer(self, handle, size, append):
        self._values[handle].resize(size, append)

    def gatts_read(self, handle):
        return self._values[handle].read()

    def gatts_write(self, handle, octets):
        self._values[handle].overwrite(octets)

    def gatts_notify(self, connection, handle, octets):
        self._check()
        if connection not in self._connections:
            raise OSError(_ENOTCONN)
        self.send(b"N" + struct.pack("<HH", connection, handle) + bytes(octets))

    def gap_advertise(self, interval_us, adv_data, resp_data):
        self._check()
        self.send(b"V" + struct.pack("<IB", interval_us, len(adv_data)) + adv_data + resp_data)

    def gap_disconnect(self, connection):
        self._check()
        self.send(b"D" + struct.pack("<H", connection))
        return connection in self._connections

    def feed(self, octets):
        """An event of the radio's, whole."""
        event = octets[0]
        connection = struct.unpack_from("<H", octets, 1)[0]
        if event in (_CONNECTED, _DISCONNECTED):
            if event == _CONNECTED:
                self._connections.add(connection)
            else:
                self._connections.discard(connection)
            data = connection, octets[3], bytes(octets[4:10])
        elif event == _WRITTEN:
            handle = struct.unpack_from("<H", octets, 3)[0]
            self._values[handle].write(octets[5:])
            data = connection, handle
        elif event == _MTU_CHANGED:
            data = connection, struct.unpack_from("<H", octets, 3)[0]
        if self._handler:
            self._handler(event, data)

    def _check(self):
        if not self._on:
            raise OSError(_ENODEV)
