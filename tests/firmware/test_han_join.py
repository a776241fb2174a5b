# What a join rests on: the hash of install codes, the Transport-Key, and the two records on flash.
import os

from test_han_network import CH_EUI, KEY, PAN, PPMID_EUI, flash, made_counters

from smets1 import saved
from smets1.han import mac
from smets1.han.mmo import key_transport_key, link_key, mmo
from smets1.roles.device_table import DeviceTable
from smets1.roles.network_record import Membership, NetworkRecord

CODE = b"\x83\xfe\xd3\x40\x7a\x93\x97\x23\xa5\xc6\x39\xb2\x69\x16\xd5\x05"
HEX_KEY = "5a6967426565416c6c69616e63653039"
OTHER_KEY = bytes(16)
HUB = {
    "han": {"pan": PAN, "address": 0, "key": HEX_KEY},
    "model": {"devices": 2},
    "neighbours": [{"eui": "00db1234567890a4", "type": "PPMID", "address": 1, "steps": 2}],
}
DEVICE = {
    "han": {"pan": PAN, "address": 1, "key": HEX_KEY},
    "neighbours": [
        {"eui": "00db1234567890a5", "type": "ESME", "address": 2},
        {"eui": "00db1234567890a2", "type": "CHF", "address": 0},
    ],
}
NEW = b"\x00\xdb\x12\x34\x56\x78\x90\xa6"


def but(config, **changed):
    """The same with some of it changed."""
    other = dict(config)
    other.update(changed)
    return other


def test_the_install_code_of_zigbees_own_example():
    assert link_key(CODE) == b"\x66\xb6\x90\x09\x81\xe1\xee\x3c\xa4\x20\x6b\x6b\x86\x1c\x02\xbb"


def test_hashes_of_each_length_differ():
    """Whatever the padding: 13 octets are the most that one block takes with its length."""
    made = {mmo(bytes(n)) for n in range(40)}
    assert len(made) == 40 and all(len(each) == 16 for each in made)


def key_frame(under=None):
    return mac.transport_key(
        7, PAN, 1, PPMID_EUI, CH_EUI, 0x80000001, KEY, 3, under or key_transport_key(CODE)
    )


def test_a_transport_key_is_for_one_device_from_one_ch_under_one_code():
    under = key_transport_key(CODE)
    frame = key_frame()
    assert mac.kind(frame, len(frame)) == mac.TRANSPORT_KEY and KEY not in bytes(frame)
    assert mac.open_transport_key(frame, PPMID_EUI, CH_EUI, under) == (KEY, 3)
    assert mac.open_transport_key(frame, NEW, CH_EUI, under) is None
    assert mac.open_transport_key(frame, PPMID_EUI, NEW, under) is None
    other = key_transport_key(bytes(16))
    assert mac.open_transport_key(frame, PPMID_EUI, CH_EUI, other) is None
    assert mac.open_transport_key(key_frame(other), PPMID_EUI, CH_EUI, under) is None
    for at in range(17, len(frame)):
        damaged = bytearray(frame)
        damaged[at] ^= 0x80
        assert mac.open_transport_key(damaged, PPMID_EUI, CH_EUI, under) is None, at


def test_only_the_forms_that_are_sent_here_are_read():
    frames = {
        mac.BEACON_REQUEST: mac.beacon_request(1),
        mac.BEACON: mac.beacon(2, PAN, CH_EUI),
        mac.ASSOCIATION_REQUEST: mac.association_request(3, PAN, PPMID_EUI),
        mac.ASSOCIATION_RESPONSE: mac.association_response(4, PAN, PPMID_EUI, CH_EUI, 1, 0),
        mac.DATA_REQUEST: mac.data_request(5, PAN, PPMID_EUI),
        mac.DATA_REQUEST_SHORT: mac.data_request_short(6, PAN, 1),
    }
    for kind, frame in frames.items():
        assert mac.kind(frame, len(frame)) == kind
        for n in range(2, len(frame)):
            assert mac.kind(frame, n) == -1, "cut short"
    response = bytearray(frames[mac.ASSOCIATION_RESPONSE])
    response[21] = 3  # a Disassociation Notification
    assert mac.kind(response, len(response)) == -1
    assert mac.parse_beacon(frames[mac.BEACON]) == (PAN, CH_EUI)
    closed = bytearray(frames[mac.BEACON])
    closed[8] &= 0x7F
    assert mac.parse_beacon(closed) is None, "nobody may join there"


# -- the CH's device table


def euis(table):
    return sorted(table.devices)


def test_the_table_is_board_jsons_until_somebody_comes_or_goes():
    path = flash() + "/devices"
    table = DeviceTable(path, HUB)
    assert euis(table) == [PPMID_EUI] and table.devices[PPMID_EUI].address == 1
    assert euis(DeviceTable(path, but(HUB, neighbours=[]))) == []
    assert table.has_room(0) and not table.has_room(1)
    table.add(NEW, "ESME", 5, 1)
    assert not table.has_room(0)
    again = DeviceTable(path, but(HUB, neighbours=[]))
    assert euis(again) == [PPMID_EUI, NEW]
    made = again.devices[NEW]
    assert (made.type, made.address, made.steps, made.seen) == ("ESME", 5, 1, False)
    again.remove(PPMID_EUI)
    again.remove(NEW)
    assert euis(DeviceTable(path, HUB)) == [], "what board.json says is long ago"
    other = but(HUB, han=but(HUB["han"], key="00" * 16))
    assert euis(DeviceTable(path, other)) == [PPMID_EUI], "it was provisioned anew"


def damage(path):
    with open(path, "rb") as f:
        octets = bytearray(f.read())
    octets[-1] ^= 1
    with open(path, "wb") as f:
        f.write(octets)


def test_a_damaged_copy_of_the_table_costs_nothing():
    path = flash() + "/devices"
    DeviceTable(path, HUB).add(NEW, "ESME", 5, 1)
    damage(path)
    table = DeviceTable(path, HUB)
    assert euis(table) == [PPMID_EUI, NEW] and not table.problem
    damage(path + ".copy")
    table = DeviceTable(path, HUB)
    assert euis(table) == [PPMID_EUI] and "damaged" in table.problem


def refuse(path, record):
    raise OSError(5)


def test_what_flash_does_not_take_has_not_happened():
    root = flash()
    table = DeviceTable(root + "/devices", HUB)
    record = NetworkRecord(root + "/network", DEVICE)
    save = saved.save
    saved.save = refuse
    try:
        for step in (
            lambda: table.add(NEW, "ESME", 5, 1),
            lambda: table.remove(PPMID_EUI),
            lambda: record.try_(Membership(1, 2, OTHER_KEY, 0, NEW)),
            record.leave,
        ):
            try:
                step()
                raise AssertionError("it took it")
            except OSError:
                pass
    finally:
        saved.save = save
    assert euis(table) == [PPMID_EUI]
    assert record.candidate is None and record.current.pan == PAN


# -- the device's network record


def place(membership):
    m = membership
    return (m.pan, m.address, m.key, m.key_sequence, m.hub) if m else None


def test_a_network_on_trial_is_beside_the_one_before_until_it_is_taken():
    path = flash() + "/network"
    record = NetworkRecord(path, DEVICE)
    home = (PAN, 1, KEY, 0, CH_EUI)
    other = (0x5332, 7, OTHER_KEY, 2, NEW)
    assert (place(record.current), record.candidate, record.state) == (home, None, "joined")

    def again():
        record = NetworkRecord(path, DEVICE)
        return place(record.current), place(record.candidate), record.state

    record.try_(Membership(*other))
    assert again() == (home, other, "trial") and place(record.here) == other
    record.give_up()
    assert again() == (home, None, "joined")
    record.try_(Membership(*other))
    record.take()
    assert again() == (other, None, "joined")
    record.leave()
    assert again() == (None, None, "none")
    record.try_(Membership(*other))
    assert again() == (None, other, "trial")
    elsewhere = but(DEVICE, han=but(DEVICE["han"], pan=PAN + 1))
    assert NetworkRecord(path, elsewhere).current.pan == PAN + 1, "it was provisioned anew"
    assert NetworkRecord(path, {}).current is None


def test_who_comes_from_the_shelf_remembers_as_well():
    path = flash() + "/network"
    record = NetworkRecord(path, {})
    assert record.state == "none" and record.here is None
    record.try_(Membership(1, 2, OTHER_KEY, 0, NEW))
    record.take()
    assert NetworkRecord(path, {}).current.hub == NEW
    damage(path)
    assert NetworkRecord(path, {}).current.hub == NEW, "the copy"
    os.remove(path)
    assert NetworkRecord(path, {}).current.hub == NEW


# -- who has left


def test_counters_of_who_has_left_are_remembered():
    path = flash() + "/counters"
    counters = made_counters(path)
    counters.accept(NEW, 77)
    counters.forget(NEW)
    assert NEW not in counters.seen, "it has to prove itself again"
    assert counters.last(NEW) == 77
    counters.keep()
    assert made_counters(path).last(NEW) == 77
