# The Basic cluster: who a device is. And 11.2 Read Firmware Version, which reads it.
from smets1.han.ids import CLUSTER_BASIC, TYPE_STRING, TYPE_U8
from smets1.han.zcl import Cluster

HW_VERSION = 0x0003
MANUFACTURER_NAME = 0x0004
MODEL_IDENTIFIER = 0x0005
SW_BUILD_ID = 0x4000


class Identity:
    """What a device says of itself.

    manufacturer, image_type, hardware: 16 bits; file_version: 32 bits, of the running image; software: the version as
    the manufacturer writes it (at most 16 octets); model, maker: text of at most 32 octets.
    """

    def __init__(self, manufacturer, image_type, file_version, hardware, software, model, maker):
        self.manufacturer = manufacturer
        self.image_type = image_type
        self.file_version = file_version
        self.hardware = hardware
        self.software = software
        self.model = model
        self.maker = maker


class BasicServer(Cluster):
    """The device's side."""

    def __init__(self, network, identity):
        super().__init__(network, CLUSTER_BASIC, True)
        self.attributes = {
            # a hardware version's low octet is its revision, for which this attribute has no room
            HW_VERSION: (TYPE_U8, lambda: identity.hardware >> 8),
            MANUFACTURER_NAME: (TYPE_STRING, lambda: identity.maker),
            MODEL_IDENTIFIER: (TYPE_STRING, lambda: identity.model),
            SW_BUILD_ID: (TYPE_STRING, lambda: identity.software),
        }


class BasicClient(Cluster):
    """The CH's side."""

    def __init__(self, network):
        super().__init__(network, CLUSTER_BASIC, False)


async def read_firmware_version(basic, ota_server, short, timeout_ms=1000, tries=4):
    """11.2: (version as the manufacturer writes it, file version) of the device at `short`; None for what it has not.

    NoAnswer if it does not answer.
    """
    from smets1.han.ota import CURRENT_FILE_VERSION

    build = await basic.read(short, (SW_BUILD_ID,), timeout_ms, tries)
    current = await ota_server.read(short, (CURRENT_FILE_VERSION,), timeout_ms, tries)
    return build.get(SW_BUILD_ID), current.get(CURRENT_FILE_VERSION)
