"""What comes of a Service Request, as a lab tells it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hanlab.dsp.audit import Entry
from hanlab.dsp.deliveries import Delivery
from hanlab.dsp.execution import FAILED
from hanlab.dsp.service import Dsp
from hanlab.dsp.settings import DspSettings
from hanlab.duis.messages import ActivateFirmware, Body, Request, UpdateFirmware
from hanlab.duis.responses import Response
from hanlab.eui import Eui
from hanlab.lab.config import LabConfig
from hanlab.lab.fitting import third_party_at
from hanlab.lab.nodes import NodeConfig
from hanlab.lab.silence import explain_silence
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

ACCEPTED_CODES: Final = ("I0", "I99", "W110101", "W110401")
"""Response codes with which a Service Request goes on, or went well."""

_UNKNOWN_DEVICE: Final = ("E19", "E110105", "E110405")
"""Response codes for a device that is not in the inventory, or for none that is left."""
NO_ANSWER_CODES: Final = ("E20", "E21")
"""No contact with the device, no response of it."""

RETRY_S: Final = 60.0
"""How long a Service User's system waits before it sends an 11.3 again (s); illustrative."""


@dataclass(frozen=True)
class Answer:
    """What came of a Service Request: the acknowledgement at once, the result (if any) later.

    `deliveries`: everything that was sent to users because of it, DCC Alerts among them.
    `cause`: what the lab knows of why it failed; the response code says less, and goes to users alone.
    `decision`: what the DSP's audit log says of the acknowledgement.
    """

    request: Request
    acknowledgement: Response
    result: Response | None
    deliveries: list[Delivery]
    cause: ServiceRequestFailed | None = None
    decision: Entry | None = None

    @property
    def code(self) -> str:
        """The response code that says how it ended."""
        return (self.result or self.acknowledgement).code

    @property
    def alerts(self) -> list[str]:
        """The codes of the DCC Alerts, in their order."""
        return [d.code for d in self.deliveries if d.request is None]


def devices_of(body: Body, to: Eui | None) -> tuple[Eui, ...]:
    """The devices that a Service Request is for."""
    if isinstance(body, UpdateFirmware):
        return body.devices
    return (to,) if to else ()


def answered(
    dsp: Dsp,
    config: LabConfig,
    folder: Path,
    request: Request,
    acknowledgement: Response,
    result: Response | None,
    sent: list[Delivery],
    audited: int,
) -> Answer:
    """The answer, with what the DSP's audit log has on it after its entry `audited`, and with what the lab knows.

    `folder`: the lab's state.
    """
    named = devices_of(request.body, request.id.target)
    nodes = [node for node in config.devices if node.eui in named]
    if acknowledgement.code in ACCEPTED_CODES:
        cause = _failure(dsp.audit.first(request.id, FAILED, audited))
    elif acknowledgement.code in _UNKNOWN_DEVICE:
        cause = _unknown(dsp, config, nodes)
    else:
        cause = None
    if cause:
        explain_silence(cause, config, folder, nodes[0].name if len(nodes) == 1 else "")
    decision = dsp.audit.first(request.id, request.reference, audited)
    return Answer(request, acknowledgement, result, sent, cause, decision)


def _failure(entry: Entry | None) -> ServiceRequestFailed | None:
    if entry is None:
        return None
    return ServiceRequestFailed(Outcome(entry.code), entry.why, next_step=entry.next_step or "")


def _unknown(dsp: Dsp, config: LabConfig, nodes: list[NodeConfig]) -> ServiceRequestFailed | None:
    """The S1SP told the DSP nothing of a third-party PPMID, so that is all the DSP can say (rule 22)."""
    unknown = (third_party_at(config.home_of(n), n) for n in nodes if dsp.smi.find(n.eui) is None)
    return next(filter(None, unknown), None)


class Automation:
    """A Service User's own system: it sends an 11.3 that nobody answered again, `retries` times."""

    def __init__(self, settings: DspSettings) -> None:
        self._settings = settings
        self._sent = 0

    def sends_again(self, answer: Answer) -> bool:
        """Whether it does after this answer, in `RETRY_S`; asked after each."""
        user = self._settings.user(answer.request.id.originator)
        self._sent += 1
        return (
            isinstance(answer.request.body, ActivateFirmware)
            and answer.code in NO_ANSWER_CODES
            and user is not None
            and self._sent <= user.retries
        )
