"""Who answers for a board: whoever is on the wire may try, and only the board is believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from intruder import Liar, answer_to, inject, session_of
from labs import OpenDesk, OpenLab, make_image
from smp.error import MGMT_ERR
from smp.header import Header
from smpclient.requests.image_management import ImageErase

from hanlab.keys import Secret
from hanlab.lab.boards import wan_client
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed
from hanlab.wan.auth import ANSWER_SEAL_OCTETS, BoardSeal, wants_seal
from hanlab.wan.errors import NoAnswer, Refused, WanError
from hanlab.wan.exchange import Window
from hanlab.wan.framing import FRAMINGS
from hanlab.wan.messages import (
    GROUP,
    CountersRead,
    DevicesRead,
    EventsRead,
    LimitsRead,
    ProgressRead,
    StoreRead,
)

PPMID = bytes.fromhex("00db1234567890a4")
HUB = bytes.fromhex("00db1234567890a2")
JOB = {"job": 1}
DONE = {
    "job": 1, "op": "activate", "eui": PPMID, "state": "done", "off": 1, "len": 1, "status": 0, "reason": "",
}  # fmt: skip
LIES: dict[tuple[int, int], Callable[[bytes], dict[str, Any]]] = {
    (1, 1): lambda request: {"off": 9000},
    (1, 5): lambda request: {},
    (GROUP, 0): lambda request: {
        "used": 0, "reserved": 0, "free": 9, "behaviour": "refuse", "images": [], "recovered": "",
    },
    (GROUP, 1): lambda request: {"devices": []},
    (GROUP, 2): lambda request: JOB,
    (GROUP, 3): lambda request: DONE,
    (GROUP, 4): lambda request: JOB,
    (GROUP, 5): lambda request: {"firmware": "IHDAE99", "file_version": 9, "model": "IHD"},
    (GROUP, 6): lambda request: {"events": [], "lost": 0},
    (GROUP, 12): lambda request: {},
}  # fmt: skip
"""What somebody might answer, by group and command."""


def body_of(request: bytes) -> dict[str, Any]:
    make = LIES.get((int.from_bytes(request[4:6]), request[7]))
    return make(request) if make else {}


def sealed_with(key: bytes, request: bytes, body: dict[str, Any]) -> bytes:
    """An answer as a board with that key seals it."""
    answer = answer_to(request, {**body, "seal": bytes(16)})
    answer_key = Secret(Secret(key).mac(b"hanlab WAN answer"))
    return answer[:-16] + answer_key.mac(request, answer[:-16])[:16]


def denied(request: bytes) -> bytes:
    return answer_to(request, {"rc": MGMT_ERR.EACCESSDENIED})


TELLS: dict[str, Callable[[bytes], bytes]] = {
    "no seal": lambda request: answer_to(request, body_of(request)),
    "another key": lambda request: sealed_with(bytes(32), request, body_of(request)),
    "the request's own seal": lambda request: answer_to(
        request, {**body_of(request), "seal": request[-20:]}
    ),
    "nobody is logged in": denied,
    "half of it": lambda request: answer_to(request, body_of(request))[:-1],
}


@pytest.mark.parametrize("tell", TELLS.values(), ids=TELLS)
def test_faked_answers_move_nothing(open_lab: OpenLab, tell: Callable[[bytes], bytes]) -> None:
    """Each request is answered by somebody else first; the update goes as it would without."""
    lab = open_lab()
    liar = Liar(lab.desk, lambda request: tell(request) if wants_seal(request) else None)
    ppmid = lab.device("PPMID")
    image = make_image()
    assert lab.run(lab.update_firmware(image, ppmid)) is Outcome.DISTRIBUTED
    assert lab.run(lab.store()).images[0].sha == image.file_hash
    done = lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
    assert done is Outcome.ACTIVATED
    assert lab.run(lab.wait_until_back(ppmid)).firmware == "IHDAE06"
    client = lab.run(lab.counters()).client
    assert client.unproved == len(liar.told) > 20
    assert (client.logins, client.retries, client.strays) == (1, 0, 0)


def test_a_faked_end_of_an_activation_is_none(open_lab: OpenLab) -> None:
    """The PPMID is off, and somebody says "11.3: done, success" and which version runs: nothing is believed."""
    lab = open_lab()
    image = make_image()
    ppmid = lab.device("PPMID")
    lab.run(lab.update_firmware(image, ppmid))
    lab.desk.boards["PPMID"].power_off()
    Liar(lab.desk, lambda request: TELLS["no seal"](request) if wants_seal(request) else None)
    with pytest.raises(ServiceRequestFailed) as failed:
        lab.run(lab.activate_firmware(image.manufacturer_image_hash, ppmid))
    assert failed.value.outcome is Outcome.NO_ANSWER


@pytest.mark.parametrize(
    "said", [{"buf_size": 20, "buf_count": 9}, {"buf_size": 600, "buf_count": 0}]
)
def test_faked_buffers_are_not_used(open_desk: OpenDesk, said: dict[str, int]) -> None:
    """The first answer of all is before the login, and nobody proves it: after it the board is asked again."""

    def lie(request: bytes) -> bytes | None:
        is_knock = request[4:8] == bytes((0, 0, request[6], 6)) and not wants_seal(request)
        return answer_to(request, said) if is_knock else None

    desk = open_desk()
    client = wan_client(desk, "hub")
    Liar(desk, lie)
    smp = desk.config.hub.board.smp
    assert desk.run(client.connect()) == Window(smp.buf_size, smp.buf_count)
    desk = open_desk(wan_open=True, folder="open")
    Liar(desk, lie)
    with pytest.raises(WanError, match=r"the board says that it takes \d messages of \d+ octets"):
        desk.run(wan_client(desk, "hub").connect())


def test_who_only_ever_lies_is_named(open_desk: OpenDesk) -> None:
    """A board that is off, and somebody who answers for it."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    desk.run(client.connect())
    desk.boards["hub"].power_off()
    Liar(desk, TELLS["no seal"])
    with pytest.raises(NoAnswer, match=r"; \d+ answers were not the board's") as failed:
        desk.run(client.read(StoreRead))
    assert failed.value.next_step
    assert "who else is on its wire" in failed.value.next_step


def test_a_true_answer_is_of_its_request_alone(open_desk: OpenDesk) -> None:
    """Recorded answers, and true ones with anything changed, are no answers."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    desk.run(client.connect())
    session = session_of(client)
    board = BoardSeal(desk.keys.wan(HUB))
    read = EventsRead(since=0, sequence=200).BYTES
    first, again = session.ask(read), session.ask(read)
    (answer,) = desk.run(inject(desk, client, first))
    opened = board.opened(first, answer)
    assert opened
    assert cbor2.loads(opened[Header.SIZE :])["events"]
    assert len(opened) == len(answer) - ANSWER_SEAL_OCTETS
    assert int.from_bytes(opened[2:4]) == len(opened) - Header.SIZE
    assert board.opened(again, answer) is None, "the same question, asked later"
    for at in range(len(first)):
        other = first[:at] + bytes((first[at] ^ 1,)) + first[at + 1 :]
        assert board.opened(other, answer) is None, at
    for at in range(len(answer)):
        other = answer[:at] + bytes((answer[at] ^ 1,)) + answer[at + 1 :]
        assert board.opened(first, other) is None, at
    for end in range(len(answer)):
        assert board.opened(first, answer[:end]) is None, end
    assert board.opened(first, answer + answer[-16:]) is None


def test_a_request_that_is_changed_on_its_way_is_not_answered_for_the_true_one(
    open_desk: OpenDesk,
) -> None:
    """Nor is its refusal taken for that of the true one: the true one may be carried out later."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    desk.run(client.connect())
    board = BoardSeal(desk.keys.wan(HUB))
    erase = session_of(client).seal(ImageErase(slot=1, sequence=200).BYTES)
    changed = erase.replace(b"slot\x01", b"slot\x02")
    (refusal,) = desk.run(inject(desk, client, changed))
    assert cbor2.loads(refusal[Header.SIZE :])["rc"] == MGMT_ERR.EACCESSDENIED
    assert board.opened(changed, refusal)
    assert board.opened(erase, refusal) is None


def test_a_board_that_restarted_proves_that_it_has_no_session(open_desk: OpenDesk) -> None:
    """A read is answered as before, a write after another login: its refusal is proved, and not waited for."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    desk.run(client.connect())
    desk.boards["hub"].cut_power()
    assert desk.run(client.read(StoreRead)).used == 0
    assert client.counters.logins == 1
    timeouts = client.counters.timeouts
    with pytest.raises(Refused):  # there is no image
        desk.run(client.write(ImageErase, slot=1))
    assert (client.counters.logins, client.counters.timeouts) == (2, timeouts)
    assert client.counters.unproved == 0


def test_client_that_was_closed_logs_in_before_it_reads(open_desk: OpenDesk) -> None:
    desk = open_desk()
    client = wan_client(desk, "hub")
    desk.run(client.connect())
    desk.run(client.close())
    liar = Liar(desk, lambda request: None)
    desk.run(client.read(StoreRead))
    assert client.counters.logins == 2
    assert wants_seal(liar.heard[-1])


def test_usual_reads_fit_into_a_uarts_fifo(open_desk: OpenDesk) -> None:
    """A Pico's 32 octets: what comes while flash work holds its interrupts is not lost."""
    desk = open_desk()
    client = wan_client(desk, "hub")
    desk.run(client.connect())
    for request in (ProgressRead, CountersRead, DevicesRead, LimitsRead):
        octets = session_of(client).ask(request(sequence=200).BYTES)
        assert len(b"".join(FRAMINGS["cobs"]().encode(octets))) <= 32


def test_without_a_login_nothing_is_sealed(open_desk: OpenDesk) -> None:
    desk = open_desk(wan_open=True)
    client = wan_client(desk, "hub")
    liar = Liar(desk, lambda request: None)
    desk.run(client.read(StoreRead))
    assert len(liar.true) > 2
    assert not any(b"seal" in octets for octets in liar.heard + liar.true)
