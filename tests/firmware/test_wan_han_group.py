from test_wan_server import READ, V1, WRITE, ask, request

from smets1.roles.common import page
from smets1.wan.han_group import BAD_REQUEST, BUSY, GROUP, NO_DEVICE, HanGroup
from smets1.wan.smp import SmpError

EUI = bytes.fromhex("00db1234567890a2")
HASH = bytes(range(32))
MAC = bytes(range(32, 64))
DCO_MAC = bytes(range(64, 96))
# activate {"eui", "hash", "counter": 70000, "mac", "dco_mac"} as smp 4.2 encodes it
ACTIVATE = (
    "0a00009253310f04a5636575694800db1234567890a2636d61635820202122232425262728292a2b2c2d2e2f30313233"
    "3435363738393a3b3c3d3e3f64686173685820000102030405060708090a0b0c0d0e0f10111213141516171819"
    "1a1b1c1d1e1f67636f756e7465721a000111706764636f5f6d61635820404142434445464748494a4b4c4d4e4f"
    "505152535455565758595a5b5c5d5e5f"
)


DEVICES = [
    {"eui": bytes(7) + bytes((n,)), "type": "PPMID", "address": n, "seen": True, "counter": 2**62}
    for n in range(100)
]


class Hub:
    """A role: some of its methods answer at once, some later."""

    def __init__(self, images=2):
        self.asked = []
        self.held = [
            {
                "id": n,
                "size": 262204,
                "sha": HASH,
                "hash": HASH,
                "version": "IHDAE06",
                "state": "stored",
            }
            for n in range(images)
        ]

    def store_report(self, verify, skip, most):
        self.asked.append(verify)
        images, more = page(self.held, skip, most)
        reply = {"capacity": 196608, "used": 0, "reserved": 0, "free": 196608, "images": images}
        if more:
            reply["more"] = True
        return reply

    async def devices(self, skip, most):
        devices, more = page(DEVICES, skip, most)
        return {"devices": devices, "more": True} if more else {"devices": devices}

    def distribute(self, eui, hash, sha, jitter):
        self.asked.append((eui, hash))
        return {"job": 1}

    def progress(self):
        return {
            "op": "distribute",
            "eui": EUI,
            "state": "running",
            "off": 65,
            "len": 1000,
            "status": 0,
        }

    def limits(self):
        return {"reply_ms": 500}

    def counters(self):
        return {"han": {"mic": 1}}

    async def activate(self, eui, hash, counter, mac, dco_mac):
        self.asked.append((eui, hash, counter, mac, dco_mac))
        raise SmpError(BUSY, GROUP)

    async def read_version(self, eui):
        if eui != EUI:
            raise SmpError(NO_DEVICE, GROUP)
        return {"version": "IHDAE06"}

    def events(self, since):
        return {"events": [{"n": n, "text": "block served to the PPMID"} for n in range(since, 60)]}


async def han(hub, op, command, payload=None, version=1):
    return (
        await ask(request(op, GROUP, command, payload, version=version), {GROUP: HanGroup(hub)})
    )[1]


async def test_each_command_is_one_method():
    hub = Hub()
    assert (await han(hub, READ, 0))["free"] == 196608
    assert (await han(hub, READ, 0, {"verify": True}))["free"] == 196608
    assert hub.asked == [False, True]
    hub.asked.clear()
    assert (await han(hub, READ, 7)) == {"reply_ms": 500}
    assert (await han(hub, READ, 8)) == {"han": {"mic": 1}}
    assert (await han(hub, READ, 1, {"skip": 99})) == {"devices": DEVICES[99:]}
    assert (await han(hub, READ, 3))["off"] == 65
    assert (await han(hub, READ, 5, {"eui": EUI})) == {"version": "IHDAE06"}
    assert (await han(hub, WRITE, 2, {"eui": EUI, "hash": HASH})) == {"job": 1}
    assert hub.asked == [(EUI, HASH)]
    assert isinstance(hub.asked[0][1], bytes)  # a copy: the job outlasts the request


async def test_activate_of_a_real_client_and_its_refusal():
    hub = Hub()
    head, payload = await ask(bytes.fromhex(ACTIVATE), {GROUP: HanGroup(hub)})
    assert hub.asked == [(EUI, HASH, 70000, MAC, DCO_MAC)]
    assert head == (3, 1, GROUP, 15, 4) and payload == {"err": {"group": GROUP, "rc": BUSY}}


async def test_a_missing_mac_is_for_the_hub_to_refuse():
    hub = Hub()
    fields = {"eui": EUI, "hash": HASH, "counter": 1, "mac": MAC, "dco_mac": DCO_MAC}
    for missing in (("mac",), ("dco_mac",), ("mac", "dco_mac")):
        payload = {key: value for key, value in fields.items() if key not in missing}
        await han(hub, WRITE, 4, payload)
        wanted = (EUI, HASH, 1, payload.get("mac"), payload.get("dco_mac"))
        assert hub.asked.pop() == wanted


async def test_refusals_for_a_version_1_client():
    assert await han(Hub(), READ, 5, {"eui": bytes(8)}, V1) == {"rc": 5}
    assert await han(Hub(), WRITE, 4, {"eui": EUI, "hash": HASH}, V1) == {"rc": 10}
    assert await han(Hub(), WRITE, 2, {}, V1) == {"rc": 3}


async def test_bad_fields_never_reach_the_role():
    hub = Hub()
    bad = {"err": {"group": GROUP, "rc": BAD_REQUEST}}
    for command, payload in (
        (2, {}),
        (2, {"eui": EUI[:7], "hash": HASH}),
        (2, {"eui": EUI, "hash": HASH[:31]}),
        (2, {"eui": "00-DB-12-34-56-78-90-A2", "hash": HASH}),
        (4, {"eui": EUI, "hash": HASH, "counter": -1}),
        (4, {"eui": EUI, "hash": HASH, "counter": "1"}),
        (4, {"eui": EUI, "hash": HASH, "counter": 2**63}),
        (4, {"eui": EUI, "hash": HASH, "counter": 1, "mac": MAC[:31]}),
        (4, {"eui": EUI, "hash": HASH, "counter": 1, "dco_mac": "x" * 32}),
    ):
        assert await han(hub, WRITE, command, payload) == bad, payload
    assert await han(hub, READ, 5, {}) == bad
    assert await han(hub, READ, 6, {"since": [1]}) == bad
    assert await han(hub, READ, 0, {"skip": -1}) == bad
    assert await han(hub, READ, 1, {"skip": "1"}) == bad
    assert hub.asked == []


def test_a_page_that_ends_the_list_is_the_last():
    assert page([1, 2, 3, 4], 0, 4) == ([1, 2, 3, 4], False)
    assert page([1, 2, 3, 4], 0, 3) == ([1, 2, 3], True)
    assert page([1, 2, 3, 4], 3, 3) == ([4], False)
    assert page([1, 2, 3, 4], 1, 3) == ([2, 3, 4], False)


async def read_all(hub, command, key):
    """The whole list, page by page, and in how many."""
    items, pages = [], 0
    while True:
        reply = await han(hub, READ, command, {"skip": len(items)})
        items += reply[key]
        pages += 1
        if not reply.get("more"):
            return items, pages
        assert reply["more"] is True and reply[key]


async def test_devices_and_images_are_told_in_pages():
    devices, pages = await read_all(Hub(), 1, "devices")
    assert devices == DEVICES and pages < 10
    for held in (0, 1, 8, 9, 30):
        images, _ = await read_all(Hub(held), 0, "images")
        assert [i["id"] for i in images] == list(range(held))
    assert await han(Hub(), READ, 1, {"skip": 100}) == {"devices": []}
    assert await han(Hub(), READ, 1, {"skip": 2**40}) == {"devices": []}


async def test_a_long_store_report_is_cut_and_says_so():
    short = await han(Hub(2), READ, 0)
    assert len(short["images"]) == 2 and "more" not in short
    hub = Hub(9)
    for image in hub.held:
        del image["sha"]
    long = await han(hub, READ, 0)
    assert len(long["images"]) == 8 and long["more"] is True
    assert len(hub.held) == 9  # the role's own list is whole
    wide = await han(Hub(8), READ, 0)  # 8 entries that do not fit into 1 KiB
    assert 4 < len(wide["images"]) < 8 and wide["more"] is True


async def test_events_go_on_where_the_answer_was_cut():
    seen, since = [], 0
    while True:
        reply = await han(Hub(), READ, 6, {"since": since})
        seen += [event["n"] for event in reply["events"]]
        if not reply.get("more"):
            break
        since = seen[-1] + 1
    assert seen == list(range(60))
