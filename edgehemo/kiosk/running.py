"""Puts the kiosk together: device, records, the process that captures, the page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import ExitStack

from edgehemo.capture.sources import camera_spec
from edgehemo.device.configuration import load_device
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
from edgehemo.kiosk.service_manager import STOPPING, ServiceManager, watched_over
from edgehemo.kiosk.serving import HOST, listening, serve
from edgehemo.kiosk.state import screen_of
from edgehemo.kiosk.work import WorkerProcess
from edgehemo.records.store import Store

SIMULATED = "simulated:"


async def run_kiosk(source: str | None, port: int | None, said: Callable[[str], None]) -> None:
    """Serve until a signal comes. said: told the page's address once it answers."""
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
        kiosk = Kiosk(writer, hooks=noting(device.receivers))
        work = WorkerProcess(kiosk, device, camera)
        kiosk.work = work
        number = at.getsockname()[1]
        guard = Guard(number, () if network is None else network.hosts)
        app = KioskApp(kiosk, device, guard, simulated=spec.scheme == "simulated")
        beyond, token = None, None
        if network is not None:
            beyond = (opened.enter_context(network.listening()), network.context)
            token = network.token
        moved = shown_again(kiosk, asyncio.get_running_loop())
        sender = Sender(device, SharedWriter(writer), moved=moved)
        sender.start()
        said(f"kiosk: http://{HOST}:{number}/")
        if network is not None:
            said(f"kiosk: {network.url}, which asks for the token")
        manager = ServiceManager()
        try:
            await serve(
                app.application(token),
                at,
                kiosk.release,
                beyond,
                beside=lambda: watched_over(kiosk, number, manager),
            )
        finally:
            manager.tell(STOPPING)
            sender.stop()


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
