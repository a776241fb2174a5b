# What both sides of the OTA Upgrade cluster know: commands, attributes, sizes.
from micropython import const

from smets1.han.frames import PAYLOAD_MAX

IMAGE_NOTIFY = const(0x00)
QUERY_REQUEST = const(0x01)
QUERY_RESPONSE = const(0x02)
BLOCK_REQUEST = const(0x03)
BLOCK_RESPONSE = const(0x05)
END_REQUEST = const(0x06)
END_RESPONSE = const(0x07)

# attributes, all of the client
UPGRADE_SERVER_ID = const(0x0000)
FILE_OFFSET = const(0x0001)
CURRENT_FILE_VERSION = const(0x0002)
IMAGE_UPGRADE_STATUS = const(0x0006)
MANUFACTURER_ID = const(0x0007)
IMAGE_TYPE_ID = const(0x0008)

# ImageUpgradeStatus
NORMAL = const(0)
DOWNLOADING = const(1)
COMPLETE = const(2)
WAITING_TO_UPGRADE = const(3)
COUNT_DOWN = const(4)

NOW = const(0)  # upgrade time
WAIT = const(0xFFFF_FFFF)  # upgrade time: not before it is told to (11.3)

BLOCK_DATA = const(17)  # where the data of a Block Response starts
BLOCK_MAX = PAYLOAD_MAX - BLOCK_DATA  # 65: the most data that a secured frame takes
