"""`hanlab ports`: what is plugged in, who has it, and what runs on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from hanlab.cli.show import console, say
from hanlab.flashing.asking import Answer, ask
from hanlab.flashing.micropython import drives
from hanlab.flashing.plugged import Plugged, forbidden, holders, plugged
from hanlab.wan.ble_port import find_ble


def run(*, ble: bool, as_json: bool) -> None:
    """List them, each asked for at most two seconds, all at the same time; with `ble` those around instead."""
    if ble:
        _run_ble(as_json=as_json)
        return
    ports = plugged()
    answers, bootsel = _ask_all(ports), drives()
    if as_json:
        found = [_as_json(port, answers[port.device]) for port in ports]
        there = [{"drive": str(drive), "chip": chip} for drive, chip in bootsel.items()]
        print(json.dumps({"ports": found, "bootsel": there}))
        return
    out = console()
    for port in ports:
        say(out, port.device, _sentence(port, answers[port.device]), "green")
    for drive, chip in bootsel.items():
        say(
            out,
            str(drive),
            f"{chip} in BOOTSEL mode: hanlab flash --micropython FILE.uf2 puts MicroPython on it",
            "green",
        )
    if not (ports or bootsel):
        say(out, "no board", "nothing is at this computer's USB", "yellow")
        out.print(
            "  next: plug one in; a new board shows up once MicroPython is on it", soft_wrap=True
        )


def _ask_all(ports: list[Plugged]) -> Mapping[str, Answer]:
    with ThreadPoolExecutor(max_workers=max(1, len(ports))) as pool:
        return dict(zip([p.device for p in ports], pool.map(ask, ports), strict=True))


def _sentence(port: Plugged, answer: Answer) -> str:
    what = [port.kind or f"USB {port.vid:04X}:{port.pid:04X}"]
    if port.interfaces > 1:
        what.append("REPL" if port.interface == 0 else "cable")
    if port.serial:
        what.append(f"serial number {port.serial}")
    what.append(_runs(answer))
    return ", ".join(what)


def _runs(answer: Answer) -> str:
    if answer.trouble:
        return answer.trouble
    if who := answer.hello:
        return f"runs hanlab's {who.role} {who.eui or ''}, {who.version} ({who.micropython}, {who.machine})"
    if answer.micropython:
        return f"MicroPython {answer.micropython}, at its REPL"
    return answer.note


def _as_json(port: Plugged, answer: Answer) -> dict[str, object]:
    return {
        "port": port.device,
        "vid": port.vid,
        "pid": port.pid,
        "serial": port.serial,
        "kind": port.kind,
        "interface": port.interface,
        "interfaces": port.interfaces,
        "held_by": holders(port.device),
        "forbidden": forbidden(port.device),
        "micropython": answer.micropython,
        "hanlab": vars(answer.hello) if answer.hello else None,
        "note": answer.trouble or answer.note,
    }


def _run_ble(*, as_json: bool) -> None:
    found = find_ble()
    if as_json:
        print(json.dumps({"boards": [vars(board) | {"port": board.port} for board in found]}))
        return
    out = console()
    for board in found:
        say(out, board.port, f"{board.address}, {board.rssi} dBm", "green")
    if not found:
        _say_no_ble(out)


def _say_no_ble(out: Console) -> None:
    say(out, "no board", "nobody around advertises hanlab's BLE service", "yellow")
    out.print(
        "  next: ble = true below the board in lab.toml, and flash it; who is connected does not advertise",
        soft_wrap=True,
    )
