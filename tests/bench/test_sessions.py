"""A login at a board is its client's: nobody else on the line can use it, then or later."""

from __future__ import annotations

from pathlib import Path

import cbor2
import pytest
from intruder import Liar, body, codes, inject, session_of
from labs import OpenDesk, make_image
from smp.error import MGMT_ERR
from smp.header import Header
from smpclient.requests.image_management import ImageErase, ImageUploadWrite
from smpclient.requests.os_management import ResetWrite

from hanlab.bench.starts import Starts
from hanlab.keys import Secret
from hanlab.lab.boards import wan_client
from hanlab.lab.desk import Desk
from hanlab.wan.auth import Session
from hanlab.wan.client import WanClient
from hanlab.wan.errors import FalseBoard
from hanlab.wan.messages import (
    GROUP,
    Challenge,
    CountersRead,
    Distribute,
    Logout,
    ProgressRead,
    StoreRead,
)

PPMID = bytes.fromhex("00db1234567890a4")


def uploaded(desk: Desk, client: WanClient) -> int:
    """The slot of an image that `client` has uploaded."""

    async def upload() -> int:
        async for _ in client.upload(make_image().to_bytes()):
            pass
        return (await client.read(StoreRead)).images[0].id

    return desk.run(upload())


def switch_off(desk: Desk) -> None:
    """So that another desk may have its boards."""
    for board in desk.boards.values():
        board.power_off()


def test_write_whose_answer_was_lost_is_not_carried_out_twice(open_desk: OpenDesk) -> None:
    """The same octets again: the CH answers what it answered, and starts no second job.

    Also if somebody else had something answered in between.
    """
    desk = open_desk()
    client = wan_client(desk, "hub")
    uploaded(desk, client)
    hash_ = make_image().manufacturer_image_hash
    request = Distribute(eui=PPMID, hash=hash_, sequence=77).BYTES
    write = session_of(client).seal(request)
    read = StoreRead(sequence=78).BYTES
    foreign = ImageErase(slot=1, sequence=79).BYTES
    first, second, _, _, third = desk.run(inject(desk, client, write, write, read, foreign, write))
    assert first == second == third
    assert body(first) == {"job": 1}
    assert desk.run(client.read(ProgressRead)).job == 1


def test_command_of_another_on_the_line_is_refused(open_desk: OpenDesk) -> None:
    """A login is its client's, not the line's: an erase in mid-session erases nothing."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    slot = uploaded(desk, client)
    erase = ImageErase(slot=slot, sequence=200).BYTES
    other = Session(Secret(bytes(32)))
    session = session_of(client)
    good = session.seal(erase)
    forged = [
        erase,
        other.seal(erase),
        good[:-1] + bytes((good[-1] ^ 1,)),
        good[:6] + bytes((good[6] ^ 1,)) + good[7:],  # another sequence number
        good[:9].replace(b"\x05", b"\x01") + good[9:],  # another command
        ResetWrite(sequence=201).BYTES,
        Logout(sequence=202).BYTES,
        other.seal(Logout(sequence=203).BYTES),
        ImageUploadWrite(off=0, data=b"x" * 100, len=100, sequence=204).BYTES,
    ]
    assert codes(desk.run(inject(desk, client, *forged))) == [MGMT_ERR.EACCESSDENIED] * len(forged)
    assert [i.id for i in desk.run(client.read(StoreRead)).images] == [slot]
    wan = desk.run(client.read(CountersRead)).wan
    assert (wan["forged"], wan["denied"], wan["logins"]) == (len(forged), 0, 1)
    desk.run(client.write(ImageErase, slot=slot))
    assert client.counters.logins == 1, "it is logged in as before"


def test_write_that_was_recorded_is_refused_later_in_its_session(open_desk: OpenDesk) -> None:
    """Its number is used up; and in the next session its key is another one."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    slot = uploaded(desk, client)
    early = session_of(client).seal(ImageErase(slot=77, sequence=200).BYTES)
    late = session_of(client).seal(ImageErase(slot=78, sequence=201).BYTES)
    answers = desk.run(inject(desk, client, late, early))
    assert codes(answers) == [0, MGMT_ERR.EACCESSDENIED], "not in the order in which they were made"
    recorded = session_of(client).seal(ImageErase(slot=slot, sequence=202).BYTES)
    desk.run(client.close())
    desk.run(client._exchange.log_in())
    assert codes(desk.run(inject(desk, client, recorded))) == [MGMT_ERR.EACCESSDENIED]
    assert [i.id for i in desk.run(client.read(StoreRead)).images] == [slot]


def test_client_logs_out_when_it_is_closed(open_desk: OpenDesk) -> None:
    desk = open_desk()
    client = wan_client(desk, "hub")
    slot = uploaded(desk, client)
    recorded = session_of(client).seal(ImageErase(slot=slot, sequence=200).BYTES)
    desk.run(client.close())
    assert codes(desk.run(inject(desk, client, recorded))) == [MGMT_ERR.EACCESSDENIED]
    wan = desk.run(client.read(CountersRead)).wan
    assert (wan["denied"], wan["forged"]) == (1, 0), "nobody was logged in any more"
    desk.run(client.write(ImageErase, slot=slot))
    assert client.counters.logins == 2


def test_client_whose_board_is_gone_can_be_closed(open_desk: OpenDesk) -> None:
    desk = open_desk()
    client = wan_client(desk, "hub")
    desk.run(client.connect())
    desk.boards["hub"].power_off()
    began = desk.clock_us
    desk.run(client.close())
    assert desk.clock_us - began < 3_000_000
    assert client.counters.timeouts == 1


def test_no_command_has_the_nonces_of_one_before(open_desk: OpenDesk) -> None:
    """The client's: who has recorded a command, board and all, cannot play the board in the next one."""

    def sent(folder: str) -> list[bytes]:
        logins = []
        for _ in range(2):
            desk = open_desk(folder=folder)
            liar = Liar(desk, lambda request: None)
            desk.run(wan_client(desk, "hub").connect())
            logins += [r for r in liar.heard if (r[4:6], r[7]) == (GROUP.to_bytes(2), 11)]
            switch_off(desk)
        return [cbor2.loads(login[Header.SIZE :])["nonce"] for login in logins]

    nonces = sent("one")
    assert len(nonces) == len(set(nonces)) == 2
    assert nonces == sent("two"), "a lab can be run again, octet for octet"


def test_a_recorded_session_does_nothing_at_a_later_start(open_desk: OpenDesk) -> None:
    """All that a client sent, once more in its order: after a restart, and in the next command."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    liar = Liar(desk, lambda request: None)
    uploaded(desk, client)
    desk.run(client.close())
    recorded = [request for request in liar.heard if request[0] & 7 == 2]
    assert len(recorded) >= 5
    desk.boards["hub"].cut_power()
    for again in (desk, open_desk(folder="lab")):
        other = wan_client(again, "hub")
        slots = [image.id for image in again.run(other.read(StoreRead)).images]
        again.run(other.close())
        refused = codes(again.run(inject(again, other, *recorded)))
        assert refused == [MGMT_ERR.EACCESSDENIED] * len(recorded)
        now = again.run(other.read(StoreRead))
        assert ([image.id for image in now.images], now.reserved) == (slots, 0)
        switch_off(again)


def test_a_recorded_board_is_found_out_in_the_next_command(open_desk: OpenDesk) -> None:
    """The board is off, and somebody answers what it answered a day ago, to the same requests."""
    desk = open_desk()
    liar = Liar(desk, lambda request: None)
    client = wan_client(desk, "hub")
    desk.run(client.read(StoreRead))
    switch_off(desk)
    recorded = {(answer[0], answer[4:8]): answer for answer in liar.true}
    desk = open_desk()
    switch_off(desk)
    Liar(desk, lambda request: recorded.get((request[0] + 1, request[4:8])))
    with pytest.raises(FalseBoard):
        desk.run(wan_client(desk, "hub").read(StoreRead))


@pytest.mark.parametrize(
    "damage", ["", "0", "-1\n", "+1\n", "1\n1\n", "\u0661\n", "x\n", "9" * 99 + "\n"]
)
def test_what_is_no_count_of_starts_is_none(tmp_path: Path, damage: str) -> None:
    starts = Starts(tmp_path, "hub", is_new=False)
    (tmp_path / "hub.power_ups").write_text("7\n")
    assert [starts.next(), starts.next()] == [7, 8]
    (tmp_path / "hub.power_ups").write_text(damage, "utf-8")
    began = starts.next()
    assert began > 1 << 24, "by chance"
    assert starts.next() == began + 1


@pytest.mark.parametrize("damage", ["x\n", None])
@pytest.mark.parametrize("whose", ["hub", "_host"])
def test_a_lost_count_of_starts_repeats_nothing(
    open_desk: OpenDesk,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    whose: str,
    damage: str | None,
) -> None:
    """Of a board, and of the host. That is said once: then it counts on."""

    def nonces(folder: str) -> tuple[bytes, bytes]:
        desk = open_desk(folder=folder)
        challenge = desk.run(WanClient(desk.ports["hub"]).read(Challenge)).nonce
        switch_off(desk)
        return challenge, desk.entropy.randbytes(16)

    seen = [nonces("lab"), nonces("lab"), nonces("other"), nonces("other")]
    assert seen[:2] == seen[2:]
    assert caplog.text == ""
    new = []
    for folder in ("lab", "other"):
        file = tmp_path / folder / f"{whose}.power_ups"
        file.unlink() if damage is None else file.write_text(damage, "utf-8")
        new += [nonces(folder), nonces(folder)]
    at = 0 if whose == "hub" else 1
    assert len({pair[at] for pair in seen + new}) == 6
    assert caplog.text.count("is damaged or gone") == 2


def test_boards_that_never_started_have_lost_no_count(
    open_desk: OpenDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """A lab's first command may need none of its boards, as one that the DSP refuses."""
    switch_off(open_desk(folder="lab"))
    desk = open_desk(folder="lab")
    assert desk.run(WanClient(desk.ports["hub"]).read(Challenge)).nonce
    assert caplog.text == ""


def test_login_that_was_recorded_opens_nothing_at_a_later_start(open_desk: OpenDesk) -> None:
    """A board's challenges are new each time it is switched on, also in the next command, and still the seed's."""

    def challenges(folder: str) -> list[bytes]:
        nonces = []
        for _ in range(2):  # two commands on the same boards
            desk = open_desk(folder=folder)
            for _ in range(2):
                nonces.append(desk.run(WanClient(desk.ports["hub"]).read(Challenge)).nonce)
                desk.boards["hub"].cut_power()
            switch_off(desk)
        return nonces

    nonces = challenges("one")
    assert len(set(nonces)) == len(nonces)
    assert nonces == challenges("two"), "a lab can be run again, octet for octet"
