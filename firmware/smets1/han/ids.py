# The numbers of the HAN in one place: profiles, endpoint, clusters, ZCL statuses and attribute types.
from micropython import const

PROFILE_ZDP = const(0x0000)  # Zigbee Device Profile
PROFILE_SE = const(0x0109)  # Smart Energy

ENDPOINT_ZDO = const(0)
ENDPOINT = const(1)  # every device and the CH have their Smart Energy clusters here

CLUSTER_BASIC = const(0x0000)
CLUSTER_OTA = const(0x0019)
CLUSTER_TUNNELING = const(0x0704)
CLUSTER_PROOF = const(0xFC53)  # of those that are free for manufacturers: proof.py
CLUSTER_DEVICE_ANNCE = const(0x0013)  # in the Zigbee Device Profile

COORDINATOR = const(0x0000)  # the short address of a Communications Hub
NO_ADDRESS = const(0xFFFE)  # of a node that is on no HAN, and NO_PAN is its PAN
NO_PAN = const(0xFFFF)
BROADCAST_ALL = const(0xFFFF)
BROADCAST_RX_ON = const(0xFFFD)  # every device whose receiver is on when idle
BROADCAST_FIRST = const(0xFFF8)  # this and above are broadcast addresses

LEAVE = const(0x04)  # a NWK command
LEAVE_REQUEST = const(0x40)  # among its options: leave, please; without it: I leave

SUCCESS = const(0x00)
NOT_AUTHORIZED = const(0x7E)
MALFORMED_COMMAND = const(0x80)
UNSUP_CLUSTER_COMMAND = const(0x81)
UNSUP_GENERAL_COMMAND = const(0x82)
UNSUP_MANUF_CLUSTER_COMMAND = const(0x83)
UNSUPPORTED_ATTRIBUTE = const(0x86)
TIMEOUT = const(0x94)
ABORT = const(0x95)
INVALID_IMAGE = const(0x96)
WAIT_FOR_DATA = const(0x97)
NO_IMAGE_AVAILABLE = const(0x98)

TYPE_U8 = const(0x20)
TYPE_U16 = const(0x21)
TYPE_U32 = const(0x23)
TYPE_ENUM8 = const(0x30)
TYPE_STRING = const(0x42)
TYPE_EUI64 = const(0xF0)
