"""What waits at the same time is decided together: one commit, and no answer before it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from power import power
from power import sqlite as reachable
from test_app import DSP, PPMID, XML, Gateway

from hanlab.dsp.database import trouble
from hanlab.dsp.service_requests import WebService
from hanlab.duis.messages import Request, RequestId, UpdateFirmware
from hanlab.duis.reading import read_request, read_response
from hanlab.duis.writing import write_request
from hanlab.eui import Eui
from hanlab.gateway.app import make_app
from hanlab.gateway.decisions import Decisions
from hanlab.images import build, made_body
from hanlab.lab.enrolment import product

OTHER = Eui.parse("90-B3-D5-1F-30-02-00-00")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path, unsigned=True)
    yield made
    made.office.close()


def post_at_once(
    app: Any, *posts: tuple[str, bytes], after: threading.Event | None = None
) -> list[httpx.Response]:
    """All of them are there before the first is answered; all but the first wait for `after`."""

    async def exchange() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://dsp") as client:

            async def post(service: str, octets: bytes) -> httpx.Response:
                return await client.post(f"/api/v1/service{service}", content=octets, headers=XML)

            first = asyncio.ensure_future(post(*posts[0]))
            if after:
                await asyncio.to_thread(after.wait, 60)
            return await asyncio.gather(first, *(post(*p) for p in posts[1:]))

    return asyncio.run(exchange())


def answers(came: list[httpx.Response]) -> list[str]:
    """The response codes; where there is none, HTTP's."""
    return [
        read_response(c.content).code if c.status_code == 200 else str(c.status_code) for c in came
    ]


@pytest.mark.skipif(reachable() is None, reason="Python's SQLite is not to be reached with ctypes")
def test_no_answer_is_given_and_nothing_begun_before_it_is_on_the_disk(tmp_path: Path) -> None:
    with power() as disk:
        gateway = Gateway(tmp_path / "lab", unsigned=True)
        waited: list[int] = []

        def last_on_the_disk() -> int:
            """The last counter that is left if the power fails now."""
            waited.append(disk.syncs)
            left = tmp_path / f"left {len(waited)}"
            disk.lose_power(left)
            after = sqlite3.connect(f"file:{left}/dsp.sqlite?vfs=unix", uri=True)
            row = after.execute("SELECT last FROM counters").fetchone()
            after.close()
            return int.from_bytes(row[0], "big") if row else 0

        begun: list[tuple[int, int]] = []

        def carry_out(request: RequestId) -> None:
            begun.append((request.counter, last_on_the_disk()))

        app = make_app(gateway.office.dsp, gateway.seals, carry_out, names={"dsp"})
        said: list[int] = []

        async def overheard(scope: Any, receive: Any, send: Any) -> None:
            async def say(message: Any) -> None:
                if message["type"] == "http.response.start":
                    said.append(last_on_the_disk())
                await send(message)

            await app(scope, receive, say)

        before = disk.syncs
        came = post_at_once(
            overheard, *(("S", gateway.request(counter=n)) for n in (1, 2, 3, 4, 5))
        )
        assert answers(came) == ["I99"] * 5
        assert said == [5] * 5
        assert begun == [(n, 5) for n in (1, 2, 3, 4, 5)]
        assert waited[0] == before + 1
        gateway.office.close()


def test_one_that_is_refused_is_so_alone(gateway: Gateway) -> None:
    first = gateway.request(counter=1)
    came = post_at_once(
        gateway.app, ("S", first), ("S", first), ("S", b"<no>"), ("S", gateway.request(counter=2))
    )
    assert answers(came) == ["I99", "409", "400", "I99"]
    assert [request.counter for request in gateway.carried_out] == [1, 2]


def test_where_they_cannot_be_committed_none_is_acknowledged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise trouble(None, error)

    asked = [("S", gateway.request(counter=n)) for n in (1, 2, 3)]
    with monkeypatch.context() as broken:
        broken.setattr(gateway.office.dsp.smi, "remember_time", full)  # the last before the commit
        assert answers(post_at_once(gateway.app, *asked)) == ["503"] * 3
    assert gateway.carried_out == []
    assert gateway.office.dsp.unfinished() == []
    assert answers(post_at_once(gateway.app, *asked)) == ["I99"] * 3


def test_one_alone_waits_for_nobody_and_one_that_went_away_takes_none_with_it(
    gateway: Gateway,
) -> None:
    requests = [read_request(gateway.request(counter=n)) for n in (1, 2, 3)]

    async def ask() -> None:
        decisions = Decisions(gateway.office.dsp, gateway.carried_out.append)

        def begin(request: Request) -> asyncio.Task[Any]:
            return asyncio.ensure_future(decisions.decide(request, WebService.SEND_COMMAND))

        alone = begin(requests[0])
        for _ in range(3):  # it asks, all are decided, it hears
            await asyncio.sleep(0)
        assert alone.done()
        gone, stays = begin(requests[1]), begin(requests[2])
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).code == "I99"
        assert gone.cancelled()

    asyncio.run(ask())
    assert gateway.carried_out == [request.id for request in requests]


def test_a_large_update_is_decided_beside_the_small_ones(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread of its own, which is in the middle of it when the small ones come."""
    model = gateway.config.devices[0].model
    image = build(
        made_body(200_000, seed=1), device_type="PPMID", version="IHDAE06", for_ch="Secure"
    )
    dsp = gateway.office.dsp
    dsp.load([product(model, "IHDAE06", image.manufacturer_image_hash)])
    body = UpdateFirmware(image.to_bytes(), "IHDAE06", (PPMID,))
    large = write_request(Request(RequestId(OTHER, DSP, 9), 8, "11.1", "11.1", body))
    dsp.smi.set_supplier(PPMID, OTHER)
    threads: list[str] = []
    in_the_middle, small_ones_wait = threading.Event(), threading.Event()
    put = dsp.parts.accepted.add
    decide_all = dsp.receive_all

    def add(accepted: Any) -> None:
        put(accepted)
        if accepted.service == "11.1":
            threads.append(threading.current_thread().name)
            in_the_middle.set()
            assert small_ones_wait.wait(60)

    def receive_all(asked: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            small_ones_wait.set()
        return decide_all(asked)

    monkeypatch.setattr(dsp.parts.accepted, "add", add)
    monkeypatch.setattr(dsp, "receive_all", receive_all)
    small = [("S", gateway.request(by=OTHER, counter=n)) for n in (10, 11, 12)]
    came = post_at_once(gateway.app, ("D", large), *small, after=in_the_middle)
    assert answers(came) == ["I99"] * 4
    assert threads != ["MainThread"]
    last = [request.counter for request in dsp.unfinished()]
    assert last == [9, 10, 11, 12], "its transaction was over before theirs began"
    assert sorted(r.counter for r in gateway.carried_out) == last
