"""Workers: those of a cluster of one's own on this machine, or of one that runs already.

Whoever reaches a Dask scheduler runs code on its workers. The own one listens on this machine alone
and asks for a certificate that no other process has; of another one its keeper must see to that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, WorkerPlugin
from distributed.security import Security

from edgehemo_laboratory.archive.equipment import differences, opened_bundle, versions_here
from edgehemo_laboratory.archive.parts import Job
from edgehemo_laboratory.archive.place import open_archive
from edgehemo_laboratory.errors import LaboratoryError

# How long a scheduler, and then its first worker, are waited for.
CONNECT_S = 20.0
_ADMITTED_S = 120.0
_ASKED_EVERY_S = 0.25
# What is read of a worker that gets no work.
_WHY = "edgehemo_why_not"
NOT_YET = "it was not asked yet"
# Nothing is served but work, and nobody is told.
_QUIET = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.environ.OMP_NUM_THREADS": 1,
}


class SchedulerLostError(LaboratoryError):
    """The scheduler does not answer any more."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of PEM for a scheduler that asks for certificates: of the authority, own certificate,
    own key.
    """

    authority: Path
    certificate: Path
    key: Path

    def security(self) -> Any:
        return Security(
            tls_ca_file=str(self.authority),
            tls_client_cert=str(self.certificate),
            tls_client_key=str(self.key),
            require_encryption=True,
        )


def be_quiet() -> None:
    """Let Dask's log tell nothing: what matters a run tells itself."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def own_cluster(workers: int) -> Iterator[Any]:
    """A client of so many workers on this machine; all of it ends with the context."""
    # A worker that a kernel kills is begun again as often as it takes; a run counts by itself.
    with (
        tempfile.TemporaryDirectory(prefix="edgehemo-workers-") as folder,
        dask.config.set(_QUIET),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tls://",
            security=Security.temporary(),
            dashboard_address=None,
            memory_limit=0,
            local_directory=folder,
            silence_logs="ERROR",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextlib.contextmanager
def other_cluster(address: str, tls: Tls | None) -> Iterator[Any]:
    """A client of a scheduler that runs: ``tcp://host:port``, ``tls://host:port`` or the path of
    its scheduler file. SchedulerLostError where it does not answer.
    """
    given: dict[str, Any] = {"address": address}
    if "://" not in address:
        given = {"scheduler_file": address}
        if not Path(address).is_file():
            raise SchedulerLostError(f"{address}: there is no such scheduler file")
    if tls is not None:
        given["security"] = tls.security()
    try:
        client = Client(**given, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        said = " ".join(str(error).split())[:150]
        raise SchedulerLostError(f"{address}: no scheduler answers there ({said})") from None
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=5)


# distributed ships no types, and takes plugins by their class alone.
class Admission(WorkerPlugin):  # type: ignore[misc]
    """Lets a worker have work once it is like the others: by a resource that every task asks for.

    A worker that comes later, or that comes again after it died, passes through here as well.
    """

    def __init__(self, job: Job, versions: dict[str, str]) -> None:
        self.name = resource_of(job)
        self._job = job
        self._versions = versions

    async def setup(self, worker: Any) -> None:
        found = differences(self._versions, versions_here())
        why = "; ".join(found)
        if not why:
            why = await asyncio.to_thread(self._without_bundle)
        setattr(worker, _WHY, why)
        await worker.set_resources(**{self.name: 0 if why else 1})

    def _without_bundle(self) -> str:
        """Why this worker cannot open the bundle; empty where it can."""
        reader = self._job.reader
        path = None if reader.bundle is None else Path(reader.bundle)
        try:
            opened_bundle(open_archive(reader.archive), reader.bundle_sha256, path)
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return ""


def resource_of(job: Job) -> str:
    """What a worker has that may read."""
    return f"edgehemo-{job.reading}"


def admit(client: Any, job: Job, versions: dict[str, str]) -> int:
    """Compare the workers with this process and let them have work; how many there are.

    LaboratoryError names every worker that is not like this process, or cannot open the bundle:
    then nothing is begun.
    """
    _wait_for(lambda: addresses(client), CONNECT_S, "no worker has come to the scheduler")
    found = client.run(versions_here, on_error="return")
    unlike = {}
    for address, told in found.items():
        if not isinstance(told, dict):
            unlike[address] = (
                f"edgehemo cannot be used there ({type(told).__name__}: {told!s:.100})"
            )
        elif told_apart := differences(versions, told):
            unlike[address] = "; ".join(told_apart)
    if unlike:
        raise LaboratoryError(_unlike(unlike))
    client.register_plugin(Admission(job, versions), name=resource_of(job))
    name = resource_of(job)
    _wait_for(
        lambda: all(name in held for held in resources(client).values()),
        _ADMITTED_S,
        "the workers do not say whether they can open the bundle",
    )
    shut = {address: why for address, why in client.run(why_not).items() if why}
    if shut:
        raise LaboratoryError(_unlike(shut))
    return len(addresses(client))


def why_not(dask_worker: Any) -> str:
    """Why a worker gets no work; empty where it does. Runs on the worker."""
    return str(getattr(dask_worker, _WHY, NOT_YET))


def addresses(client: Any) -> list[str]:
    """Of the workers that the scheduler knows."""
    return list(_workers(client))


def resources(client: Any) -> dict[str, dict[str, float]]:
    """What each worker has, by its address."""
    return {address: dict(told["resources"]) for address, told in _workers(client).items()}


def _workers(client: Any) -> dict[str, Any]:
    """SchedulerLostError where it does not answer: a client that lost it answers of itself."""
    try:
        known = client.scheduler_info(n_workers=-1)["workers"]
    except (OSError, TimeoutError, KeyError, TypeError) as error:
        raise SchedulerLostError(f"the scheduler was lost ({type(error).__name__})") from None
    if client.status != "running":
        raise SchedulerLostError("the scheduler was lost")
    return dict(known)


def _wait_for(there: Callable[[], Any], most_s: float, without: str) -> None:
    until = time.monotonic() + most_s
    while not there():
        if time.monotonic() > until:
            raise LaboratoryError(f"{without}; look at its log")
        time.sleep(_ASKED_EVERY_S)


def _unlike(found: dict[str, str]) -> str:
    named = "; ".join(f"{address}: {why}" for address, why in sorted(found.items())[:5])
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return f"workers are not like this machine, and numbers would differ: {named}{more}"


def own_workers() -> int:
    """How many workers this machine is given where nobody says it: one a processor."""
    return max(1, len(os.sched_getaffinity(0)))
