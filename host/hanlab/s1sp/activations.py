"""11.3 Activate Firmware on one CH, which both the S1SP and the DCO have to want."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hanlab.s1sp.authority import Authority
from hanlab.s1sp.failures import distribution_failed, not_activated, refused, runs_another
from hanlab.s1sp.hub import Hub
from hanlab.s1sp.outcome import ActivateCode, Outcome, ServiceRequestFailed
from hanlab.s1sp.progress import Report
from hanlab.s1sp.target import Target
from hanlab.s1sp.versions import runs, wait_until_back
from hanlab.wan.client import NoAnswer, Refused
from hanlab.wan.errors import AccessDenied, FalseBoard
from hanlab.wan.messages import GROUP, Activate, EventsRead, HanError


async def activate(
    hub: Hub, authority: Authority, hash_: bytes, target: Target, report: Report
) -> Outcome:
    """Have the device run what its 11.1 has brought, by its Manufacturer Image hash (32 octets)."""
    last = await hub.last_counter(target)
    await hub.until_free(report)
    try:
        with may_have_happened():
            started = await hub.wan.write(
                Activate,
                eui=target.eui,
                hash=hash_,
                **vars(authority.authorise(target.eui, hash_, last)),
            )
    except Refused as e:
        if e.group == GROUP and e.rc == HanError.REFUSED:
            raise await _not_authorised(hub) from None
        raise refused(e, target) from None
    with may_have_happened():
        end = await hub.follow(started.job, target.name, "activate", report)
        if end.state == "failed":
            raise distribution_failed(end, target, end.len, service="11.3")
        code = ActivateCode(end.status)
        no_image = code in (ActivateCode.NO_IMAGE_HELD, ActivateCode.HASH_MISMATCH)
        if no_image and end.wanted and await runs(hub, end.wanted, target):
            raise runs_another(code, end.wanted, target, hash_)
        if code is not ActivateCode.SUCCESS:
            raise not_activated(code, target, hash_, end.reason)
        if end.wanted:
            await _check_that_it_runs(hub, end.wanted, target)
    return Outcome.ACTIVATED


async def _check_that_it_runs(hub: Hub, wanted: str, target: Target) -> None:
    """A device goes by the hash, so it may say `success` and run another version with the same one."""
    running = (await wait_until_back(hub, target)).firmware
    if running != wanted:
        raise ServiceRequestFailed(
            Outcome.ACTIVATION_FAILURE,
            f"{target.name} runs {running}, not {wanted}: it answered success to 11.3, which goes by the "
            "Manufacturer Image hash, and both versions have the same one",
            next_step="build the new version with firmware of its own, so that it has a hash of its own",
        )


async def _not_authorised(hub: Hub) -> ServiceRequestFailed:
    """Which check of the authorisation failed: the CH says that in its event log only."""
    why = "its event log does not say why"
    since, more = 0, True
    while more:
        answer = await hub.wan.read(EventsRead, since=since)
        for event in answer.events:
            since = int(event["n"])
            if event["name"] == "11.3 refused":
                why = str(event["text"])
        more = answer.more and bool(answer.events)
    return ServiceRequestFailed(
        Outcome.NOT_AUTHORISED,
        f"the CH refused the authorisation of 11.3 (dual control): {why}",
        next_step="the CH has to be provisioned with this lab's keys, the S1SP's and the DCO's",
    )


@contextmanager
def may_have_happened() -> Iterator[None]:
    """From here on an 11.3 may have come through, whatever happens to its answer."""
    try:
        yield
    except ServiceRequestFailed as e:
        e.begun = True
        raise
    except (NoAnswer, AccessDenied, FalseBoard) as e:  # a refusal says that it did not
        raise ServiceRequestFailed(
            Outcome.NO_CONTACT,
            f"the S1SP lost the CH in the middle of 11.3: {e.what}",
            next_step="hanlab version reads what the device runs now",
            begun=True,
        ) from None
