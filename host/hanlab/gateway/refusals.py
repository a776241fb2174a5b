"""What is no Service Request of a proved sender gets an HTTP error and two lines of plain text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.responses import PlainTextResponse, Response


@dataclass
class Refused(Exception):
    """An HTTP status, what happened, and the next step."""

    status: int
    what: str
    next_step: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        text = f"{self.what}\n{self.next_step}\n"
        return PlainTextResponse(text, status_code=self.status, headers=dict(self.headers))
