# Zigbee's own hash, AES-MMO (Matyas-Meyer-Oseas over AES-128, Zigbee B.6), the keyed hash made of it (B.1.4), and what
# a join needs of them: a device's link key is the hash of the install code on its label, and the network key travels
# under a key made of that.
from cryptolib import aes
from micropython import const

from smets1.octets import xor_into

_BLOCK = const(16)
_KEY_TRANSPORT = b"\x00"  # what the link key is hashed with for the key that carries keys


def mmo(octets):
    """16 octets. No more than 8,189 octets can be hashed."""
    padding = (_BLOCK - 3 - len(octets)) % _BLOCK
    message = octets + b"\x80" + bytes(padding) + (8 * len(octets)).to_bytes(2, "big")
    digest = bytearray(_BLOCK)
    for at in range(0, len(message), _BLOCK):
        block = message[at : at + _BLOCK]
        digest = bytearray(aes(digest, 1).encrypt(block))
        xor_into(digest, 0, block, _BLOCK)
    return bytes(digest)


def keyed(key, octets):
    inner = bytes(octet ^ 0x36 for octet in key)
    outer = bytes(octet ^ 0x5C for octet in key)
    return mmo(outer + mmo(inner + octets))


def key_transport_key(code):
    """Of an install code (6 to 16 octets, without its CRC)."""
    return keyed(link_key(code), _KEY_TRANSPORT)


def link_key(code):
    return mmo(code + _crc16_x25(code).to_bytes(2, "little"))


def _crc16_x25(octets):
    crc = 0xFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc ^ 0xFFFF
