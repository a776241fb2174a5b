"""firmware/README.md says what is on the WAN: the host's messages, and what boards answer, are held against it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cbor2
import pytest
from intruder import codes, inject
from labs import OpenDesk, large_lab, make_image
from pycddl import ValidationError
from smp.error import MGMT_ERR
from smp.message import ReadRequest, ReadResponse, WriteRequest, WriteResponse
from wire_formats import README, Checked, commands, fields, rules

from hanlab.lab import Lab
from hanlab.lab.boards import wan_client
from hanlab.resources import firmware_dir
from hanlab.s1sp import dco
from hanlab.wan import auth, messages
from hanlab.wan.errors import Refused
from hanlab.wan.framing import FRAMINGS
from hanlab.wan.messages import (
    GROUP,
    Activate,
    CountersRead,
    DevicesRead,
    Distribute,
    EventsRead,
    HanError,
    Join,
    Leave,
    NetworkRead,
    StoreRead,
    StoreReadResponse,
)

KINDS = {
    ReadRequest: ("read", "request"),
    ReadResponse: ("read", "answer"),
    WriteRequest: ("write", "request"),
    WriteResponse: ("write", "answer"),
}
PARTS = {
    "image": messages.StoredImage,
    "partial-image": messages.PartialImage,
    "device": messages.HanDevice,
}
WAN = firmware_dir() / "smets1" / "wan"


def host_messages() -> dict[str, Any]:
    """The host's message classes by the README's name for them."""
    found = dict[str, Any](PARTS)
    for _, thing in inspect.getmembers(messages, inspect.isclass):
        for kind, (op, end) in KINDS.items():
            if issubclass(thing, kind) and thing is not kind:
                found[f"{commands()[op, thing._COMMAND_ID].name}-{end}"] = thing
    return found


def test_host_has_every_message_and_field_and_no_other() -> None:
    found = host_messages()
    wanted = {f"{row.name}-{end}" for row in commands().values() for end in ("request", "answer")}
    assert found.keys() == wanted | PARTS.keys()
    for name, model in found.items():
        described = fields(name)
        described.pop("seal", None)  # the session's, not the message's
        if name in PARTS or issubclass(model, ReadRequest):
            described.pop("nonce", None)  # so is a read's
        every = set() if name in PARTS else ReadRequest.model_fields.keys()
        has = {field: info for field, info in model.model_fields.items() if field not in every}
        assert has.keys() == described.keys(), name
        may_be_missing = {field for field, info in has.items() if not info.is_required()}
        assert {field for field, optional in described.items() if optional} <= may_be_missing, name


def test_commands_are_those_that_the_firmware_has(open_desk: OpenDesk) -> None:
    desk = open_desk(wan_open=True)
    client = wan_client(desk, "hub")
    desk.run(client.connect())
    groups = {GROUP: set(commands())}
    for group, listed in re.findall(r"^\| ([01]) \w+ \| (.*) \|$", README, re.MULTILINE):
        numbers = {
            int(n) for n in re.findall(r"[a-z] (\d+)\b(?! octets)", re.sub(r"\(.*?\)", "", listed))
        }
        groups[int(group)] = {(op, n) for n in numbers for op in ("read", "write")}
    for group, described in groups.items():
        for number in range(16):
            for op, code in (("read", 0x08), ("write", 0x0A)):
                if (group, op, number) == (0, "write", 5):
                    described = described - {("read", 5), ("write", 5)}  # it would restart
                    continue
                head = bytes((code, 0, 0, 1)) + group.to_bytes(2) + bytes((number, number))
                (rc,) = codes(desk.run(inject(desk, client, head + b"\xa0")))
                if group == GROUP:
                    assert (rc != MGMT_ERR.ENOTSUP) is ((op, number) in described), (op, number)
                elif rc != MGMT_ERR.ENOTSUP:
                    described = described - {("read", number), ("write", number)}
                    assert (op, number) in groups[group], (group, number)
        assert group == GROUP or not described, f"group {group} has no {described}"


def test_every_message_on_the_wire_is_as_described(tmp_path: Path) -> None:
    """A whole update and all that there is to read; each optional field is there at least once."""
    checked = Checked()
    with Lab.open(large_lab(21, tmp_path / "lab.toml")) as lab:
        port = lab.desk.ports["hub"]
        listen(port, checked)
        device = lab.device("P7")
        listen(lab.desk.ports["P7"], checked)
        lab.run(lab.wait_until_back(device))
        image = make_image(60_000)
        client = lab.home().wan  # two on one line would take each other's answers

        async def begin() -> StoreReadResponse:
            async with aclosing(client.upload(image.to_bytes())) as upload:
                async for off in upload:
                    if off > 30_000:
                        break
            return await client.read(StoreRead, verify=True)

        assert lab.run(begin()).partial is not None
        lab.run(lab.update_firmware(image, device))
        lab.run(lab.activate_firmware(image.manufacturer_image_hash, device))
        lab.run(lab.wait_until_back(device))
        lab.run(lab.store_of(device))

        async def read_everything() -> None:
            for n in range(9):
                async for _ in client.upload(make_image(100, f"V{n}").to_bytes()):
                    pass
            assert len((await client.read_all(StoreRead, "images", verify=True)).images) == 9
            assert len((await client.read_all(DevicesRead, "devices")).devices) == 21
            await client.read(CountersRead)
            await client.read(NetworkRead)
            newcomer = {"eui": bytes(8), "code": bytes(16), "type": "PPMID"}
            await client.write(Join, minutes=1, steps=2, **newcomer)
            assert (await client.read(DevicesRead, skip=21)).devices[0].state == "whitelisted"
            await client.write(Leave, eui=bytes(8))
            with pytest.raises(Refused):
                await client.write(Distribute, eui=device.eui.octets, hash=bytes(32), jitter=5)
            for n in range(24):
                with pytest.raises(Refused):
                    await client.write(
                        Activate,
                        eui=device.eui.octets,
                        hash=bytes(32),
                        counter=n,
                        mac=bytes(32),
                        dco_mac=bytes(32),
                    )
            assert (await client.read(EventsRead, since=0)).more
            await client.close()

        lab.run(read_everything())
    assert checked.unseen() == []


def listen(port: Any, checked: Checked) -> None:
    """Have every message that goes through a port held against the README."""
    for name in ("write", "feed"):
        setattr(port, name, _listening(getattr(port, name), checked))


def _listening(real: Callable[[bytes], None], checked: Checked) -> Callable[[bytes], None]:
    framing = FRAMINGS["cobs"]()

    def through(octets: bytes) -> None:
        framing.feed(octets)
        while (message := framing.take()) is not None:
            checked.take(message)
        real(octets)

    return through


def test_a_field_that_nobody_described_is_noticed() -> None:
    checked = Checked()
    body = cbor2.dumps({"devices": [], "next": 1})
    head = bytes((0x09, 0, 0, len(body))) + GROUP.to_bytes(2) + bytes((1, 1))
    with pytest.raises(ValidationError):
        checked.take(head + body)


def constants(file: Path) -> dict[str, int]:
    return {n: int(v, 0) for n, v in re.findall(r"^(\w+) = const\((\w+)\)", file.read_text(), re.M)}


def test_error_codes_are_those_of_both_ends() -> None:
    line = re.search(r"Error codes of the group: (.*?)\.\n", README, re.DOTALL)
    assert line
    described = {name: int(n) for n, name in re.findall(r"(\d+) `(\w+)`", line[1])}
    assert described == {error.name: error.value for error in HanError}
    firmware = constants(WAN / "han_group.py")
    assert described.items() <= firmware.items()


def test_words_that_keys_are_used_with_are_those_of_both_ends() -> None:
    """The login works, so the ends agree with each other; this is that the README agrees with them."""
    ends = SimpleNamespace(
        host=Path(auth.__file__).read_text() + Path(dco.__file__).read_text(),
        board=(WAN / "auth.py").read_text() + (WAN / "dual_control.py").read_text(),
    )
    words = re.findall(r'"(hanlab WAN \w+|11\.3)" *(?:\||$)', README, re.MULTILINE)
    assert len(words) == 5
    for word in words:
        assert f'b"{word}"' in ends.host, word
        assert f'b"{word}"' in ends.board, word
    length = re.search(r"`seal`, (\d+)\s+octets", README)
    assert length
    seal = auth._NUMBER_OCTETS + auth._TAG_OCTETS
    assert seal == int(length[1]) == constants(WAN / "auth.py")["_SEAL_VALUE"]
    assert rules()["seal20"] == f"bytes .size {seal}"
    length = re.search(r"`seal`,\s+the first (\d+) octets", README)
    assert length
    assert auth._TAG_OCTETS == int(length[1]) == constants(WAN / "auth.py")["_TAG"]
    assert rules()["seal16"] == f"bytes .size {auth._TAG_OCTETS}"
