"""Puts the kiosk together: device, records, the process that captures, the page."""

from __future__ import annotations

from collections.abc import Callable

from edgehemo.capture.sources import camera_spec
from edgehemo.device.configuration import load_device
from edgehemo.device.recorded import device_clock
from edgehemo.errors import UsageError
from edgehemo.interop.access import SharedWriter
from edgehemo.interop.outbox import noting
from edgehemo.interop.sending import Sender
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.guarding import Guard
from edgehemo.kiosk.serving import HOST, listening, serve
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
    with (
        listening(device.kiosk.port if port is None else port) as at,
        Store.below(device.data_dir).writer(clock=device_clock(device)) as writer,
    ):
        kiosk = Kiosk(writer, hooks=noting(device.receivers))
        work = WorkerProcess(kiosk, device, camera)
        kiosk.work = work
        number = at.getsockname()[1]
        app = KioskApp(kiosk, device, Guard(number), simulated=spec.scheme == "simulated")
        sender = Sender(device, SharedWriter(writer))
        sender.start()
        said(f"kiosk: http://{HOST}:{number}/")
        try:
            await serve(app.application(), at, kiosk.release)
        finally:
            sender.stop()
