"""The web services: the right code for every sample, and nothing that brings them down."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from hanlab.dsp.alerts import SUSPENDED
from hanlab.dsp.counters import MAX_STEP
from hanlab.dsp.database import trouble
from hanlab.dsp.deliveries import Delivery
from hanlab.dsp.settings import DEFAULT_SETTINGS
from hanlab.dsp.smi import Status
from hanlab.duis.messages import (
    ActivateFirmware,
    DevicePreNotification,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    RequestId,
    UpdateFirmware,
)
from hanlab.duis.pki import DSP_NAME, S1SP, Pki, read_pki
from hanlab.duis.reading import read_request, read_response
from hanlab.duis.responses import FirmwareVersionRead, Inventory, Response
from hanlab.duis.signing import verify
from hanlab.duis.writing import write_request
from hanlab.eui import Eui
from hanlab.gateway.app import make_app
from hanlab.gateway.bodies import LIMIT, Limits
from hanlab.gateway.delivery import PATIENCE, POLL_S, RETRY_S, Deliverer
from hanlab.gateway.http_server import (
    CONNECTIONS,
    SILENCE_S,
    ImpatientProtocol,
    make_server,
)
from hanlab.gateway.seals import seals_of
from hanlab.images import build, made_body
from hanlab.lab.config import DEFAULT, make_lab
from hanlab.lab.enrolment import product
from hanlab.lab.office import PKI, Office, open_office, open_pki
from hanlab.tcp import is_loopback

SAMPLES = Path(__file__).parents[1] / "host" / "duis_samples"
SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
DSP = Eui.parse("90-B3-D5-1F-30-00-00-02")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")


XML = {"content-type": "application/xml"}


class Gateway:
    """The app with a lab's DSP behind it, without boards."""

    def __init__(
        self, folder: Path, *, unsigned: bool = False, limits: Limits | None = None
    ) -> None:
        config = make_lab("test", DEFAULT)
        listening = replace(DEFAULT_SETTINGS.users[0], listener="http://user/smartdcc/duis")
        users = (listening, *DEFAULT_SETTINGS.users[1:])
        self.config = replace(config, dsp=replace(config.dsp, users=users))
        self.office: Office = open_office(self.config, folder)
        self.pki: Pki = open_pki(folder / PKI, self.config)
        self.carried_out: list[RequestId] = []
        self.seals = seals_of(self.pki, unsigned=unsigned)
        self.app = make_app(
            self.office.dsp, self.seals, self.carried_out.append, names={"dsp"}, limits=limits
        )
        self._counter = 1

    def post(self, service: str, octets: bytes, headers: Mapping[str, str] = XML) -> httpx.Response:
        """As it is: signed or not."""
        return self.ask("POST", f"/api/v1/service{service}", octets, headers)

    def ask(
        self, method: str, path: str, octets: bytes = b"", headers: Mapping[str, str] = XML
    ) -> httpx.Response:
        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://dsp") as client:
                return await client.request(method, path, content=octets, headers=headers)

        return asyncio.run(exchange())

    def request(
        self,
        body: ReadFirmwareVersion | ActivateFirmware | None = None,
        to: Eui = PPMID,
        *,
        counter: int | None = None,
        by: Eui = SUPPLIER,
    ) -> bytes:
        """The XML of a request, without a signature."""
        self._counter += 1
        id_ = RequestId(by, to, self._counter if counter is None else counter)
        service = "11.3" if isinstance(body, ActivateFirmware) else "11.2"
        return write_request(Request(id_, 1, service, service, body or ReadFirmwareVersion()))

    def signed(self, octets: bytes | None = None, by: str = "supplier") -> bytes:
        return self.pki.signers[by].sign_octets(self.request() if octets is None else octets)

    def answer(self, service: str, octets: bytes) -> Response:
        """What comes back for a request that is signed first, with the DSP's signature checked."""
        return self.read(self.post(service, self.signed(octets)))

    def read(self, came: httpx.Response) -> Response:
        assert came.status_code == 200, came.text
        assert came.headers["content-type"] == "application/xml"
        assert verify(came.content, self.pki.certificates).by.name == DSP_NAME
        return read_response(came.content)

    def state(self) -> list[str]:
        """All that the DSP's database holds, as SQL."""
        return list(self.office.database.sql.iterdump())


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path)
    yield made
    made.office.close()


@pytest.mark.parametrize(
    ("name", "service", "code"),
    [
        ("11.1_request.xml", "D", "E110103"),
        ("11.2_request_future.xml", "S", "I99"),
        ("11.3_request_immediate.xml", "S", "E12"),
        ("11.3_request_future.xml", "S", "I99"),
        ("11.4_request.xml", "D", "E110403"),
        ("11.2_request_future.xml", "D", "E13"),
    ],
)
def test_every_sample_gets_its_code(name: str, service: str, code: str, gateway: Gateway) -> None:
    octets = (SAMPLES / name).read_bytes()
    answer = gateway.answer(service, octets)
    assert answer.code == code
    assert answer.request == read_request(octets).id
    assert len(gateway.carried_out) == (code == "I99")


@pytest.mark.parametrize("name", sorted(p.name for p in SAMPLES.glob("neg_*")))
def test_every_wrong_sample_is_refused(name: str, gateway: Gateway) -> None:
    came = gateway.post("D", gateway.signed((SAMPLES / name).read_bytes()))
    assert came.status_code == 400
    assert "sr:" in came.text


@pytest.mark.rule(80)
def test_e5_for_a_suspended_device(gateway: Gateway) -> None:
    gateway.office.dsp.parts.settings = replace(gateway.config.dsp, mp105=None)
    gateway.office.dsp.smi.set_status(PPMID, Status.SUSPENDED)
    assert gateway.answer("S", gateway.request(ReadFirmwareVersion())).code == "E5"
    assert gateway.answer("S", gateway.request(ActivateFirmware(bytes(32)))).code == "I99"


@pytest.mark.rule(112)
def test_read_inventory(gateway: Gateway) -> None:
    request = Request(RequestId(SUPPLIER, DSP, 9), 8, "8.2", "8.2", ReadInventory(PPMID))
    answer = gateway.answer("D", write_request(request))
    assert answer.code == "I0"
    assert isinstance(answer.body, Inventory)
    assert [d.device_type for d in answer.body.devices] == ["CHF", "PPMID"]


@pytest.mark.rule(13, 24)
def test_pre_notification_is_answered_by_a_response_either_way(gateway: Gateway) -> None:
    model = gateway.config.devices[0].model

    def notify(eui: Eui, counter: int, version: str) -> str:
        body = DevicePreNotification(
            eui, model.manufacturer, model.model, "PPMID", firmware_version=version
        )
        request = Request(RequestId(SUPPLIER, DSP, counter), 8, "12.2", "12.2", body)
        answer = gateway.answer("D", write_request(request))
        assert answer.service == "12.2"
        return answer.code

    newcomer = Eui.parse("00-DB-12-34-56-78-90-B4")
    assert notify(PPMID, 5, model.duis_version) == "E120201"
    assert notify(newcomer, 6, "NEVER") == "E120203"
    assert notify(newcomer, 7, model.duis_version) == "I99"
    found = gateway.office.dsp.smi.find(newcomer)
    assert found
    assert found.status == Status.PENDING


def test_a_whole_11_1(gateway: Gateway) -> None:
    image = build(
        made_body(200_000, seed=1), device_type="PPMID", version="IHDAE06", for_ch="Secure"
    )
    model = gateway.config.devices[0].model
    gateway.office.dsp.load([product(model, "IHDAE06", image.manufacturer_image_hash)])
    body = UpdateFirmware(image.to_bytes(), "IHDAE06", (PPMID,))
    request = Request(RequestId(SUPPLIER, DSP, 9), 8, "11.1", "11.1", body)
    assert gateway.answer("D", write_request(request)).code == "I99"


# -- whose a request is


def test_an_unsigned_request_leaves_nothing_behind(gateway: Gateway) -> None:
    before = gateway.state()
    came = gateway.post("S", gateway.request(counter=77))
    assert came.status_code == 403
    assert "not signed" in came.text
    assert gateway.state() == before
    assert gateway.answer("S", gateway.request(counter=77)).code == "I99"


def test_a_request_that_somebody_else_signed_leaves_nothing_behind(gateway: Gateway) -> None:
    before = gateway.state()
    came = gateway.post("S", gateway.signed(by="other-supplier"))
    assert (came.status_code, "other-supplier" in came.text) == (403, True)
    assert gateway.carried_out == []
    assert gateway.state() == before


def test_one_who_is_proved_and_no_service_user_leaves_nothing_behind(gateway: Gateway) -> None:
    before = gateway.state()
    came = gateway.post("S", gateway.signed(gateway.request(by=S1SP), by="s1sp"))
    assert gateway.read(came).code == "E1"
    assert gateway.state() == before


@pytest.mark.parametrize("counter", [2**64 - 1, MAX_STEP + 1])
def test_a_counter_that_is_far_away_locks_nobody_out(counter: int, gateway: Gateway) -> None:
    before = gateway.state()
    came = gateway.post("S", gateway.signed(gateway.request(counter=counter)))
    assert (came.status_code, str(MAX_STEP) in came.text) == (409, True)
    assert gateway.state() == before
    milliseconds = 1_795_600_000_000
    assert gateway.answer("S", gateway.request(counter=1)).code == "I99"
    assert gateway.answer("S", gateway.request(counter=milliseconds)).code == "I99"


def test_unsigned_requests_where_the_gateway_was_told_to_take_them(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, unsigned=True)
    assert gateway.read(gateway.post("S", gateway.request())).code == "I99"
    assert gateway.answer("S", gateway.request()).code == "I99"
    damaged = gateway.signed().replace(b":4<", b":5<")
    assert gateway.post("S", damaged).status_code == 403
    gateway.office.close()


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"origin": "https://evil.example", "content-type": "text/plain"}, 403, "evil.example"),
        ({"origin": "null"}, 403, "null"),
        ({"origin": "http://dsp.evil.example"}, 403, "evil.example"),
        ({"host": "evil.example"}, 421, "evil.example"),
        ({"host": "localhost"}, 421, "localhost"),
        ({"host": "evil.example:8079"}, 421, "evil.example"),
        ({"host": "127.0.0.1.evil.example"}, 421, "evil.example"),
        ({"host": "["}, 421, "["),
        ({"content-type": "text/plain"}, 415, "text/plain"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "curl"),
        ({"content-type": "application/xml; charset=iso-8859-1"}, 415, "iso-8859-1"),
        ({"content-type": ""}, 415, "none"),
        ({"content-encoding": "gzip"}, 415, "gzip"),
    ],
)
def test_what_no_client_for_duis_sends(
    headers: dict[str, str], status: int, said: str, gateway: Gateway
) -> None:
    before = gateway.state()
    came = gateway.post("S", gateway.signed(), {**XML, **headers})
    assert (came.status_code, said in came.text) == (status, True)
    assert gateway.state() == before
    assert gateway.carried_out == []


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8079"},
        {"host": "[::1]:8079"},
        {"host": "DSP:8079"},
        {"origin": "http://dsp"},
        {"content-type": "text/xml"},
        {"content-type": "application/xml; charset=UTF-8"},
        {"content-encoding": "identity"},
    ],
)
def test_what_clients_for_duis_send(headers: dict[str, str], gateway: Gateway) -> None:
    came = gateway.post("S", gateway.signed(), {**XML, **headers})
    assert gateway.read(came).code == "I99"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/api/v1/serviceS/", 404),
        ("POST", "/API/V1/SERVICES", 404),
        ("GET", "/api/v1/serviceS", 405),
        ("PUT", "/api/v1/serviceS", 405),
    ],
)
def test_another_path_or_method_is_told_where_to_post(
    method: str, path: str, status: int, gateway: Gateway
) -> None:
    came = gateway.ask(method, path, b"", XML)
    assert came.status_code == status
    assert repr(path) in came.text
    assert "POST a Service Request to /api/v1/serviceD, /api/v1/serviceS" in came.text
    assert came.headers.get("allow") == ("POST" if status == 405 else None)


def test_a_body_that_is_compressed_and_does_not_say_so(gateway: Gateway) -> None:
    assert gateway.post("S", gzip.compress(gateway.signed())).status_code == 415


@pytest.mark.parametrize("declared", ["UTF-16", "utf-16"])
def test_a_request_in_utf_16(declared: str, gateway: Gateway) -> None:
    text = gateway.signed().decode().replace("UTF-8", declared)
    assert gateway.read(gateway.post("S", text.encode("utf-16"))).code == "I99"


# -- bounds


class Trickle:
    """A request whose body comes to its end when it is told to, and not before."""

    def __init__(self, gateway: Gateway, octets: int) -> None:
        self.answered: list[dict[str, Any]] = []
        self._octets = octets
        self._app = gateway.app
        self.end = asyncio.Event()

    async def run(self) -> int:
        """The status it got."""
        headers = {"host": "dsp", **XML}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/api/v1/serviceS",
            "raw_path": b"/api/v1/serviceS",
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        }
        await self._app(scope, self._receive, self._send)
        return int(self.answered[0]["status"])

    async def _receive(self) -> Any:
        if self._octets:
            body, self._octets = b" " * self._octets, 0
            return {"type": "http.request", "body": body, "more_body": True}
        await self.end.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        self.answered.append(message)


def test_bodies_that_do_not_end_have_a_bound_together(tmp_path: Path) -> None:
    """Ten of 100 octets where there is room for 350: three wait, seven are told to come back."""
    gateway = Gateway(tmp_path, limits=Limits(one=200, all=350, seconds=1000))

    async def run() -> list[int]:
        requests = [Trickle(gateway, 100) for _ in range(10)]
        tasks = [asyncio.ensure_future(request.run()) for request in requests]
        for _ in range(20):
            await asyncio.sleep(0)
        answered = [request.answered for request in requests if request.answered]
        for request in requests:
            request.end.set()
        statuses = await asyncio.gather(*tasks)
        assert len(answered) == 7
        assert all((b"retry-after", b"5") in messages[0]["headers"] for messages in answered)
        return sorted(statuses)

    assert asyncio.run(run()) == [400] * 3 + [503] * 7
    assert asyncio.run(run()) == [400] * 3 + [503] * 7, "what was held is free again"
    gateway.office.close()


def test_an_announced_body_that_has_no_room_is_refused_before_it_comes(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, limits=Limits(one=10_000, all=1_000))
    assert gateway.post("S", b" " * 1_001).status_code == 503
    gateway.office.close()


def test_a_body_that_takes_too_long(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, limits=Limits(seconds=0))
    assert asyncio.run(Trickle(gateway, 100).run()) == 408
    gateway.office.close()


def test_a_client_that_goes_away(gateway: Gateway) -> None:
    class Gone(Trickle):
        async def _receive(self) -> Any:
            return {"type": "http.disconnect"}

    assert asyncio.run(Gone(gateway, 0).run()) == 400


@dataclass
class Timer:
    seconds: float
    call: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class Line(asyncio.Transport):
    """One connection to the server, whose clock is in our hands."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = False
        self.unsent = 0
        """Octets of answers that the client has not taken."""
        self._timers: list[Timer] = []
        self.hold = asyncio.Event()
        """What `/held` waits for before it answers."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/held":
                await self.hold.wait()
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

        server = make_server(Starlette())
        server.config.load()
        server.config.loaded_app = app
        self.server = ImpatientProtocol(server.config, server.server_state, {}, _loop=self)  # type: ignore[arg-type]  # of a loop, what it asks
        self.server.connection_made(self)

    def call_later(self, seconds: float, what: Callable[..., None], *arguments: Any) -> Timer:
        timer = Timer(seconds, lambda: what(*arguments))
        self._timers.append(timer)
        return timer

    def create_task(self, work: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work, **options)

    async def says(self, octets: bytes) -> None:
        if octets:  # none would be the end
            self.server.data_received(octets)
        for _ in range(10):
            await asyncio.sleep(0)

    def silence(self) -> bool:
        """SILENCE_S go by; whether the connection was cut off."""
        (timer,) = [t for t in self._timers if t.seconds == SILENCE_S and not t.cancelled]
        timer.cancel()
        timer.call()
        return self.cut

    def abort(self) -> None:
        self.cut = True

    def write(self, data: Any) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return None

    def is_closing(self) -> bool:
        return self.cut

    def resume_reading(self) -> None:
        pass


ASKS = b"GET / HTTP/1.1\r\nhost: dsp\r\n\r\n"


def test_how_many_connections_there_are_at_once_and_who_watches_them() -> None:
    config = make_server(Starlette()).config
    assert config.limit_concurrency == CONNECTIONS
    assert config.http is ImpatientProtocol


@pytest.mark.parametrize(
    ("begins", "then"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (ASKS, b"G"),  # a second request, of which no more comes
        (b"POST / HTTP/1.1\r\nhost: dsp\r\ncontent-length: 1000000\r\n\r\n", b"<"),  # answered
    ],
)
def test_a_connection_on_which_nobody_asks_is_cut_off(begins: bytes, then: bytes) -> None:
    """Whatever it says: 64 of them would keep everybody else out."""

    async def talk() -> None:
        line = Line()
        await line.says(begins)
        for _ in range(2):
            if line.silence():
                return
            await line.says(then)
        assert line.silence()

    asyncio.run(talk())


def test_a_client_that_takes_no_answers_is_cut_off() -> None:
    async def talk() -> None:
        line = Line()
        await line.says(b"GET /held HTTP/1.1\r\nhost: dsp\r\n\r\n")
        line.unsent = 65_536
        assert not line.silence()
        assert line.silence()
        line.hold.set()

    asyncio.run(talk())


def test_a_connection_on_which_somebody_asks_stays() -> None:
    async def talk() -> None:
        line = Line()
        for _ in range(3):
            await line.says(ASKS)
            assert not line.silence()
        await line.says(b"GET /held HTTP/1.1\r\nhost: dsp\r\n\r\n")
        assert not any(line.silence() for _ in range(3)), "it waits for the gateway"
        line.hold.set()

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("", False),
        ("no such host", False),
    ],
)
def test_whether_only_this_computer_reaches_an_address(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


# -- what is no request


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"", 400),
        (b"\x00\xff", 400),
        (b"<a>", 400),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 400),
        (b"<" * 100_000, 400),
        (b" " * (LIMIT + 1), 413),
    ],
)
def test_bad_input_and_the_service_stays_up(octets: bytes, status: int, gateway: Gateway) -> None:
    assert gateway.post("S", octets).status_code == status
    assert gateway.answer("S", gateway.request(ReadFirmwareVersion())).code == "I99"


def test_a_changed_signed_request(gateway: Gateway) -> None:
    signed = gateway.signed()
    assert gateway.post("S", signed.replace(b":2<", b":3<")).status_code == 403


def test_a_replayed_request(gateway: Gateway) -> None:
    octets = gateway.signed()
    assert gateway.read(gateway.post("S", octets)).code == "I99"
    came = gateway.post("S", octets)
    assert came.status_code == 409
    assert "not above" in came.text


def test_other_paths_and_methods(gateway: Gateway) -> None:
    assert gateway.ask("GET", "/api/v1/serviceS").status_code == 405
    assert gateway.ask("POST", "/api/v1/serviceX").status_code == 404


def test_a_failure_of_hanlabs_own_is_said_and_survived(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    octets = gateway.signed()
    with monkeypatch.context() as broken:
        broken.setattr(gateway.office.dsp, "receive_all", fail)
        assert gateway.post("S", octets).status_code == 500
    assert gateway.read(gateway.post("S", octets)).code == "I99"


# -- delivery


class Listener:
    """A user's listener that fails as often as it is told to."""

    def __init__(self, failures: list[int | Exception]) -> None:
        self._failures = failures
        self.took: list[bytes] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self._failures:
            failure = self._failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return httpx.Response(failure)
        self.took.append(request.content)
        return httpx.Response(204)


class Done(Exception):
    """Nothing waits any more."""


def deliver(gateway: Gateway, listener: Listener) -> list[float]:
    """Run the deliverer until nothing waits; its pauses."""
    import asyncio

    pauses: list[float] = []

    def pause(seconds: float) -> asyncio.Future[None]:
        pauses.append(seconds)
        if not gateway.office.dsp.deliveries.waiting_for(SUPPLIER):
            raise Done
        return asyncio.ensure_future(asyncio.sleep(0))

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(listener)) as client:
            await Deliverer(gateway.office.dsp, gateway.seals.sign, client, pause=pause).run()

    with pytest.raises(Done):
        asyncio.run(run())
    return pauses


def test_what_waits_is_posted_signed_and_in_order(gateway: Gateway) -> None:
    device = gateway.office.dsp.smi.find(PPMID)
    assert device
    (entry,) = gateway.office.dsp.cpl.of_version(str(device.version))
    gateway.office.dsp.withdraw(entry)
    listener = Listener([])
    deliver(gateway, listener)
    assert len(listener.took) == 1
    assert verify(listener.took[0], gateway.pki.certificates).by.name == DSP_NAME
    assert b"DeviceSuspended" in listener.took[0]


def test_a_listener_that_fails_is_tried_again_with_longer_pauses(gateway: Gateway) -> None:
    test_failures: list[int | Exception] = [500, httpx.ConnectError("refused"), 503]
    device = gateway.office.dsp.smi.find(PPMID)
    assert device
    (entry,) = gateway.office.dsp.cpl.of_version(str(device.version))
    gateway.office.dsp.withdraw(entry)
    listener = Listener(test_failures)
    pauses = deliver(gateway, listener)
    assert pauses[:3] == [1.0, 2.0, 5.0]
    assert len(listener.took) == 1
    assert gateway.office.dsp.deliveries.waiting_for(SUPPLIER) == []


def suspend(gateway: Gateway, times: int) -> None:
    """As many N28 for the supplier, a second after each other."""
    device = gateway.office.dsp.smi.find(PPMID)
    assert device
    (entry,) = gateway.office.dsp.cpl.of_version(str(device.version))
    for n in range(times):
        gateway.office.dsp.smi.set_status(PPMID, Status.COMMISSIONED)
        at = gateway.office.dsp.parts.clock() + timedelta(seconds=n)
        gateway.office.dsp.deliveries.put_for_covered(SUSPENDED, entry, at)


def suppliers(gateway: Gateway) -> list[Delivery]:
    return [d for d in gateway.office.dsp.deliveries.last() if d.recipient == SUPPLIER]


def test_a_message_that_a_listener_refuses_is_set_aside_and_the_rest_delivered(
    gateway: Gateway,
) -> None:
    suspend(gateway, 3)
    listener = Listener([422])
    assert deliver(gateway, listener) == [POLL_S]
    assert len(listener.took) == 2
    refused, *taken = suppliers(gateway)
    assert (refused.delivered, refused.refused) == (
        False,
        "http://user/smartdcc/duis answers 422",
    )
    assert all(d.delivered and d.refused is None for d in taken)
    assert gateway.office.dsp.deliveries.send_again() == 1
    deliver(gateway, listener)
    assert len(listener.took) == 3
    assert gateway.office.dsp.deliveries.send_again() == 0


@pytest.mark.parametrize("later", [408, 425, 429, 500, 503, 302])
def test_an_answer_that_is_about_the_moment_is_no_refusal(later: int, gateway: Gateway) -> None:
    suspend(gateway, 1)
    listener = Listener([later])
    assert deliver(gateway, listener)[0] == 1.0
    assert len(listener.took) == 1


class Picky(Listener):
    """It fails over the second message that it is shown, whatever it did before, and takes the others."""

    def __init__(self, failures: list[int]) -> None:
        super().__init__([])
        self.shown: list[bytes] = []
        self._of_the_second = failures

    def __call__(self, request: httpx.Request) -> httpx.Response:
        text = re.sub(rb"<ds:Signature.*", b"", request.content, flags=re.DOTALL)
        self.shown.append(text)
        if list(dict.fromkeys(self.shown)).index(text) == 1 and self._of_the_second:
            return httpx.Response(self._of_the_second.pop(0))
        return super().__call__(request)


def test_one_message_that_a_listener_fails_over_does_not_hold_the_others_up_for_ever(
    gateway: Gateway,
) -> None:
    suspend(gateway, 4)
    listener = Picky([500] * 1000)
    assert deliver(gateway, listener) == [*RETRY_S[: PATIENCE - 1], POLL_S, POLL_S]
    first, failed, *others = suppliers(gateway)
    assert (failed.delivered, failed.refused) == (
        False,
        f"http://user/smartdcc/duis answers 500 to {failed.code}",
    )
    assert all(d.delivered for d in (first, *others))
    a, b, c, d = dict.fromkeys(listener.shown)
    assert listener.shown == [a, *[b] * PATIENCE, c, b, d], "in their order, and no more often"
    assert gateway.office.dsp.deliveries.send_again() == 1


def test_a_listener_that_is_down_gets_all_of_it_when_it_is_back(gateway: Gateway) -> None:
    """Nothing is set aside, and it is asked for one message, later for two, after each pause."""
    suspend(gateway, 3)
    down: list[int | Exception] = [500, httpx.ConnectError("refused"), 502, 503, *[503] * 8]
    listener = Listener(down)
    assert deliver(gateway, listener) == [*RETRY_S, RETRY_S[-1], RETRY_S[-1], POLL_S]
    assert [(d.delivered, d.refused) for d in suppliers(gateway)] == [(True, None)] * 3


def test_a_listener_that_comes_back_between_two_messages_takes_both(gateway: Gateway) -> None:
    suspend(gateway, 3)
    listener = Picky([503] * PATIENCE)
    deliver(gateway, listener)
    assert [(d.delivered, d.refused) for d in suppliers(gateway)] == [(True, None)] * 3


def test_a_full_disk_does_not_end_the_deliveries(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That a message was taken cannot be written down: it goes again, and the others after it."""
    suspend(gateway, 2)
    mark = gateway.office.dsp.deliveries.delivered
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    failures = [trouble(None, full), ValueError("a defect")]

    def fails_first(number: int, now: datetime) -> None:
        if failures:
            raise failures.pop(0)
        mark(number, now)

    monkeypatch.setattr(gateway.office.dsp.deliveries, "delivered", fails_first)
    listener = Listener([])
    assert deliver(gateway, listener) == [1.0, 2.0, POLL_S]
    assert len(listener.took) == 4
    assert all(d.delivered for d in suppliers(gateway))
    assert "the disk is full" in caplog.text
    assert [r.exc_info is not None for r in caplog.records] == [False, True]


class Endless(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield bytes(1024)
        pytest.fail("it is read to its end, which it may not have")


def test_what_a_listener_answers_is_not_read(gateway: Gateway) -> None:
    suspend(gateway, 1)

    class Talker(Listener):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(super().__call__(request).status_code, stream=Endless())

    listener = Talker([])
    assert deliver(gateway, listener) == [POLL_S]
    assert suppliers(gateway)[0].delivered


def test_a_listener_that_does_not_come_to_an_answer_is_tried_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that sends an octet now and then is never silent for long."""
    monkeypatch.setattr("hanlab.gateway.delivery.TIMEOUT_S", 0)
    suspend(gateway, 1)

    class Slow(Listener):
        async def __call__(self, request: httpx.Request) -> httpx.Response:  # type: ignore[override]  # httpx takes it
            monkeypatch.setattr("hanlab.gateway.delivery.TIMEOUT_S", 10)
            if not self.took:
                self.took.append(b"")
                for _ in range(1000):
                    await asyncio.sleep(0)
                pytest.fail("it is waited for as long as it likes")
            return super().__call__(request)

    listener = Slow([])
    assert deliver(gateway, listener)[0] == 1.0
    assert len(listener.took) == 2


def test_a_message_that_cannot_be_signed_does_not_stop_the_others(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    suspend(gateway, 2)
    true_sign = gateway.seals.sign
    failures = [ValueError("a defect")]

    def sign(octets: bytes) -> bytes:
        if failures:
            raise failures.pop()
        return true_sign(octets)

    gateway.seals = replace(gateway.seals, sign=sign)
    listener = Listener([])
    deliver(gateway, listener)
    assert len(listener.took) == 1
    assert [d.refused for d in suppliers(gateway)] == [
        "it cannot be signed",
        None,
    ]
    assert "a defect" in caplog.text


def test_without_a_lab_behind_it_nothing_is_acknowledged(gateway: Gateway) -> None:
    gateway.office.dsp.no_contact = "the lab has stopped"
    assert gateway.answer("S", gateway.request(ReadFirmwareVersion())).code == "E20"
    assert gateway.answer("S", gateway.request(ActivateFirmware(bytes(32)))).code == "E20"
    assert gateway.carried_out == []
    assert gateway.office.dsp.unfinished() == []
    assert gateway.office.dsp.audit.read(1)[0].why == "the lab has stopped"
    inventory = Request(RequestId(SUPPLIER, DSP, 9), 8, "8.2", "8.2", ReadInventory(PPMID))
    assert gateway.answer("D", write_request(inventory)).code == "I0"


def test_a_full_disk_is_no_fault_of_the_request(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise trouble(Path("dsp.sqlite"), error)

    monkeypatch.setattr(gateway.office.dsp, "receive_all", full)
    came = gateway.post("S", gateway.signed())
    assert came.status_code == 503
    assert "SQLITE_FULL" in came.text


# -- all of it


COMMAND = [sys.executable, "-c", "from hanlab.cli import main; main()"]


@contextmanager
def boards(folder: Path, *, real: bool) -> Iterator[str]:
    """The boards of a lab.toml. `real`: others have them, and this lab reaches them at serial ports."""
    hub = '[comms_hub]\nboard = "esp32-devkitc"\nmodel = "skyline-i510"\neui = "00-DB-12-34-56-78-90-A2"\n'
    ppmid = f'[[device]]\nname = "PPMID"\nboard = "pico"\nmodel = "pipit-500"\neui = "{PPMID}"\n'
    if not real:
        yield hub + ppmid
        return
    (folder / "theirs.toml").write_text(hub + ppmid)
    with subprocess.Popen(
        [*COMMAND, "up", "--lab", "theirs.toml", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as up:
        try:
            assert up.stdout
            ptys = {b["name"]: b["pty"] for b in json.loads(up.stdout.readline())["boards"]}
            yield f'keys = "seed"\n{hub}port = "{ptys["hub"]}"\n{ppmid}'
        finally:
            up.terminate()


@pytest.mark.parametrize("real", [False, True], ids=["emulated", "real"])
def test_serve_from_end_to_end(tmp_path: Path, real: bool) -> None:
    """A client posts an 11.2, and the device's answer comes to its listener."""
    with boards(tmp_path, real=real) as lab:
        serve_from_end_to_end(tmp_path, lab)


def serve_from_end_to_end(tmp_path: Path, boards: str) -> None:
    came: SimpleQueue[bytes] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listener = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=listener.serve_forever, daemon=True).start()
    (tmp_path / "lab.toml").write_text(
        f'{boards}[[user]]\nname = "supplier"\neui = "{SUPPLIER}"\nroles = ["IS", "GS"]\n'
        f'listener = "http://127.0.0.1:{listener.server_port}/smartdcc/duis"\nretries = 2\n'
    )
    serving = subprocess.Popen(
        [*COMMAND, "serve", "--lab", "lab.toml", "--port", "0", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout
        ready = json.loads(serving.stdout.readline())
        assert ready["signed"]
        assert ready["retries_not_sent"] == ["supplier"]
        signer = read_pki(tmp_path / ready["pki"]).signers["supplier"]
        id_ = RequestId(SUPPLIER, PPMID, 1)
        request = write_request(Request(id_, 1, "11.2", "11.2", ReadFirmwareVersion()))
        url = f"{ready['url']}/serviceS"
        assert httpx.post(url, content=request, headers=XML, timeout=10).status_code == 403
        signed = signer.sign_octets(request)
        acknowledgement = httpx.post(url, content=signed, headers=XML, timeout=10)
        assert read_response(acknowledgement.content).code == "I99"
        result = read_response(came.get(timeout=30))
        assert result.request == id_
        assert result.body == FirmwareVersionRead("IHDAE05")
    finally:
        serving.terminate()
        serving.communicate()
        listener.shutdown()
        listener.server_close()
