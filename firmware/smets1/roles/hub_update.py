# The CH's own update (11.1, 11.2 and 11.3 for the CHF). Its image comes as every other one into the CH's store, under
# the same budget (rule 4), and stays there until 11.3 has the CH start with it, on trial. The job that this is goes on
# after the restart, and tells then how it ended.
import asyncio

from micropython import const

from smets1.han.tunnel import ACTIVATED, ACTIVATION_FAILURE
from smets1.roles.trial import Trial

_LOOK_MS = const(100)
_RESTART_MS = const(50)  # the answer to the request is out by then
_GIVEN_UP = "it never confirmed that it works: the CH is back with the firmware that it had before"


class HubUpdate:
    """device: the CH itself, as jobs know devices. model: board.json's; counters: the HAN's; reset: the port's."""

    def __init__(self, device, store, model, counters, reset, log):
        self.device = device
        self.trial = Trial(store, model["version"], log, True)
        self._model = model["model"]
        self._counters = counters
        self._reset = reset

    def version(self):
        """The answer to 11.2."""
        return {
            "firmware": self.trial.version,
            "model": self._model,
            "file_version": self.trial.file_version,
        }

    async def activate(self, job, held):
        """11.3: of the images `held`, which an 11.1 brought for the CH, have the job's run. This does not return where
        the CH restarts, and is called again in the start after that."""
        if job.resumed and self.trial.gave_up(job.hash):
            job.status = ACTIVATION_FAILURE
            job.reason = _GIVEN_UP
            return
        job.status, _ = self.trial.activate(job.hash, held)
        if self.trial.restarts:
            await self.trial.restart(self._counters, self._reset, _RESTART_MS)
        while self.trial.on:  # it is the start after that, and has not confirmed yet
            await asyncio.sleep_ms(_LOOK_MS)
        if job.resumed and job.status == ACTIVATED:
            job.wanted = self.trial.version
