# The port of a real chip (MicroPython's rp2 and esp32): its links, on one cable or on UARTs of their own, and the
# chip's own filesystem. After a reset MicroPython runs main.py, which calls start(). /hanlab/board.json says what is
# wired where ("port").
import asyncio
import json
import os
import sys
import time
from binascii import unhexlify

import machine
import watchdog
from micropython import const

_ROOT = "/hanlab"
_BUSY_WAIT = const(
    1
)  # ms between two octets of what is sent: longer than one takes at any rate in use
_PAUSE = const(
    5
)  # seconds in which Ctrl-C at the REPL keeps a board that fails from starting again
_LATCH_MS = const(
    500
)  # in which Ctrl-C stops a board whose REPL is about to lose its pins to the cable
_REPL_BAUD = const(115_200)
_USB_BUF = const(1024)  # octets of each ring of a USB interface
_TXBUF = const(
    1024
)  # an ESP32's UART holds the whole board up while there is no room for what is sent


class UsbLink:
    """A CDC interface of the board's USB, beside the REPL's (micropython-lib's usb-device-cdc)."""

    def __init__(self, cdc):
        self._stream = asyncio.StreamReader(cdc)
        self._sending = asyncio.Lock()

    async def readinto(self, buf):
        n = 0  # which would say that somebody is gone
        while not n:
            n = await self._stream.readinto(buf)
        return n

    async def write(self, buf):
        async with self._sending:
            self._stream.write(buf)
            await self._stream.drain()


class Link:
    """One of the board's UARTs: what arrives waits in the driver's ring."""

    def __init__(self, uart):
        self._uart = uart
        self._stream = asyncio.StreamReader(uart)
        self._sending = asyncio.Lock()  # a stream that two tasks drain at once loses octets

    async def readinto(self, buf):
        """Wait for octets, and take those that are there: to ask for more holds the whole board up."""
        view = memoryview(buf)
        n = 0  # which would say that somebody is gone
        while not n:
            n = await self._stream.readinto(view[:1])
        there = min(self._uart.any(), len(view) - 1)
        if there:
            n += self._uart.readinto(view[1 : 1 + there]) or 0
        return n

    async def write(self, buf):
        async with self._sending:
            self._stream.write(buf)
            await self._stream.drain()


class Port:
    """What every port gives the firmware; see boards/README.md."""

    def __init__(self, config, eui):
        if "cable" in config:
            import cable

            wiring = config["cable"]
            stream = UsbLink(_usb()) if wiring["kind"] == "usb" else Link(_uart(wiring))
            self.wan, self.han = cable.sides(stream, wiring["rings"], eui)
        else:
            self.wan = Link(_uart(config["wan"]))
            self.han = Link(_uart(config["han"]))
        self.ble = _ble(config)
        self.root = _ROOT
        self.smp_buffers = tuple(config["smp"])

    def ticks_ms(self):
        return time.ticks_ms()

    def random(self, n):
        return os.urandom(n)

    def unique_id(self):
        return machine.unique_id()

    def reset(self):
        machine.reset()


def _usb():
    import usb.device
    from usb.device.cdc import CDCInterface

    cdc = CDCInterface(timeout=0, txbuf=_USB_BUF, rxbuf=_USB_BUF)
    usb.device.get().init(cdc, builtin_driver=True)
    return cdc


def _uart(wiring):
    pins = {pin: machine.Pin(wiring[pin]) for pin in ("tx", "rx", "rts", "cts") if pin in wiring}
    if "rts" in pins:
        pins["flow"] = machine.UART.RTS | machine.UART.CTS
    if sys.platform == "esp32":
        pins["txbuf"] = _TXBUF
    uart = machine.UART(
        wiring["uart"],
        baudrate=wiring["baud"],
        rxbuf=wiring["rxbuf"],
        timeout=0,
        timeout_char=_BUSY_WAIT,
        **pins,
    )
    if sys.platform == "rp2":
        # With this handler the chip interrupts at 3/4 of its FIFO instead of at 1/8: a sixth of the interrupts.
        uart.irq(_nothing, machine.UART.IRQ_RXIDLE)
    return uart


def _ble(config):
    if "ble" not in config:
        return None
    import ble  # on no heap that has no use for it

    return ble.open_link(config["ble"])


def _nothing(uart):
    pass


def _takes_repl(port):
    """Its cable is on the pins of an ESP32's REPL."""
    return sys.platform == "esp32" and port.get("cable", {}).get("kind") == "uart"


def _give_repl_back(port):
    if _takes_repl(port):
        cable = port["cable"]
        machine.UART(0, _REPL_BAUD, tx=machine.Pin(cable["tx"]), rx=machine.Pin(cable["rx"]))


def start(run):
    """Run the firmware for ever, whatever happens; Ctrl-C at the REPL ends it."""
    try:
        with open(_ROOT + "/board.json") as f:
            config = json.load(f)
        port, eui = config["port"], unhexlify(config["eui"])
        del config
    except (OSError, ValueError, KeyError, TypeError) as e:
        print("hanlab: no good %s/board.json (%r); hanlab provision makes one" % (_ROOT, e))
        return
    if _takes_repl(port):
        print("hanlab: Ctrl-C within %d ms for the REPL" % _LATCH_MS)
        time.sleep_ms(_LATCH_MS)
    why = None
    try:
        watchdog.in_loop()
        run(Port(port, eui))
    except Exception as e:
        why = e
    finally:  # also of Ctrl-C
        watchdog.at_repl()
        _give_repl_back(port)
    if why:
        sys.print_exception(why)
    print("hanlab: starting again in %d s; Ctrl-C stops it" % _PAUSE)
    time.sleep(_PAUSE)
    machine.reset()
