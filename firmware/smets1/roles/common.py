# What both roles build from board.json, and what they read out of an OTA file in their store.
import binascii
import hashlib

from smets1 import ota_file
from smets1.han.counters import Counters
from smets1.store import StoreError
from smets1.wan.auth import Floor, Session
from smets1.wan.server import Server


def counters_for(port, key, home_key):
    """The frame counters of one network key, which are kept for the day when the board is on that network again."""
    path = port.root + "/counters"
    if key != home_key:
        path += ".%08x" % binascii.crc32(key)
    return Counters(path, key, port.random)


def file_version(version):
    """The 32-bit file version of a version string, as the host makes it for an image."""
    if len(version) == 8:
        try:
            return int(version, 16)
        except ValueError:
            pass
    return binascii.crc32(version.encode())


def describe(upload):
    """What the store keeps with an image: who it is for, its version, its Manufacturer Image hash.

    Raises ota_file.NotOta for what is no OTA file, or one whose header tells another size.
    """
    head = bytearray(ota_file.HEAD_MAX)
    n = upload.read(0, head)
    header = ota_file.OtaHeader(memoryview(head)[:n])
    if header.size != upload.size:
        raise ota_file.NotOta
    start, end = header.manufacturer_image(upload.read)
    block = bytearray(ota_file.METADATA)
    n = upload.read(start, block)
    maker = ota_file.metadata_manufacturer(memoryview(block)[:n])
    mark = bytearray(len(ota_file.NO_BOOT))
    upload.read(start if maker is None else start + ota_file.METADATA, mark)
    return {
        "type": header.device_type(),
        "version": header.version(),
        "file_version": header.file_version,
        "manufacturer": header.manufacturer,
        "image_type": header.image_type,
        "hardware": list(header.hardware),
        "for": binascii.hexlify(header.destination).decode() if header.destination else "",
        "metadata": maker or "",
        "boots": mark != ota_file.NO_BOOT,
        "hash": binascii.hexlify(upload.digest(start, end)).decode(),
    }


def page(items, skip, most):
    """At most `most` of the items behind the first `skip`, and whether there are more."""
    skip = min(skip, len(items))  # a chip's slices take machine words
    return items[skip : skip + most], len(items) > skip + most


def store_report(store, verify, skip, most):
    """What a store holds, its images a page at a time; verify: each image's SHA-256 is computed afresh from flash,
    and that of the octets which an unfinished upload has so far."""
    report = store.report()
    report["recovered"] = store.recovered
    images, more = page(store.images(), skip, most)
    report["images"] = [_image_report(store, image, verify) for image in images]
    if more:
        report["more"] = True
    upload = store.upload
    if upload and upload.sha:
        report["partial"] = {
            "id": upload.id,
            "sha": upload.sha,
            "size": upload.size,
            "off": upload.offset,
        }
        if verify:
            report["partial"]["digest"] = _digest_of(upload)
    return report


def _digest_of(upload):
    """SHA-256 of the octets so far; empty if flash does not give them."""
    if not upload.offset:
        return hashlib.sha256(b"").digest()  # there may be no file yet
    try:
        return upload.digest(0, upload.offset)
    except StoreError:
        return b""


def _image_report(store, image, verify):
    report = {
        "id": image.id,
        "size": image.size,
        "state": image.state,
        "sha": image.sha,
        "hash": binascii.unhexlify(image.info.get("hash", "")),
        "type": image.info.get("type", ""),
        "version": image.info.get("version", ""),
    }
    if verify:
        report["ok"] = is_sound(store, image)
    return report


def is_sound(store, image):
    """Whether flash still holds what was stored."""
    try:
        return store.digest(image) == image.sha
    except StoreError:
        return False


def place(network, state):
    """Where a board is on the air. state: "none", "trial" (let in by a CH that has yet to prove itself) or "joined"."""
    return {"pan": network.config.pan_id, "address": network.config.short, "state": state}


def wan_servers(port, groups, config):
    """A server on each WAN link of the board: its cable, and BLE where it has that. One client at a time writes."""
    floor = Floor()
    servers = [Server(port.wan, groups, *port.smp_buffers, Session(port, config, floor))]
    if port.ble:
        servers.append(
            Server(port.ble, groups, *port.ble.smp_buffers, Session(port, config, floor))
        )
    return servers


def counters(network, servers):
    """What did not belong, by layer; of all WAN links together."""
    wan = {"dropped": 0, "failures": 0, "repeats": 0}
    for server in servers:
        wan["dropped"] += server.reader.dropped
        wan["failures"] += server.failures
        wan["repeats"] += server.repeats
        for name, count in server.session.stats.items():
            wan[name] = wan.get(name, 0) + count
    return {"han": network.stats, "wan": wan}
