"""What is printed and copied for the page of a signed result, beside the flow.

What is missing is a fault with its own page; what a printer says in its own words stands on the
page of the result.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.sticks import stick_to_write
from edgehemo.errors import EdgeHemoError, PrintFailedError, StickMissingError
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.events import FaultCleared, FaultSeen
from edgehemo.kiosk.faults import FAULT_CODES, FAULTS, FaultCode
from edgehemo.kiosk.handing_out import HandedOut, Step, Way, handing_out
from edgehemo.kiosk.jobs import Job, Jobs
from edgehemo.kiosk.state import Sample
from edgehemo.words.language import Words

log = logging.getLogger(__name__)

# What the jobs know these errands by.
AREA = "done"
# A stick that is missing is looked for so often, s.
LOOK_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What stands on the page of a sample. step: what is being done; None: it has ended. left: what
    came of it. code: of what was wrong; said: in the printer's own words.
    """

    way: Way
    step: Step | None = None
    left: HandedOut | None = None
    code: str | None = None
    said: str = ""


class Errands:
    """Of one kiosk. Used from its event loop, but for `moved`."""

    def __init__(self, kiosk: Kiosk, device: DeviceConfiguration, jobs: Jobs) -> None:
        self.kiosk, self.device, self.jobs = kiosk, device, jobs
        # The last one, with all that it takes to do it again.
        self._last: tuple[Way, Sample, Words, str] | None = None
        self._told: Job | None = None

    def begin(self, way: Way, words: Words) -> None:
        """Print or copy the result of the sample in hand. KioskBusyError where something runs."""
        state = self.kiosk.state
        sample, session = state.sample, state.session
        assert sample is not None and sample.taking is not None and session is not None
        self._begin(way, sample, words, session.name)

    def _begin(self, way: Way, sample: Sample, words: Words, by: str) -> None:
        assert sample.taking is not None
        work = handing_out(way, self.kiosk, self.device, sample.taking, words, by)
        self.jobs.begin(AREA, f"{way} {sample.ref}", work)
        self._last = way, sample, words, by

    def again(self) -> None:
        """Do the last one again; nothing where there was none."""
        if self._last is not None:
            self._begin(*self._last)

    def stop(self) -> None:
        """Do not wait for it any more."""
        self.jobs.stop(AREA)

    def of(self, sample: Sample | None) -> Errand | None:
        """What the page of a sample says; None where nothing was asked for."""
        job = self.jobs.of(AREA)
        if job is None or sample is None or self._last is None or job.stopped:
            return None
        way, known, _, _ = self._last
        if known.ref != sample.ref:
            return None
        return errand_of(job, way)

    def moved(self) -> None:
        """From the thread of a job: it told of something, or has ended."""
        job = self.jobs.of(AREA)
        if job is not None and job.ended and job is not self._told:
            self._told = job
            self.kiosk.from_thread(lambda: self.kiosk.do(self._ended(job)))

    async def _ended(self, job: Job) -> None:
        """What is missing is a fault, for as long as the person waits for it."""
        code = job.error.code if isinstance(job.error, EdgeHemoError) else ""
        missing = next((each for each in FAULT_CODES if each == code), None)
        if missing is None or not self._is_waited_for():
            return
        self.jobs.put_away(AREA)
        if await self.kiosk.tell_if_possible(FaultSeen(missing)) and FAULTS[missing].clears:
            await self._look_for_it(missing)

    def _is_waited_for(self) -> bool:
        state = self.kiosk.state
        known = None if self._last is None else self._last[1].ref
        return state.place == "done" and state.hand == known

    async def _look_for_it(self, code: FaultCode) -> None:
        """A stick that is plugged in is written to without another touch."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            fault = self.kiosk.state.fault
            if fault is None or fault.code != code or not self._is_waited_for():
                return
            try:
                await asyncio.to_thread(stick_to_write, self.device)
            except StickMissingError:
                continue
            if await self.kiosk.tell_if_possible(FaultCleared(code)):
                self.again()
            return


def errand_of(job: Job, way: Way) -> Errand:
    """What a job of `handing_out` has come to."""
    if not job.ended:
        return Errand(way, step=_step(job))
    if isinstance(job.result, HandedOut):
        return Errand(way, left=job.result)
    said = job.error.said if isinstance(job.error, PrintFailedError) else ""
    code = job.error.code if isinstance(job.error, EdgeHemoError) else "FAILED"
    return Errand(way, code=code, said=said)


def _step(job: Job) -> Step:
    return "print" if job.step == "print" else "copy" if job.step == "copy" else "make"
