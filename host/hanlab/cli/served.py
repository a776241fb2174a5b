"""A lab that `hanlab serve` has: Service Requests of other commands go through that server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx

from hanlab.dsp.accepted import parse_id
from hanlab.dsp.deliveries import Delivery
from hanlab.dsp.parts import SUPERSEDED, Notice
from hanlab.dsp.service import Dsp
from hanlab.dsp.service_requests import WEB_SERVICE
from hanlab.duis.messages import Body, Request
from hanlab.duis.pki import read_pki
from hanlab.duis.reading import read_response
from hanlab.duis.responses import Response
from hanlab.duis.writing import write_request
from hanlab.errors import CarriedOn, UsageError
from hanlab.eui import Eui
from hanlab.gateway.progress import read_progress
from hanlab.lab.answers import RETRY_S, Answer, Automation, answered
from hanlab.lab.config import LabConfig, read_lab
from hanlab.lab.office import named_user, open_office, service_request
from hanlab.lab.state import Server, serving, state_folder
from hanlab.s1sp.progress import Progress, Report

POLL_S: Final = 0.1
"""How often the DSP's memory is looked at for what came of a request."""
TIMEOUT_S: Final = 60.0
_HEADERS: Final = {"content-type": "application/xml"}


def _nobody(progress: Progress) -> None:
    pass


@dataclass
class ServedLab:
    """The DSP's memory, which this process may read, and the server, which decides and carries out."""

    server: Server
    config: LabConfig
    dsp: Dsp

    def send(
        self,
        body: Body,
        to: Eui | None,
        user: str,
        report: Report = _nobody,
        again: Callable[[Answer], None] = lambda answer: None,
    ) -> Answer:
        """A Service Request of one of the lab's users, and what comes of it.

        A user with `retries` sends an 11.3 that nobody answered again, as `Lab.send` does; `again` is
        called before each time.
        """
        sender = named_user(self.dsp, user) if user else None
        automation = Automation(self.dsp.settings)
        sent: list[Delivery] = []
        while True:
            answer = self.send_request(service_request(self.dsp, body, to, sender), report)
            sent += answer.deliveries
            if not automation.sends_again(answer):
                return replace(answer, deliveries=sent)
            again(answer)
            time.sleep(RETRY_S)

    def send_request(self, request: Request, report: Report = _nobody) -> Answer:
        """A Service Request that is there already; signed with its originator's key.

        Raises:
            CarriedOn: Ctrl-C; the server goes on.
        """
        before, audited = self.dsp.deliveries.newest(), self.dsp.audit.newest()
        try:
            acknowledgement = self._post(request)
            self._follow(request, report)
        except KeyboardInterrupt:
            raise CarriedOn(
                next_step="the server carries out what it has accepted: hanlab requests shows whether that is still "
                "pending, hanlab audit what came of it"
            ) from None
        came = self.dsp.deliveries.after(before)
        mine = [read_response(d.xml) for d in came if d.request == str(request.id)]
        result = mine[-1] if mine else None
        return answered(
            self.dsp,
            self.config,
            self.server.folder,
            request,
            acknowledgement,
            result,
            came,
            audited,
        )

    def _follow(self, request: Request, report: Report) -> None:
        """Pass its progress on until it has ended."""
        seen: dict[int, Progress] = {}

        def look() -> None:
            for number, step in enumerate(read_progress(self.server.folder, request.id)):
                if seen.get(number) != step:
                    seen[number] = step
                    report(step)

        while request.id in self.dsp.unfinished():
            if serving(self.server.folder) is None:
                raise UsageError(
                    f"the server at {self.server.url} has ended before {request.id} had",
                    next_step="it was accepted, and is carried out by whatever comes next to the lab: "
                    "hanlab requests",
                )
            time.sleep(POLL_S)
            look()
        look()

    def superseded(self, by: Request, audited: int) -> list[Notice]:
        """What a request that came after entry `audited` of the audit log has made void."""
        return [
            Notice(parse_id(e.request), e.action, Eui.parse(e.subject), e.code)
            for e in self.dsp.audit.after(audited)
            if e.code == SUPERSEDED and e.request and str(by.id) in e.why
        ]

    def _post(self, request: Request) -> Response:
        signers = read_pki(self.server.pki).signers.values()
        signer = next((s for s in signers if s.certificate.eui == request.id.originator), None)
        if signer is None:
            raise UsageError(
                f"{self.server.pki} has no key of {request.id.originator}",
                next_step="hanlab provision makes keys for the Service Users of lab.toml",
            )
        service = WEB_SERVICE[request.command_variant]
        try:
            answer = httpx.post(
                f"{self.server.url}/service{service}",
                content=signer.sign_octets(write_request(request)),
                headers=_HEADERS,
                timeout=TIMEOUT_S,
            )
        except httpx.HTTPError as e:
            raise UsageError(
                f"the server at {self.server.url} does not answer: {e or type(e).__name__}",
                next_step="end it (Ctrl-C) and start it again",
            ) from None
        if not answer.is_success:
            what, _, next_step = answer.text.strip().partition("\n")
            raise UsageError(
                f"the server at {self.server.url} answers {answer.status_code}: {what}",
                next_step=next_step,
            )
        return read_response(answer.content)


@contextmanager
def served(lab: Path | None) -> Iterator[ServedLab | None]:
    """The lab, if a server has it; None: it is free, or another command's."""
    config = read_lab(lab)
    folder = state_folder(lab, config)
    server = serving(folder)
    if server is None:
        yield None
        return
    config = config.impaired(server.impair)
    office = open_office(config, folder)
    try:
        yield ServedLab(server, config, office.dsp)
    finally:
        office.close()


def refuse_what_is_for_boards(lab: Path | None, **options: object) -> None:
    """A server has the boards and their wires, and this command's options reach neither.

    `options`: by their names without dashes, those that were not given empty.
    """
    given = [f"--{name}" for name, value in options.items() if value]
    server = serving(state_folder(lab, read_lab(lab))) if given else None
    if server is not None:
        raise UsageError(
            f"{' and '.join(given)} would have no effect: the server at {server.url} has the lab's boards "
            "and wires",
            next_step=f"leave {' and '.join(given)} out, or end the server (Ctrl-C) and run this again; "
            "hanlab serve takes --impair too",
        )
