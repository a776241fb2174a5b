# boards/ports/chip.py: links on the chip's UARTs, and a start that leaves no board dead.
import asyncio
import io
import json
import os
import sys
import time

sys.path.append(sys.path[0] + "/../../boards/ports")

RESETS = []


class Uart(io.IOBase):
    """As machine.UART: gives what has arrived, and takes `room` octets at once."""

    RTS, CTS, IRQ_RXIDLE = 2, 1, 64
    made = []

    def __init__(self, number, **options):
        self.number = number
        self.options = options
        self.arrived = b""
        self.sent = b""
        self.room = 1000
        self.asked = []  # how many octets were asked for, each time
        self.interrupt = None
        self.made.append(self)

    def irq(self, handler, trigger):
        self.interrupt = trigger

    def any(self):
        return len(self.arrived)

    def readinto(self, buf):
        self.asked.append(len(buf))
        n = min(len(buf), len(self.arrived))
        buf[:n] = self.arrived[:n]
        self.arrived = self.arrived[n:]
        return n or None

    def write(self, buf):
        n = min(self.room, len(buf))
        self.sent += bytes(buf[:n])
        return n

    def ioctl(self, request, flags):
        return flags & ((1 if self.arrived else 0) | 4)


class Wdt:
    """Bites when nobody has fed it for its time; `now` is moved on by the test."""

    made = []

    def __init__(self, timeout):
        self.timeout = timeout
        self.fed = 0
        self.made.append(self)

    def feed(self):
        self.fed += 1


class Timer:
    running = []

    def __init__(self, id):
        self.id = id

    def init(self, period, callback):
        self.period = period
        self.callback = callback
        self.running.append(self)

    def deinit(self):
        self.running.remove(self)


class Machine:
    UART = Uart
    WDT = Wdt
    Timer = Timer

    @staticmethod
    def Pin(number):
        return "GPIO%d" % number

    @staticmethod
    def reset():
        RESETS.append(1)

    @staticmethod
    def unique_id():
        return b"12345678"


sys.modules["machine"] = Machine

import chip


class Time:
    """Nobody waits."""

    ticks_ms = time.ticks_ms

    @staticmethod
    def sleep(seconds):
        pass

    sleep_ms = sleep


chip.time = Time

EUI = b"\x00\x11\x22\x33\x44\x55\x66\x77"
WIRING = {
    "smp": [4096, 1],
    "wan": {"baud": 115200, "rxbuf": 4096, "uart": 0, "tx": 0, "rx": 1},
    "han": {"baud": 57600, "rxbuf": 2048, "uart": 1, "tx": 4, "rx": 5, "rts": 6, "cts": 7},
}


def provisioned(text):
    chip._ROOT = "."  # each test has a folder of its own (conftest.py)
    with open("board.json", "w") as f:
        f.write(text)


def test_the_port_is_wired_as_board_json_says():
    port = chip.Port(WIRING, EUI)
    wan, han = Uart.made
    assert (wan.number, wan.options["tx"], wan.options["rx"]) == (0, "GPIO0", "GPIO1")
    assert (wan.options["baudrate"], han.options["baudrate"]) == (115200, 57600)
    assert "flow" not in wan.options and han.options["flow"] == Uart.RTS | Uart.CTS
    assert (wan.options["rxbuf"], han.options["rxbuf"]) == (4096, 2048)
    assert port.smp_buffers == (4096, 1) and port.root == "/hanlab"
    assert port.unique_id() == b"12345678" and len(port.random(16)) == 16
    assert port.random(16) != port.random(16)
    assert isinstance(port.ticks_ms(), int)


def test_wan_and_han_on_one_cable():
    wiring = {
        "kind": "uart",
        "uart": 1,
        "tx": 1,
        "rx": 3,
        "baud": 460800,
        "rxbuf": 2048,
        "rings": [4096, 2048],
    }
    port = chip.Port({"smp": [4096, 2], "cable": wiring}, EUI)
    (uart,) = Uart.made
    assert (uart.number, uart.options["tx"], uart.options["rx"]) == (1, "GPIO1", "GPIO3")
    assert (uart.options["baudrate"], uart.options["rxbuf"]) == (460800, 2048)
    buf = bytearray(100)

    async def both():
        uart.arrived = b"\x00\x05\x05\x07han\x00wan\x00\x05\x02h\x00"
        n = await port.wan.readinto(buf)
        assert buf[:n] == b"\x00wan\x00"
        n = await port.han.readinto(buf)
        assert buf[:n] == b"\x02h\x00"
        await port.han.write(b"\x02H\x00")
        await port.wan.write(b"WAN\x00")

    asyncio.run(both())
    hello = b"\x00\x05\x05\x07han\x08" + EUI[1:] + b"\x00"
    assert uart.sent == hello + b"\x00\x05\x02H\x00WAN\x00", uart.sent


def test_a_cable_on_usb_is_a_second_interface():
    class Cdc(Uart):
        def __init__(self, **options):
            super().__init__(None, **options)

    class Devices:
        begun = []

        def init(self, *interfaces, builtin_driver):
            self.begun.append((interfaces, builtin_driver))

    class Module:
        pass

    usb, device, cdc = Module(), Module(), Module()
    usb.device, device.get, device.cdc, cdc.CDCInterface = device, Devices, cdc, Cdc
    for name, module in (("usb", usb), ("usb.device", device), ("usb.device.cdc", cdc)):
        sys.modules[name] = module
    port = chip.Port({"smp": [4096, 1], "cable": {"kind": "usb", "rings": [4096, 2048]}}, EUI)
    (interface,) = Uart.made
    assert Devices.begun == [((interface,), True)]  # and the REPL stays
    assert interface.options["timeout"] == 0  # what is not there is not waited for
    buf = bytearray(100)

    async def read():
        interface.arrived = b"octets"
        n = await port.wan.readinto(buf)
        assert buf[:n] == b"octets"
        await port.wan.write(b"answer")

    asyncio.run(read())
    assert interface.sent == b"answer"


def test_ble_is_there_where_board_json_wants_it():
    class Ble:
        @staticmethod
        def open_link(wanted):
            return wanted["name"]

    sys.modules["ble"] = Ble
    assert chip.Port(WIRING, EUI).ble is None
    wanted = {"name": "hanlab-90A2", "smp": [976, 5]}
    assert chip.Port(dict(WIRING, ble=wanted), EUI).ble == "hanlab-90A2"
    del sys.modules["ble"]


def test_a_wire_that_gives_nothing_is_nobody_who_has_gone():
    link = chip.Port(WIRING, EUI).wan
    uart = Uart.made[0]
    buf = bytearray(8)

    async def read():
        uart.arrived = b"?"
        given = uart.readinto
        uart.readinto = lambda buf: None  # ready, and nothing in it
        reading = asyncio.create_task(link.readinto(buf))
        await asyncio.sleep_ms(1)
        uart.readinto = given
        return await reading

    assert asyncio.run(read()) == 1 and buf[0] == 63


def test_a_link_gives_what_is_there_and_never_asks_for_more():
    link = chip.Port(WIRING, EUI).wan
    uart = Uart.made[0]
    buf = bytearray(100)

    async def read():
        uart.arrived = b"hello"
        n = await link.readinto(buf)
        assert buf[:n] == b"hello"
        assert uart.asked == [1, 4]  # more would have held the board up until the line is idle
        uart.arrived = b"x"
        assert await link.readinto(buf) == 1 and buf[0] == 120
        uart.arrived = bytes(300)
        assert await link.readinto(buf) == 100 and len(uart.arrived) == 200

    asyncio.run(read())


def test_a_link_waits_for_octets_and_lets_others_work():
    link = chip.Port(WIRING, EUI).wan
    uart = Uart.made[0]
    order = []

    async def read():
        buf = bytearray(8)
        order.append(bytes(buf[: await link.readinto(buf)]))

    async def other():
        order.append("works")
        uart.arrived = b"late"

    async def both():
        await asyncio.gather(read(), other())

    asyncio.run(both())
    assert order == ["works", b"late"]


def test_what_the_driver_does_not_take_at_once_is_sent_later_and_in_order():
    link = chip.Port(WIRING, EUI).han
    uart = Uart.made[1]
    uart.room = 10
    octets = bytes(range(256))

    async def write():
        await asyncio.gather(link.write(memoryview(octets)), link.write(b"second"))

    asyncio.run(write())
    assert uart.sent == octets + b"second"


def test_a_board_that_nobody_has_provisioned_leaves_the_repl():
    for text in ("", "{}", "[", '{"port": '):
        provisioned(text)
        chip.start(lambda port: RESETS.append("ran"))
        assert RESETS == []
    chip._ROOT = "/no/such/folder"
    chip.start(lambda port: RESETS.append("ran"))
    assert RESETS == []


def test_firmware_that_ends_or_fails_starts_again():
    def fails(port):
        raise ValueError("broken")

    for run in (fails, lambda port: None):
        provisioned(json.dumps({"eui": "0011223344556677", "port": WIRING}))
        chip.start(run)
    assert RESETS == [1, 1]


def test_firmware_that_does_not_come_round_is_not_fed():
    import watchdog

    fed = []

    def hangs(port):
        async def works():
            await asyncio.sleep_ms(0)
            fed.append(Wdt.made[-1].fed)  # from the loop, which comes round
            assert Timer.running == []  # and from nothing else
            for _ in range(1000):  # it hangs: as long as this takes nobody feeds it
                pass
            fed.append(Wdt.made[-1].fed)

        asyncio.run(works())

    watchdog.at_repl()  # as boot.py does
    (timer,) = Timer.running
    timer.callback(timer)
    assert Wdt.made[-1].fed == 1 and Wdt.made[-1].timeout >= 4 * timer.period
    provisioned(json.dumps({"eui": "0011223344556677", "port": WIRING}))
    chip.start(hangs)
    assert fed == [1, 1]
    assert len(Timer.running) == 1  # it has ended: who is at the REPL now has time


def test_ctrl_c_at_the_repl_stops_it():
    def stopped(port):
        raise KeyboardInterrupt

    provisioned(json.dumps({"eui": "0011223344556677", "port": WIRING}))
    try:
        chip.start(stopped)
        raise AssertionError("it went on")
    except KeyboardInterrupt:
        pass
    assert RESETS == []
    (timer,) = Timer.running  # who is at the REPL need not hurry
    timer.callback(timer)
    assert Wdt.made[-1].fed == 1


def test_what_a_test_writes_is_in_a_folder_of_its_own():
    assert os.listdir(".") == []
