"""Service Requests of a command whose lab `hanlab serve` has: sent to that server, and printed as ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from hanlab.cli.office import end_as
from hanlab.cli.requests import AFTER_REFUSAL, GOES_ON, RequestRefused, draw_answer
from hanlab.cli.served import ServedLab, device, served
from hanlab.cli.show import REQUESTS, Watch, console, say
from hanlab.duis.messages import (
    Body,
    FirmwareActivated,
    FirmwareVersionRead,
    Request,
    UpdateFirmware,
)
from hanlab.duis.writing import write_response
from hanlab.eui import Eui
from hanlab.lab.answers import Answer, devices_of
from hanlab.lab.nodes import NodeConfig
from hanlab.s1sp.outcome import ACTIVATE_OUTCOME, ActivateCode, ServiceRequestFailed


def through_server(
    lab: Path | None,
    service: str,
    name: str,
    body: Callable[[Eui], Body],
    user: str,
    *,
    as_json: bool,
) -> bool:
    """Send it to the server that has the lab, and print what comes of it; False: no server has it.

    Raises:
        RequestRefused: the DSP refused it, or no answer came.
        ServiceRequestFailed: it failed at the device.
    """
    with served(lab) as there:
        if there is None:
            return False
        node = device(there, name)
        what = body(node.eui)
        before = there.dsp.audit.newest()
        if not as_json:
            where = f"to {node.name}, through the server at {there.server.url}"
            say(console(), REQUESTS[service], where, "bold", indent=0)
        to = None if isinstance(what, UpdateFirmware) else node.eui
        with Watch(console(), _wall_us, device=node.name, quiet=as_json, real=True) as watch:
            answer = there.send(what, to, user, watch)
        if not as_json:
            draw_answer(console(), there.dsp.settings, answer)
        _raise_if_it_failed(there, node, answer, service, before)
        _say(there, node, answer, as_json=as_json)
        return True


def _wall_us() -> int:
    return time.monotonic_ns() // 1000  # a served lab's time is the computer's


def request_through_server(lab: Path | None, request: Request, *, as_json: bool) -> bool:
    """The same for a Service Request that is there already: what comes back is printed as XML."""
    with served(lab) as there:
        if there is None:
            return False
        before = there.dsp.audit.newest()
        answer = there.send_request(request)
        came = answer.deliveries
        texts = [write_response(answer.acknowledgement).decode(), *(d.xml.decode() for d in came)]
        if as_json:
            codes = [answer.acknowledgement.code, *(d.code for d in came)]
            report = {"request_id": str(request.id), "codes": codes, "xml": texts}
            print(json.dumps({**report, "server": there.server.url}))
        else:
            print("\n".join(text.strip() for text in texts))
        devices = devices_of(request.body, request.id.target)
        end_as(answer, failed=any(there.failure(device, before) for device in devices))
        return True


def _raise_if_it_failed(
    there: ServedLab, node: NodeConfig, answer: Answer, service: str, before: int
) -> None:
    code = answer.acknowledgement.code
    if code not in GOES_ON:
        said = [e for e in there.dsp.audit.after(before) if e.action == service]
        rule = f" (rule {said[-1].rule})" if said and said[-1].rule else ""
        raise RequestRefused(
            code,
            f"the DSP answered {code}: {said[-1].why if said else 'it does not say why'}{rule}",
            next_step=AFTER_REFUSAL.get(code, "hanlab inventory shows what the DSP knows"),
        )
    if failure := there.failure(node.eui, before):
        failure.code = answer.code
        raise failure
    if answer.code not in GOES_ON:
        raise RequestRefused(
            answer.code,
            f"{answer.code}: no answer of {node.name} came to the DSP",
            next_step=f"hanlab version {node.name} reads what it runs now",
        )
    body = answer.result and answer.result.body
    if isinstance(body, FirmwareActivated) and not body.success and body.code is not None:
        outcome = ACTIVATE_OUTCOME[ActivateCode(body.code)]
        raise ServiceRequestFailed(
            outcome, body.debug or f"11.3 answered {body.status}", next_step="hanlab store"
        )


def _say(there: ServedLab, node: NodeConfig, answer: Answer, *, as_json: bool) -> None:
    body = answer.result and answer.result.body
    runs = body.version if isinstance(body, FirmwareActivated | FirmwareVersionRead) else None
    if as_json:
        codes = {"request_id": str(answer.request.id), "code": answer.code, "alerts": answer.alerts}
        said = {"device": str(node.eui), "version": runs, "server": there.server.url}
        print(json.dumps({**said, **codes}))
        return
    sent = answer.request.body
    if isinstance(sent, UpdateFirmware):
        end = f"{sent.version} is there for {node.name}; 11.3 makes it run"
    else:
        end = f"{node.name} runs {runs}" if runs else "hanlab version reads what it runs"
    say(console(), "✓ done", end, "green")
