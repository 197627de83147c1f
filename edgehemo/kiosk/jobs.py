"""Work of the areas that takes long: one at a time, beside the page, which follows its progress."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgehemo.errors import EdgeHemoError, KioskBusyError, place_of

log = logging.getLogger(__name__)

# Every page is asked for again when progress is told: not for each of ten thousand files.
TOLD_EVERY_S = 0.5


class JobStopped(Exception):  # noqa: N818  not an error: a person asked for it
    """The person who began the job has stopped it."""


@dataclass(slots=True)
class Job:
    """One of them, as its thread writes and pages read it. about: what began it, for its area to
    know. share: of it that is done, 0 to 1; None where nobody can say. step: what it does now, a
    name that its area has words for. result: what it came to; None until then, and where it failed.
    error: why it failed. ended: whether its thread is through.
    """

    about: str
    area: str
    share: float | None = None
    step: str = ""
    result: object = None
    error: Exception | None = None
    stopped: bool = False
    ended: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _told: Callable[[], None] = lambda: None
    _told_at_s: float = 0.0

    def at(self, share: float | None, step: str = "") -> None:
        """Tell of progress. JobStopped where a person has stopped it."""
        if self._stop.is_set():
            raise JobStopped
        now, other = time.monotonic(), step not in ("", self.step)
        self.share = share
        self.step = step or self.step
        if other or now - self._told_at_s >= TOLD_EVERY_S:
            self._told_at_s = now
            self._told()

    @property
    def stopping(self) -> bool:
        """Whether a person has asked it to stop."""
        return self._stop.is_set()


class Jobs:
    """The jobs of one kiosk: the one that runs, and the last one of each area until it is put away.

    told: called from the job's thread when something changed that a page shows.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._running: Job | None = None
        self._last: dict[str, Job] = {}
        self._thread: threading.Thread | None = None

    def begin(self, area: str, about: str, work: Callable[[Job], object]) -> Job:
        """Begin one. KioskBusyError where another runs. work: gives its result, tells of progress
        by `Job.at`, and ends with JobStopped or an error.
        """
        with self._lock:
            if self._running is not None:
                raise KioskBusyError("something else is still being done; wait for it or stop it")
            job = Job(about, area)
            job._told = self._told
            self._running = self._last[area] = job
            self._thread = threading.Thread(
                target=self._run, args=(job, work), name=f"kiosk-{about}", daemon=True
            )
            self._thread.start()
        return job

    def _run(self, job: Job, work: Callable[[Job], object]) -> None:
        try:
            job.result = work(job)
        except JobStopped:
            job.stopped = True
        except EdgeHemoError as error:
            log.error("%s: %s", job.about, error.code)
            job.error = error
        except Exception as error:
            # The page says that it failed; the log says where.
            log.error("%s failed: %s at %s", job.about, type(error).__name__, place_of(error))
            job.error = error
        finally:
            with self._lock:
                job.ended = True
                self._running = None
            self._told()

    def of(self, area: str) -> Job | None:
        """The job of an area: running, or ended and not put away yet."""
        return self._last.get(area)

    def stop(self, area: str) -> None:
        """Ask the job of an area to stop."""
        job = self._last.get(area)
        if job is not None:
            job._stop.set()

    def put_away(self, area: str) -> None:
        """Forget the ended job of an area."""
        job = self._last.get(area)
        if job is not None and job.ended:
            del self._last[area]

    def close(self, timeout_s: float = 3.0) -> None:
        """Ask what runs to stop, and wait a moment for it."""
        with self._lock:
            running, thread = self._running, self._thread
        if running is not None:
            running._stop.set()
        if thread is not None:
            thread.join(timeout_s)
