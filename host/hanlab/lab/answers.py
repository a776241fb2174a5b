"""What comes of a Service Request, as a lab tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hanlab.dsp.deliveries import Delivery
from hanlab.duis.messages import Body, Request, Response, UpdateFirmware
from hanlab.eui import Eui
from hanlab.s1sp.outcome import ServiceRequestFailed

ACCEPTED_CODES: Final = ("I0", "I99", "W110101", "W110401")
"""Response codes with which a Service Request goes on, or went well."""

NO_ANSWER_CODES: Final = ("E20", "E21")
"""No contact with the device, no response of it."""


@dataclass(frozen=True)
class Answer:
    """What came of a Service Request: the acknowledgement at once, the result (if any) later.

    `deliveries`: everything that was sent to users because of it, DCC Alerts among them.
    `cause`: what the lab knows of why it failed; the response code says less, and goes to users alone.
    """

    request: Request
    acknowledgement: Response
    result: Response | None
    deliveries: list[Delivery]
    cause: ServiceRequestFailed | None = None

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
