"""How a Service Request ended, as a command says it: one way for a lab that is served and for one that is not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from hanlab.dsp.cpl import CplStatus
from hanlab.dsp.joining import ELSEWHERE, IN_UPDATE
from hanlab.dsp.service import Dsp
from hanlab.dsp.service_requests import METERS
from hanlab.duis.messages import UpdateFirmware
from hanlab.duis.responses import FirmwareVersionRead
from hanlab.errors import HanlabError
from hanlab.images import OtaImage
from hanlab.lab.answers import Answer
from hanlab.lab.config import LabConfig
from hanlab.lab.fitting import (
    home_of,
    how_to_mend,
    listed,
    listing_problem,
    misfits,
    third_party_at,
)
from hanlab.lab.nodes import NodeConfig
from hanlab.s1sp.outcome import Outcome, ServiceRequestFailed

GOES_ON: Final = ("I0", "I99", "W110101")
AFTER_REFUSAL: Final = {
    "E2": "--as USER sends it as another Service User; [[user]] in lab.toml has their roles",
    "E3": "take active = false out of that [[user]] in lab.toml",
    "E4": "hanlab inventory shows whose it is; --as USER sends it as that one",
    "E5": "hanlab inventory shows its status; a Suspended device takes 11.1, 11.3 and (MP105) 11.2, a "
    "Pending one joins by hanlab join",
    "E11": "below [dsp] in lab.toml: secmp0007 with a day before the lab's date, or a later start",
    "E19": "hanlab inventory shows what the DSP knows; a device of the lab joins by hanlab join",
    ELSEWHERE: "hanlab move DEVICE --to HOME takes it from one home to another",
    **dict.fromkeys(IN_UPDATE.values(), "hanlab requests shows what is under way"),
    "E110101": "hanlab cpl add FILE lists it, as its manufacturer would",
    "E110102": "hanlab cpl shows the hashes; give the changed firmware another version",
    "E110105": "hanlab inventory and hanlab cpl show what does not fit",
}
"""The next step after a response code that refuses a Service Request."""
_FOR_THE_IMAGE: Final = (
    *("E110101", "E110102", "E110105"),
    *(Outcome.METADATA, Outcome.DEVICE_REFUSED, Outcome.NO_IMAGE_HELD),
)
"""How an 11.1 ends that another image, or its place on the CPL, would help."""


class RequestRefused(HanlabError):
    """The DSP refused a Service Request, or no answer came; `outcome` is the response code.

    `cause` is what the lab knows besides; then the next step is the cause's.
    """

    exit_code = 1

    def __init__(
        self, outcome: str, what: str, *, next_step: str, cause: HanlabError | None = None
    ) -> None:
        super().__init__(what, next_step=cause.next_step if cause else next_step)
        self.outcome = self.code = outcome
        self.cause = cause


def check_accepted(answer: Answer) -> None:
    """Raises RequestRefused if the DSP refused it."""
    code = answer.acknowledgement.code
    if code in GOES_ON:
        return
    why = answer.decision
    rule = f" (rule {why.rule})" if why and why.rule else ""
    raise RequestRefused(
        code,
        f"the DSP answered {code}: {why.why if why else 'it does not say why'}{rule}",
        next_step=AFTER_REFUSAL.get(code, "hanlab inventory shows what the DSP knows"),
        cause=answer.cause,
    )


def outcome_of(answer: Answer, dsp: Dsp, node: NodeConfig, *, served: bool = False) -> Outcome:
    """How an 11.1 or 11.3 that the DSP accepted ended at the device `node`.

    Raises:
        ServiceRequestFailed: as the S1SP says.
        RequestRefused: the answer never came to the DSP.
    """
    if answer.cause:
        answer.cause.code = answer.code
        raise answer.cause
    if (
        answer.code not in GOES_ON
    ):  # the device did answer: lab.toml wants the DSP to lose some of that
        next_step = _after_a_loss(dsp, node, served=served)
        lost = HanlabError(
            f"{node.name} answered that it has activated the image, and the answer was lost between S1SP "
            f"and DSP: [dsp] lost_responses = {dsp.settings.lost_responses:g} (rules 86, 94)",
            next_step=next_step,
        )
        raise RequestRefused(
            answer.code,
            f"{answer.code}: no answer of {node.name} came to the DSP",
            next_step=next_step,
            cause=lost,
        )
    if not isinstance(answer.request.body, UpdateFirmware):
        return Outcome.ACTIVATED
    return Outcome.DISTRIBUTED if node.model.two_step else Outcome.STORED


def _after_a_loss(dsp: Dsp, node: NodeConfig, *, served: bool) -> str:
    """How to learn what the device runs, where the DSP did not hear of it; and how the SMI does."""
    settings, now = dsp.settings, dsp.parts.clock()
    meter = node.model.device_type in METERS
    if settings.has_mp105(now) and (meter or settings.has_secmp0007(now)):
        return f"hanlab version {node.name} reads what it runs now"
    ended = "with the server ended (Ctrl-C), " if served else ""
    return (
        f"{ended}hanlab version {node.name} --direct reads what it runs now; the SMI learns of it by another "
        "update only: 11.1 with another version, and 11.3 (rule 87)"
    )


def version_of(answer: Answer, node: NodeConfig) -> str | None:
    """What an 11.2 that the DSP accepted was answered.

    Raises:
        RequestRefused: no answer came to the DSP.
    """
    if answer.result is None or not isinstance(answer.result.body, FirmwareVersionRead):
        raise RequestRefused(
            answer.code,
            f"{answer.code}: no answer of {node.name} came to the DSP",
            next_step="check that it is switched on, and send the Service Request again",
            cause=answer.cause,
        )
    return answer.result.body.version


def say_all_that_is_missing(
    failure: RequestRefused | ServiceRequestFailed,
    config: LabConfig,
    dsp: Dsp,
    node: NodeConfig,
    path: Path,
    image: OtaImage,
) -> None:
    """Add to an 11.1's refusal what would refuse it next, and one next step that mends all of it."""
    if str(failure.outcome) not in _FOR_THE_IMAGE:
        return
    home = home_of(config, node, dsp.smi)
    if third := third_party_at(home, node):  # no image would help
        if isinstance(failure, RequestRefused) and failure.cause is None:
            failure.what += f"; and listed, it would be refused as well: {third.what}"
        failure.next_step = third.next_step
        return
    cpl = dsp.cpl
    taken = listing_problem(image, node, cpl)
    problems = [*misfits(image, node, home), *([taken] if taken else [])]
    if problems:
        said = [p for p in problems if failure.outcome is Outcome.METADATA and "metadata" in p]
        if more := [p for p in problems if p not in said]:
            failure.what += f"; what keeps this image from {node.name}: {'; '.join(more)}"
        failure.next_step = how_to_mend(image, node, cpl, path)
        return
    if not isinstance(failure, RequestRefused):  # what the boards refuse is no matter of the CPL
        return
    status = listed(image, node, cpl)
    if status is None:
        failure.next_step = f"hanlab cpl add {shlex.quote(str(path))}, as its manufacturer would"
    elif status is not CplStatus.ACTIVE:
        again = f"hanlab cpl add {shlex.quote(image.version)} lists it again"
        failure.next_step = f"its entry on the CPL is {status}: {again}"
