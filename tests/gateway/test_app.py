"""The web services: the right code for every sample, and nothing that brings them down."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import httpx
import pytest

from hanlab.dsp.settings import DEFAULT_SETTINGS
from hanlab.dsp.smi import Status
from hanlab.duis.messages import (
    ActivateFirmware,
    FirmwareVersionRead,
    Inventory,
    ReadFirmwareVersion,
    ReadInventory,
    Request,
    RequestId,
    Response,
    UpdateFirmware,
)
from hanlab.duis.pki import DSP_NAME, Pki
from hanlab.duis.reading import read_request, read_response
from hanlab.duis.signing import check
from hanlab.duis.writing import write_request
from hanlab.enrolment import product
from hanlab.eui import Eui
from hanlab.gateway.app import LIMIT, make_app
from hanlab.gateway.delivery import Deliverer
from hanlab.gateway.seals import seals_of
from hanlab.images import build, made_body
from hanlab.lab_config import DEFAULT, make_lab
from hanlab.office import PKI, Office, open_office, open_pki

SAMPLES = Path(__file__).parents[1] / "host" / "duis_samples"
SUPPLIER = Eui.parse("90-B3-D5-1F-30-01-00-00")
DSP = Eui.parse("90-B3-D5-1F-30-00-00-02")
PPMID = Eui.parse("00-DB-12-34-56-78-90-A4")


class Gateway:
    """The app with a lab's DSP behind it, without boards."""

    def __init__(self, folder: Path) -> None:
        config = make_lab("test", DEFAULT)
        listening = replace(DEFAULT_SETTINGS.users[0], listener="http://user/smartdcc/duis")
        users = (listening, *DEFAULT_SETTINGS.users[1:])
        self.config = replace(config, dsp=replace(config.dsp, users=users))
        self.office: Office = open_office(self.config, folder)
        self.pki: Pki = open_pki(folder / PKI, self.config)
        self.carried_out: list[RequestId] = []
        self.seals = seals_of(self.pki)
        app = make_app(self.office.dsp, self.seals, self.carried_out.append)
        self._app = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._counter = 1

    def post(self, service: str, octets: bytes) -> httpx.Response:
        return self.ask("POST", f"/api/v1/service{service}", octets)

    def ask(self, method: str, path: str, octets: bytes = b"") -> httpx.Response:
        async def exchange() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._app, base_url="http://dsp") as client:
                return await client.request(method, path, content=octets)

        return asyncio.run(exchange())

    def request(self, body: ReadFirmwareVersion | ActivateFirmware, to: Eui = PPMID) -> bytes:
        self._counter += 1
        id_ = RequestId(SUPPLIER, to, self._counter)
        service = "11.2" if isinstance(body, ReadFirmwareVersion) else "11.3"
        return write_request(Request(id_, 1, service, service, body))

    def answer(self, service: str, octets: bytes) -> Response:
        """What comes back, with the DSP's signature checked."""
        came = self.post(service, octets)
        assert came.status_code == 200, came.text
        assert came.headers["content-type"] == "application/xml"
        assert check(came.content, self.pki.certificates).name == DSP_NAME
        return read_response(came.content)


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
    came = gateway.post("D", (SAMPLES / name).read_bytes())
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


def test_a_whole_11_1(gateway: Gateway) -> None:
    image = build(
        made_body(200_000, seed=1), device_type="PPMID", version="IHDAE06", for_ch="Secure"
    )
    model = gateway.config.devices[0].model
    gateway.office.dsp.load([product(model, "IHDAE06", image.manufacturer_image_hash)])
    body = UpdateFirmware(image.to_bytes(), "IHDAE06", (PPMID,))
    request = Request(RequestId(SUPPLIER, DSP, 9), 8, "11.1", "11.1", body)
    assert gateway.answer("D", write_request(request)).code == "I99"


def test_a_signed_request(gateway: Gateway) -> None:
    signed = gateway.pki.signers["supplier"].sign_octets(gateway.request(ReadFirmwareVersion()))
    assert gateway.answer("S", signed).code == "I99"


def test_a_request_that_somebody_else_signed(gateway: Gateway) -> None:
    other = gateway.pki.signers["other-supplier"]
    came = gateway.post("S", other.sign_octets(gateway.request(ReadFirmwareVersion())))
    assert (came.status_code, "other-supplier" in came.text) == (403, True)
    assert gateway.carried_out == []


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
    signed = gateway.pki.signers["supplier"].sign_octets(gateway.request(ReadFirmwareVersion()))
    assert gateway.post("S", signed.replace(b":2<", b":3<")).status_code == 403


def test_a_replayed_request(gateway: Gateway) -> None:
    octets = gateway.request(ReadFirmwareVersion())
    assert gateway.answer("S", octets).code == "I99"
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

    octets = gateway.request(ReadFirmwareVersion())
    with monkeypatch.context() as broken:
        broken.setattr(gateway.office.dsp, "receive", fail)
        assert gateway.post("S", octets).status_code == 500
    assert gateway.answer("S", octets).code == "I99"


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
    assert check(listener.took[0], gateway.pki.certificates).name == DSP_NAME
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
        assert up.stdout
        ptys = {b["name"]: b["pty"] for b in json.loads(up.stdout.readline())["boards"]}
        yield f'keys = "seed"\n{hub}port = "{ptys["hub"]}"\n{ppmid}'
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
        f'listener = "http://127.0.0.1:{listener.server_port}/smartdcc/duis"\n'
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
        id_ = RequestId(SUPPLIER, PPMID, 1)
        request = write_request(Request(id_, 1, "11.2", "11.2", ReadFirmwareVersion()))
        acknowledgement = httpx.post(f"{ready['url']}/serviceS", content=request, timeout=10)
        assert read_response(acknowledgement.content).code == "I99"
        result = read_response(came.get(timeout=30))
        assert result.request == id_
        assert result.body == FirmwareVersionRead("IHDAE05")
    finally:
        serving.terminate()
        serving.communicate()
        listener.shutdown()
        listener.server_close()
