"""Puts the kiosk together: device, records, the process that captures, the page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from edgehemo.capture.sources import camera_spec
from edgehemo.device.configuration import load_device
from edgehemo.device.installed_languages import LanguageStore
from edgehemo.device.recorded import device_clock
from edgehemo.errors import UsageError
from edgehemo.interop.access import SharedWriter
from edgehemo.interop.outbox import noting
from edgehemo.interop.sending import Sender
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.engineering.measuring import forget
from edgehemo.kiosk.guarding import Guard
from edgehemo.kiosk.network import network_of
from edgehemo.kiosk.putting_back import Outcome, PutBack, put_back
from edgehemo.kiosk.service_manager import ALIVE, STOPPING, ServiceManager, watched_over
from edgehemo.kiosk.serving import HOST, listening, serve
from edgehemo.kiosk.state import KioskState, screen_of
from edgehemo.kiosk.steering import occasion_of, told_by
from edgehemo.kiosk.work import WorkerProcess
from edgehemo.published.using import Using, settle
from edgehemo.records.store import Store

SIMULATED = "simulated:"
# How long a page may take to be answered before the kiosk ends for what it asked.
ANSWERED_S = 1.0


async def run_kiosk(source: str | None, port: int | None, said: Callable[[str], None]) -> None:
    """Serve until a signal comes. said: told the page's address once it answers. Where a backup is
    to be put back, the kiosk ends, has it done, and begins again at the same port.
    """
    manager, outcome = ServiceManager(), None
    try:
        while True:
            served = await _served(source, port, said, manager, outcome)
            if served.put_back is None:
                return
            port = served.port
            manager.tell(ALIVE)
            folder = Store.below(load_device(None).data_dir).folder
            outcome = await asyncio.to_thread(put_back, served.put_back, folder)
    finally:
        manager.tell(STOPPING)


@dataclass(slots=True)
class _Served:
    """How a kiosk ended. put_back: what it ended for; None: by a signal."""

    port: int
    put_back: PutBack | None = None


async def _served(
    source: str | None,
    port: int | None,
    said: Callable[[str], None],
    manager: ServiceManager,
    outcome: Outcome | None,
) -> _Served:
    """One kiosk from its beginning to its end. outcome: of a backup that was put back before."""
    device = load_device(None)
    camera = source or device.camera.source or SIMULATED
    spec = camera_spec(camera)
    if spec is None:
        raise UsageError(f"{camera}: is not a camera; the kiosk takes its pictures from one")
    network = network_of(device.kiosk)
    with (
        ExitStack() as opened,
        listening(device.kiosk.port if port is None else port) as at,
        Store.below(device.data_dir).writer(clock=device_clock(device)) as writer,
    ):
        # Pictures of a calibration that a power cut ended.
        forget(device)
        # What the plug ended while it was put in use, and the words that were installed here.
        settle(Using(device))
        LanguageStore(device.data_dir).use()
        kiosk = Kiosk(writer, hooks=noting(device.receivers))
        work = WorkerProcess(kiosk, device, camera)
        kiosk.work = work
        served, enough = _Served(at.getsockname()[1]), asyncio.Event()
        loop = asyncio.get_running_loop()

        def asked(wanted: PutBack) -> None:
            served.put_back = wanted
            # The page that asked is answered before.
            loop.call_soon_threadsafe(loop.call_later, ANSWERED_S, enough.set)

        guard = Guard(served.port, () if network is None else network.hosts)
        app = KioskApp(
            kiosk,
            device,
            guard,
            simulated=spec.scheme == "simulated",
            put_back=asked,
            outcome=outcome,
        )
        beyond, token = None, None
        if network is not None:
            beyond = (opened.enter_context(network.listening()), network.context)
            token = network.token
        sender = Sender(
            device,
            SharedWriter(writer),
            moved=shown_again(kiosk, loop),
            fault=lambda: fault_of(kiosk.state),
            occasion=occasion_of(kiosk),
            published=told_by(kiosk, app.desk.take_up, lambda: load_device(None)),
        )
        sender.start()
        said(f"kiosk: http://{HOST}:{served.port}/")
        if network is not None:
            said(f"kiosk: {network.url}, which asks for the token")
        try:
            await serve(
                app.application(token),
                at,
                kiosk.release,
                beyond,
                beside=lambda: watched_over(kiosk, served.port, manager),
                enough=enough,
            )
        finally:
            sender.stop()
    return served


def fault_of(state: KioskState) -> str | None:
    """The code of what stops the work; asked from another thread, of one moment's state."""
    return None if state.fault is None else state.fault.code


def shown_again(kiosk: Kiosk, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """What the sender calls: the page that says where a result is, is made anew. Others are not:
    nobody is to be disturbed by what happens elsewhere.
    """

    def bump() -> None:
        if screen_of(kiosk.state) == "done":
            kiosk.bump()

    def moved() -> None:
        with contextlib.suppress(RuntimeError):  # the kiosk has ended meanwhile
            loop.call_soon_threadsafe(bump)

    return moved
