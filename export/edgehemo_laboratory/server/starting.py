"""A laboratory is opened and served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.routing import BaseRoute

from edgehemo_laboratory.pictures.store import open_pictures
from edgehemo_laboratory.seeing.watching import Watch
from edgehemo_laboratory.server.app import application
from edgehemo_laboratory.server.export_pages import ExportPages
from edgehemo_laboratory.server.fleet_pages import FleetPages
from edgehemo_laboratory.server.kiosk_pages import KioskPages
from edgehemo_laboratory.server.looking_after import looked_after
from edgehemo_laboratory.server.people_pages import Desk, PeoplePages
from edgehemo_laboratory.server.publication_pages import PublicationPages
from edgehemo_laboratory.server.result_pages import ResultPages
from edgehemo_laboratory.server.serving import listening, serve
from edgehemo_laboratory.settings import Setup
from edgehemo_laboratory.steering.watching import watching
from edgehemo_laboratory.storage import open_storage


def pages_of(desk: Desk) -> list[BaseRoute]:
    """All that people see."""
    watch = Watch(desk.storage)
    of_all = (
        PeoplePages(desk),
        KioskPages(desk, watch),
        ResultPages(desk),
        FleetPages(desk, watch),
        ExportPages(desk),
        PublicationPages(desk),
    )
    return [route for each in of_all for route in each.routes]


async def run(
    setup: Setup,
    address: str,
    port: int,
    *,
    said: Callable[[str], None],
    enough: asyncio.Event | None = None,
) -> None:
    """Serve until a signal, or `enough`. said: told in the first line where the server is."""
    certificates = setup.certificates
    where = setup.pictures
    pictures = None if where is None else open_pictures(where)
    storage = await open_storage(setup.storage)
    try:
        desk = Desk(storage, certificates)
        at = listening(address, port)
        called = certificates.names[0]
        host = f"[{called}]" if ":" in called else called
        place = f"https://{host}:{at.getsockname()[1]}"

        later: list[str] = []

        def started() -> None:
            said(f"laboratory: {place} with {storage.engine} {storage.about}")
            if unnamed := [name for name in setup.settings.names if name not in certificates.names]:
                said(
                    f"its certificate does not name {', '.join(unnamed)}, as the settings do; "
                    "`edgehemo laboratory certificate --prepare` makes one that does"
                )
            for line in later:
                said(line)

        watches = asyncio.create_task(watching(storage))
        try:
            async with looked_after(setup, storage, certificates, said=later.append) as metrics:
                await serve(
                    application(storage, certificates, pictures, pages_of(desk), metrics),
                    at,
                    certificates,
                    started=started,
                    enough=enough,
                )
        finally:
            watches.cancel()
            await asyncio.gather(watches, return_exceptions=True)
    finally:
        await storage.close()
