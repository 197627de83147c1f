"""A run: everything that is still to be read, on whatever workers there are, counted at the end.

A run keeps nothing that it could lose: what is planned and what is read lies in the archive. One
that was stopped, by whatever, is gone on with by the same command.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from edgehemo_laboratory.archive import cluster
from edgehemo_laboratory.archive.cluster import SchedulerLostError
from edgehemo_laboratory.archive.equipment import ReadingFile
from edgehemo_laboratory.archive.layout import STAGES, Stage
from edgehemo_laboratory.archive.output import RereadOutput
from edgehemo_laboratory.archive.parts import BatchDone, Job, read_batch
from edgehemo_laboratory.archive.place import Archive
from edgehemo_laboratory.archive.plan import Work, batches_of, next_work, plan_numbers
from edgehemo_laboratory.archive.queries import queries
from edgehemo_laboratory.archive.status import missing, reading_entry
from edgehemo_laboratory.errors import LaboratoryError

# Batches that a worker has, reads or waits for: so many are in the scheduler's memory, however
# large the archive is.
WINDOW_A_WORKER = 2
# How often a batch is begun again whose worker was lost, or that could not be written.
BATCH_TRIES = 5
# Batches that fail one after the other, none done between them: then the run is stopped.
_FAILED_IN_A_ROW = 8
# A scheduler that was lost is waited for so long, and asked so often.
PATIENCE_S = 600.0
_AGAIN_EVERY_S = 2.0
_POLL_S = 0.5
_WORKERS_EVERY_S = 5.0
# A worker that came is given this long to say whether it may read.
_NEW_WORKER_S = 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a run tells while it goes. said: a line for people. advance: how many items are done in
    all of how many, and a note.
    """

    said: Callable[[str], None] = lambda _: None
    advance: Callable[[Stage, int, int, str], None] = lambda *_: None


@dataclass(slots=True)
class _Counted:
    """What happened in this run."""

    workers: int = 0
    restarted: int = 0
    lost: int = 0
    items: dict[Stage, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))
    rss_bytes: int = 0
    failed: dict[int, str] = field(default_factory=dict)


Connect = Callable[[], AbstractContextManager[Any]]


def reread(
    archive: Archive,
    file: ReadingFile,
    job: Job,
    connect: Connect,
    *,
    again: bool = False,
    patience_s: float = PATIENCE_S,
    batch_fields: int | None = None,
    told: Told | None = None,
) -> RereadOutput:
    """Read what is still to be read.

    connect: a context with a client of the workers. again: what was set aside is read once more.
    patience_s: how long a scheduler that was lost is waited for. Raises LaboratoryError where
    workers differ, where nothing can be read, or the scheduler does not come back; what was read
    until then stays.
    """
    told = told or Told()
    counted = _Counted()
    begun_s = time.monotonic()
    upto = {
        stage: max(plan_numbers(archive, file.reading, stage), default=0) if again else 0
        for stage in STAGES
    }
    options: dict[str, Any] = {} if batch_fields is None else {"batch_fields": batch_fields}
    lost_s: float | None = None
    while True:
        try:
            if not _anything(archive, file, upto, options):
                break
            with connect() as client, _lost_is_told(client):
                counted.workers = max(counted.workers, cluster.admit(client, job, file.versions))
                lost_s = None
                for stage in STAGES:
                    while work := next_work(
                        archive, file.reading, stage, again_upto=upto[stage], **options
                    ):
                        _Stage(archive, file.reading, job, client, counted, told).run(work)
                        if counted.failed:
                            break
            break
        except SchedulerLostError as error:
            lost_s = time.monotonic() if lost_s is None else lost_s
            if time.monotonic() - lost_s > patience_s:
                raise SchedulerLostError(
                    f"{error}. What was read is kept: the same command goes on with the rest"
                ) from None
            told.said(f"{error}; waiting for it")
            time.sleep(_AGAIN_EVERY_S)
    for batch, why in sorted(counted.failed.items())[:5]:
        told.said(f"batch {batch} could not be read: {why}")
    seconds = time.monotonic() - begun_s
    with queries(archive) as asked:
        entry = reading_entry(asked, file)
        left = missing(asked)
    return RereadOutput(
        archive=archive.about,
        done=not entry.waiting and not entry.samples_waiting and not entry.twice,
        missing=left,
        fields_in_run=counted.items["fields"],
        samples_in_run=counted.items["samples"],
        workers=counted.workers,
        seconds=round(seconds, 1),
        fields_per_s=round(counted.items["fields"] / seconds, 2) if seconds else 0.0,
        restarted=counted.restarted,
        lost=counted.lost,
        reader_mb=round(counted.rss_bytes / 1e6, 1),
        reading=entry,
    )


@contextlib.contextmanager
def _lost_is_told(client: Any) -> Iterator[None]:
    """Whatever a client says that has lost its scheduler, it is that."""
    try:
        yield
    except LaboratoryError:
        raise
    except Exception as error:
        if client.status == "running":
            raise
        raise SchedulerLostError(f"the scheduler was lost ({type(error).__name__})") from None


def _anything(
    archive: Archive, file: ReadingFile, upto: dict[Stage, int], options: dict[str, Any]
) -> bool:
    """Whether anything is to be read; no worker is started for nothing."""
    return any(
        next_work(archive, file.reading, stage, again_upto=upto[stage], **options)
        for stage in STAGES
    )


class _Stage:
    """The batches of one plan, a window of them with the scheduler at a time."""

    def __init__(
        self,
        archive: Archive,
        reading: str,
        job: Job,
        client: Any,
        counted: _Counted,
        told: Told,
    ) -> None:
        self._archive, self._reading, self._job = archive, reading, job
        self._client, self._counted, self._told = client, counted, told
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Future -> its batch with the rows, and how often it was begun.
        self._begun: dict[Any, tuple[int, list[dict[str, Any]], int]] = {}
        self._looked_s = 0.0
        # When each worker was first seen, and those that were told to get no work.
        self._new_s: dict[str, float] = {}
        self._shut: set[str] = set()
        self._done = 0
        self._failed_in_a_row = 0

    def run(self, work: Work) -> None:
        """Until every batch has its part or has failed. SchedulerLostError, LaboratoryError."""
        batches = batches_of(self._archive, self._reading, work)
        begun_s = time.monotonic()
        ends = False
        try:
            while not ends or self._begun:
                while not ends and len(self._begun) < self._window():
                    batch = next(batches, None)
                    ends = batch is None
                    if batch is not None:
                        self._begin(work, *batch, tried=1)
                self._look_at_workers()
                with contextlib.suppress(queue.Empty):
                    self._settle(work, self._finished.get(timeout=_POLL_S))
                    passed_s = time.monotonic() - begun_s
                    left_s = passed_s / max(1, self._done) * (len(work.missing) - self._done)
                    self._told.advance(
                        work.stage,
                        self._counted.items[work.stage],
                        self._done,
                        f"{self._done} of {len(work.missing)} batches, "
                        f"{len(self._new_s)} workers, {_left(left_s)} left",
                    )
        finally:
            for future in list(self._begun):
                with contextlib.suppress(Exception):
                    future.release()

    def _window(self) -> int:
        return max(2, WINDOW_A_WORKER * max(1, len(self._new_s)))

    def _begin(self, work: Work, batch: int, rows: list[dict[str, Any]], *, tried: int) -> None:
        job = self._job
        future = self._client.submit(
            read_batch, job, work.stage, work.plan, batch, rows,
            key=f"read-{job.reading}-{work.stage}-{work.plan}-{batch}-{tried}-{time.time_ns()}",
            resources={cluster.resource_of(job): 1}, pure=False,
        )  # fmt: skip
        self._begun[future] = (batch, rows, tried)
        future.add_done_callback(self._finished.put)

    def _settle(self, work: Work, future: Any) -> None:
        """Take what became of a batch; begin it again where its worker was lost."""
        if future not in self._begun:
            return
        batch, rows, tried = self._begun.pop(future)
        if future.status == "finished":
            self._take(future.result())
            future.release()
            return
        if future.status in ("cancelled", "lost"):
            raise SchedulerLostError("the scheduler does not know a batch any more")
        error = future.exception()
        future.release()
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        self._failed_in_a_row += 1
        if tried < BATCH_TRIES and self._failed_in_a_row < _FAILED_IN_A_ROW:
            self._counted.lost += 1
            self._told.said(f"batch {batch} is begun again ({why})")
            time.sleep(min(_AGAIN_EVERY_S * (tried - 1), 10.0))
            self._begin(work, batch, rows, tried=tried + 1)
            return
        self._counted.failed[batch] = why
        if self._failed_in_a_row >= _FAILED_IN_A_ROW:
            raise LaboratoryError(f"batch after batch cannot be read: {why}")

    def _take(self, done: BatchDone) -> None:
        self._failed_in_a_row = 0
        self._done += 1
        self._counted.items[done.stage] += sum(done.counts.values())
        self._counted.restarted += done.restarted
        self._counted.rss_bytes = max(self._counted.rss_bytes, done.rss_bytes)

    def _look_at_workers(self) -> None:
        """Now and then: is the scheduler there, and does every worker get work?"""
        now_s = time.monotonic()
        if self._client.status != "running" or any(f.status == "lost" for f in self._begun):
            raise SchedulerLostError("the scheduler was lost")
        if now_s - self._looked_s < _WORKERS_EVERY_S:
            return
        self._looked_s = now_s
        name = cluster.resource_of(self._job)
        held = cluster.resources(self._client)
        self._new_s = {address: self._new_s.get(address, now_s) for address, has in held.items()}
        self._counted.workers = max(self._counted.workers, len(held))
        for address, has in held.items():
            if has.get(name) or address in self._shut:
                continue
            with contextlib.suppress(Exception):
                why = self._client.run(cluster.why_not, workers=[address])[address]
                if why != cluster.NOT_YET or now_s - self._new_s[address] > _NEW_WORKER_S:
                    self._shut.add(address)
                    self._told.said(f"worker {address} gets no work: {why}")


def _left(seconds: float) -> str:
    """How long it may take yet, in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
