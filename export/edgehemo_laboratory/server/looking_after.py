"""What runs beside the intake: the listener to the broker, and the metrics. Neither can hurt it:
what goes wrong with them is said, and the server goes on without.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from edgehemo.device.receiver_files import ReceiverFileError
from edgehemo.device.receivers import is_loopback
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.health.broker import BrokerListener
from edgehemo_laboratory.health.inbox import Inbox
from edgehemo_laboratory.health.keeping import keep_on
from edgehemo_laboratory.metrics import Metrics
from edgehemo_laboratory.server.metrics_page import METRICS_PATH, metrics_application, token_of
from edgehemo_laboratory.server.serving import listening, served_beside
from edgehemo_laboratory.settings import LaboratorySettings, Setup
from edgehemo_laboratory.storage.interface import Storage


@contextlib.asynccontextmanager
async def looked_after(
    setup: Setup,
    storage: Storage,
    certificates: Certificates,
    *,
    said: Callable[[str], None],
) -> AsyncIterator[Metrics]:
    """Listen and count for as long as the context lasts. said: told what is done, and what not."""
    async with contextlib.AsyncExitStack() as opened:
        listener, inbox = _listener(setup.settings, said)
        metrics = Metrics(
            broker=None if listener is None else lambda: listener.connected,
            fates=lambda: inbox.fates,
        )
        tasks = [metrics.look_on(storage, certificates)]
        if listener is not None:
            listener.start()
            # It waits for the end of a thread.
            opened.push_async_callback(asyncio.to_thread, listener.stop)
            tasks.append(keep_on(storage, inbox))
        for work in tasks:
            opened.push_async_callback(_ended, asyncio.create_task(work))
        await _serve_metrics(opened, setup.settings, certificates, metrics, said)
        yield metrics


def _listener(
    settings: LaboratorySettings, said: Callable[[str], None]
) -> tuple[BrokerListener | None, Inbox]:
    inbox = Inbox()
    if settings.health is None:
        return None, inbox
    try:
        listener = BrokerListener(settings.health.as_receiver(), inbox)
    except (ReceiverFileError, OSError, ValueError) as error:
        said(f"the broker of health is not listened to: {error}")
        return None, inbox
    said(f"health: {settings.health.broker}")
    return listener, inbox


async def _serve_metrics(
    opened: contextlib.AsyncExitStack,
    settings: LaboratorySettings,
    certificates: Certificates,
    metrics: Metrics,
    said: Callable[[str], None],
) -> None:
    where = settings.metrics_at
    if where is None:
        return
    try:
        file = settings.metrics_token
        token = None if file is None else token_of(file)
        at = listening(*where, instead="metrics in the settings")
    except LaboratoryError as error:
        said(f"there are no metrics: {error}")
        return
    tls = None if is_loopback(where[0]) else certificates.tls()
    await opened.enter_async_context(
        served_beside(metrics_application(metrics.registry, token), at, tls)
    )
    host = f"[{where[0]}]" if ":" in where[0] else where[0]
    said(f"metrics: http{'' if tls is None else 's'}://{host}:{at.getsockname()[1]}{METRICS_PATH}")


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
