# What a device keeps of what it has fetched: an image for its own kind and hardware, whatever the CH has offered.
from test_ota_file import a_file
from test_store import fresh

from smets1.han.basic import Identity
from smets1.roles.device import _Sink


class Heap:
    def sample(self):
        pass


class Device:
    coming = None
    heap = Heap()
    eui = b"\x00\xdb\x12\x34\x56\x78\x90\xa4"

    def __init__(self, manufacturer=0x121D, image_type=0x0084, hardware=0x0102):
        self.store = fresh()
        self.identity = Identity(manufacturer, image_type, 5, hardware, "IHDAE05", "M", "Secure")


def kept(device):
    """Whether the device keeps an image for a PPMID of manufacturer 0x121D, hardware 0x0100 to 0x01FF."""
    image = a_file(b"firmware" * 20)
    sink = _Sink(device)
    sink.begin(len(image), 6, 0x121D, 0x0084)
    sink.write(image)
    good = sink.end()
    if not good:
        sink.drop()
    assert len(device.store.images()) == good and device.store.upload is None
    return good


def test_an_image_for_this_device_is_kept():
    assert kept(Device())
    assert kept(Device(hardware=0x0100)) and kept(Device(hardware=0x01FF)), "both ends are in it"


def test_an_image_for_another_device_is_not():
    assert not kept(Device(hardware=0x00FF)) and not kept(Device(hardware=0x0200))
    assert not kept(Device(image_type=0x0000))
    assert not kept(Device(manufacturer=0x121E))
