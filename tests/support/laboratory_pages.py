"""A laboratory's pages, asked by somebody who is signed in, over a simulated fleet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from edgehemo.records.users import Role
from edgehemo_laboratory.people import add_person, form_token, sign_in
from edgehemo_laboratory.pictures.store import open_pictures
from edgehemo_laboratory.server.app import application
from edgehemo_laboratory.server.people_pages import COOKIE, Desk
from edgehemo_laboratory.server.starting import pages_of
from edgehemo_laboratory.simulated.fleet import Fleet, fill
from edgehemo_laboratory.storage.interface import Storage
from tests.support.laboratory import certificates, with_storage

PASSPHRASE = "correct horse battery"
Work = Callable[[httpx.AsyncClient, Storage], Awaitable[None]]


def seen(
    folder: Path,
    fleet: Fleet | None,
    work: Work,
    *,
    role: Role = "supervisor",
    where: str | None = None,
) -> None:
    """Ask pages of a laboratory. where: of its storage, None for a file in the folder."""
    made = certificates(folder)

    async def run(storage: Storage) -> None:
        if fleet is not None:
            await fill(storage, fleet, datetime.now(UTC) - timedelta(minutes=2))
        await add_person(storage, "grace", role, PASSPHRASE, by="test")
        _, cookie = await sign_in(storage, "grace", PASSPHRASE)
        pages = pages_of(Desk(storage, made))
        app: Any = application(storage, made, open_pictures(str(folder / "pictures")), pages)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url="https://lab.example",
            cookies={COOKIE: cookie},
            headers={"origin": "https://lab.example"},
        ) as client:
            await work(client, storage)

    with_storage(where or folder / "lab.sqlite3", run)


def token_of(client: httpx.AsyncClient) -> str:
    """What our own forms carry."""
    return form_token(client.cookies[COOKIE])
