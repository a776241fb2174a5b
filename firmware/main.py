# The firmware's entry: a port (boards/ports) calls run(port); board.json on its flash says what it plays.
# On a chip MicroPython runs this file after a reset.
import asyncio
import gc
import json
import sys

# Modules that both roles need, leaves first. Compiling one takes several times the heap that stays of it, so
# each is compiled with as little as possible open around it, and the heap stays in large pieces. The role is
# the largest: what only it imports comes after it, when that heap is free again. (In a build that has the
# firmware frozen this costs nothing.)
_SHARED = (
    "octets",
    "ota_file",
    "store",
    "han.frames",
    "han.ccm",
    "han.proof",
    "han.network",
    "han.mmo",
    "han.mac",
    "han.zcl",
    "han.tunnel",
    "han.basic",
    "wan.cbor",
    "wan.framing",
    "wan.auth",
    "wan.server",
    "wan.os_group",
    "roles.events",
    "roles.trial",
)
# Octets allocated between two collections, of 32-bit objects; those of a 64-bit VM are twice as large. Rubbish that is
# left until the heap is full scatters what lives long all over it: without this, minutes of traffic leave a CH no free
# piece of 1.2 KB, and no file can be opened any more.
_COLLECT_EVERY = 16_384
_ROLES = {"comms_hub": "CommsHub", "device": "HanDevice"}


def run(port):
    with open(port.root + "/board.json") as f:
        config = json.load(f)
    gc.threshold(_COLLECT_EVERY << (sys.maxsize >> 31 != 0))
    asyncio.run(_run(port, config))


async def _run(port, config):
    try:
        role = make_role(port, config)
        config.clear()  # the role has read it; of a large HAN it is much of a chip's heap
        await role.run()
    except Exception as e:
        if not _may_pass(e):
            raise
        # What has to be in flash before the board may go on (frame counters, that a new firmware has started) is
        # not, or the heap was full. It may work the next time; then a power cut is all that this was.
        print("starting again:", type(e).__name__, e)
        await asyncio.sleep(1)
        port.reset()


def _may_pass(e):
    from smets1.store import StoreError

    return isinstance(e, (OSError, StoreError, MemoryError))


def make_role(port, config):
    role = config["role"]
    name = _ROLES[role]
    for module in _SHARED:
        __import__("smets1." + module)
        gc.collect()
    module = __import__("smets1.roles." + role, None, None, (name,))
    gc.collect()
    return getattr(module, name)(port, config)


if __name__ == "__main__":
    import chip

    chip.start(run)
