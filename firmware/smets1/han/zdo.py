# Device_annce of the Zigbee Device Profile: a device says at boot that it is there and what its addresses are.
import struct

from micropython import const

from smets1.han.frames import same_eui, u16
from smets1.han.ids import BROADCAST_RX_ON, CLUSTER_DEVICE_ANNCE, ENDPOINT_ZDO, PROFILE_ZDP

_CAPABILITY = const(
    0x8C
)  # end device, mains powered, receiver on when idle, takes the address it is given
_SIZE = const(12)


async def announce(network):
    config = network.config
    frame = (
        struct.pack("<BH", 0, config.short) + bytes(reversed(config.eui)) + bytes((_CAPABILITY,))
    )
    await network.send(
        BROADCAST_RX_ON,
        PROFILE_ZDP,
        CLUSTER_DEVICE_ANNCE,
        ENDPOINT_ZDO,
        ENDPOINT_ZDO,
        frame,
        len(frame),
    )


def on_announce(network, callback):
    """Have callback(eui, short) called for each neighbour that announces itself."""

    def receive(peer, frame, reply):
        if len(frame) != _SIZE or u16(frame, 1) != peer.short or not same_eui(frame, 3, peer.eui):
            network.stats["malformed"] += 1
        else:
            callback(peer.eui, peer.short)
        return 0

    network.handle(PROFILE_ZDP, CLUSTER_DEVICE_ANNCE, ENDPOINT_ZDO, receive)
