"""A kiosk whose engineer has opened one of the engineer's areas, and a browser on its page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from edgehemo.device.configuration import ENVIRONMENT_VARIABLE, load_device
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.area import AreaPages
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.guarding import Guard
from edgehemo.kiosk.screens import Area
from edgehemo.records.audit import entries
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import add_user
from tests.device.test_kiosk_page import HERE, PORT, does, token_of

PIN = "4071"
DEVICE = """\
# A bench device; this line stays.
schema = "edgehemo.device/1"
name = "bench"
board = "workstation"

[paths]
data = "{data}"

[kiosk]
stick = "{stick}"
"""


@dataclass(frozen=True, slots=True)
class AtArea:
    """What a test works with."""

    kiosk: Kiosk
    app: KioskApp
    browser: httpx.AsyncClient
    area: Area
    device_file: Path
    token: str

    async def get(self, path: str = "") -> httpx.Response:
        """A page of the area."""
        return await self.browser.get(f"/area/{self.area}/{path}")

    async def post(self, path: str, /, **values: str) -> httpx.Response:
        """What a button of the area does; then the page that follows."""
        form = {"token": self.token, "screen": self.area, "here": "", **values}
        return await self.browser.post(f"/area/{self.area}/{path}", data=form)

    async def until(self, done: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait for what runs beside."""
        async with asyncio.timeout(timeout_s):
            while not done():
                await asyncio.sleep(0.02)

    async def job_ends(self, timeout_s: float = 60.0) -> None:
        """Wait until no job of the area runs."""

        def ended() -> bool:
            job = self.app.desk.jobs.of(self.area)
            return job is None or job.ended

        await self.until(ended, timeout_s)

    def chain(self, action: str) -> list[dict[str, object]]:
        """What the chain says of everything of one kind, with who did it."""
        return [
            {**entry.details, "by": entry.actor}
            for entry in entries(self.kiosk.writer.connection)
            if entry.action == action
        ]


@asynccontextmanager
async def engineer_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pages: AreaPages
) -> AsyncIterator[AtArea]:
    """A device of its own below the folder; its engineer is called Ines."""
    stick = folder / "stick"
    stick.mkdir(parents=True, exist_ok=True)
    file = folder / "device.toml"
    if not file.exists():
        file.write_text(DEVICE.format(data=folder / "data", stick=stick), encoding="utf-8")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(file))
    monkeypatch.setenv("EDGEHEMO_KEYS", str(folder / "keys"))
    with Writer(RecordsFolder(folder / "data" / "records")) as writer:
        add_user(writer, "grace", "supervisor", "2580", by="test")
        add_user(writer, "Ines", "engineer", PIN, by="test")
        kiosk = Kiosk(writer)
        app = KioskApp(
            kiosk, load_device(None), Guard(PORT), simulated=True, areas={pages.area: pages}
        )
        await kiosk.start()
        try:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app.application()),
                base_url=HERE,
                headers={"origin": HERE},
                follow_redirects=True,
            ) as browser:
                page = await does(browser, await browser.get("/"), "chooseuser", name="Ines")
                page = await browser.post("/pin", data={"token": token_of(page), "pin": PIN})
                page = await does(browser, page, "openarea", area=pages.area)
                assert page.url.path == f"/area/{pages.area}/"
                yield AtArea(kiosk, app, browser, pages.area, file, token_of(page))
        finally:
            app.desk.jobs.close()
            await kiosk.stop()
