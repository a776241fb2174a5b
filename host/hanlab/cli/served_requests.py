"""Service Requests of a command whose lab `hanlab serve` has: sent to that server, and printed as ever."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from hanlab.cli.endings import (
    RequestRefused,
    check_accepted,
    outcome_of,
    say_all_that_is_missing,
    version_of,
)
from hanlab.cli.hints import say_next
from hanlab.cli.pending_requests import teller, told
from hanlab.cli.request_file import end_as
from hanlab.cli.requests import draw_answer, draw_shortage
from hanlab.cli.served import ServedLab, served
from hanlab.cli.show import REQUESTS, Watch, console, say
from hanlab.cli.waiting import LiveLine
from hanlab.dsp.parts import Notice
from hanlab.duis.messages import Body, ReadFirmwareVersion, Request, UpdateFirmware
from hanlab.duis.responses import FirmwareActivated, FirmwareVersionRead
from hanlab.duis.writing import write_response
from hanlab.eui import Eui
from hanlab.images import OtaImage
from hanlab.lab.answers import RETRY_S, Answer
from hanlab.lab.nodes import NodeConfig
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed


def through_server(
    lab: Path | None,
    service: str,
    name: str,
    body: Callable[[Eui], Body],
    user: str,
    *,
    as_json: bool,
    file: Path | None,
) -> bool:
    """Send it to the server that has the lab, and print what comes of it; False: no server has it.

    `file` is the image of an 11.1.

    Raises:
        RequestRefused: the DSP refused it, or no answer came.
        ServiceRequestFailed: it failed at the device.
    """
    with served(lab) as there:
        if there is None:
            return False
        node = there.config.node(name)
        what = body(node.eui)
        audited = there.dsp.audit.newest()
        if not as_json:
            where = f"to {node.name}, through the server at {there.server.url}"
            say(console(), REQUESTS[service], where, "bold", indent=0)
        to = None if isinstance(what, UpdateFirmware) else node.eui

        began = time.monotonic()
        line = LiveLine(lambda: f"the server carries it out, {time.monotonic() - began:.0f} s")
        with (
            line,
            Watch(
                console(), _wall_us, device=node.name, quiet=as_json, real=True, line=line
            ) as watch,
        ):

            def again(answer: Answer) -> None:
                watch.stage_ends()
                line.hide()
                said = f"sent again in {RETRY_S:g} s, as `retries` of its Service User says"
                if not as_json:
                    say(console(stderr=True), answer.code, said, "yellow")
                line.show()

            answer = there.send(what, to, user, watch, again)
        voided = there.superseded(answer.request, audited)
        for notice in voided:
            teller(quiet=as_json)(notice)
        try:
            outcome = _judge(there, node, answer, as_json=as_json)
        except (RequestRefused, ServiceRequestFailed) as e:
            if isinstance(what, UpdateFirmware) and file:
                image = OtaImage.from_bytes(what.image)
                home = there.config.home_of(node)
                if home and not as_json:
                    draw_shortage(console(), e, watch, home.hub.model, len(what.image))
                say_all_that_is_missing(e, there.config, there.dsp, node, file, image)
            if "hanlab store" in e.next_step:
                e.next_step += "; hanlab store is for when the server has ended (Ctrl-C)"
            e.besides = told(voided)
            raise
        _say(there, node, answer, outcome, voided, as_json=as_json)
        if isinstance(what, UpdateFirmware) and not as_json:
            command = ["hanlab", "activate", node.name, "--image", str(file)]
            say_next(console(), shlex.join(command), lab)
        return True


def _wall_us() -> int:
    return time.monotonic_ns() // 1000  # a served lab's time is the computer's


def request_through_server(lab: Path | None, request: Request, *, as_json: bool) -> bool:
    """The same for a Service Request that is there already: what comes back is printed as XML."""
    with served(lab) as there:
        if there is None:
            return False
        audited = there.dsp.audit.newest()
        answer = there.send_request(request)
        voided = there.superseded(request, audited)
        for notice in voided:
            teller(quiet=as_json)(notice)
        came = answer.deliveries
        texts = [write_response(answer.acknowledgement).decode(), *(d.xml.decode() for d in came)]
        if as_json:
            codes = [answer.acknowledgement.code, *(d.code for d in came)]
            report = {"request_id": str(request.id), "codes": codes, "xml": texts}
            print(json.dumps({**report, "server": there.server.url, **told(voided)}))
        else:
            print("\n".join(text.strip() for text in texts))
        end_as(answer)
        return True


def _judge(there: ServedLab, node: NodeConfig, answer: Answer, *, as_json: bool) -> Outcome | None:
    """How it ended, after the codes have been drawn; None: an 11.2. Raises as the commands' own do."""
    check_accepted(answer)
    draw_answer(console(), there.dsp.settings, answer, quiet=as_json)
    if isinstance(answer.request.body, ReadFirmwareVersion):
        version_of(answer, node)
        return None
    return outcome_of(answer, there.dsp, node, served=True)


def _say(
    there: ServedLab,
    node: NodeConfig,
    answer: Answer,
    outcome: Outcome | None,
    voided: list[Notice],
    *,
    as_json: bool,
) -> None:
    body = answer.result and answer.result.body
    runs = body.version if isinstance(body, FirmwareActivated | FirmwareVersionRead) else None
    if as_json:
        said = {"device": str(node.eui), "version": runs, "server": there.server.url}
        codes = {"request_id": str(answer.request.id), "code": answer.code, "alerts": answer.alerts}
        ended = {"outcome": str(outcome)} if outcome else {}
        print(json.dumps({**ended, **said, **codes, **told(voided)}))
        return
    sent = answer.request.body
    if isinstance(sent, UpdateFirmware):
        holder = node.name if outcome is Outcome.DISTRIBUTED else "the CH"
        end = f"{holder} holds {sent.version}; 11.3 makes it run"
    else:
        end = f"{node.name} runs {runs}" if runs else "hanlab version reads what it runs"
    say(console(), f"✓ {outcome or 'done'}", end, "green")
