"""A supervisor at the kiosk, for tests, and stored results of which a test says what they came to:
real readings of a simulated slide, and a haemoglobin in the place of what would have been measured.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from edgehemo.anaemia.who_grade import Person, grade
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.estimate.values import SampleEstimate
from edgehemo.guidance.withheld import withheld
from edgehemo.images.frame import Frame
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.guarding import Guard
from edgehemo.kiosk.screens import Area, areas_of
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import Role, add_user
from edgehemo.report.result import name_of
from edgehemo.screening.field import FieldReader, FieldReading
from edgehemo.screening.sample import Screening, UnreadableImage, screen_frames
from edgehemo.statistics.interval import Interval
from tests.device.test_kiosk_page import HERE, PORT, does, token_of
from tests.device.test_kiosk_review import NamingFinder
from tests.support.screening_fakes import scripted, simulated_frames
from tests.support.stored import MADE_AT, provenance, started

WIDTH_G_PER_L = 17.0


@lru_cache(maxsize=1)
def _slide() -> tuple[NamingFinder, tuple[Frame, ...]]:
    finder = NamingFinder()
    return finder, tuple(simulated_frames(finder, count=3))


def measured(
    writer: Writer,
    sample: str,
    hgb_g_per_l: float | None,
    *,
    made_at: datetime = MADE_AT,
    person: Person | None = None,
    operator: str = "amina",
    profile_made_at: datetime | None = None,
    **given: Any,
) -> str:
    """Store a result; returns its identifier. hgb_g_per_l: None and it is withheld."""
    finder, frames = _slide()
    who = person or Person(30.0, "female")
    recording = started(writer, sample, person=who, operator=operator, **given)
    recording = replace(recording, profile_made_at=profile_made_at)
    screening = Screening(FieldReader(finder, um_per_px=0.25, check=scripted()))

    def keep(result: FieldReading | UnreadableImage, frame: Frame | None) -> None:
        recording.add(len(screening.images) - 1, result, frame)

    named = (replace(frame, source=name_of(frame.source)) for frame in frames)
    reading = screen_frames(named, screening, keep)
    if hgb_g_per_l is None:
        reading = replace(reading, withheld=withheld("NOTHING_READABLE"))
    else:
        hgb = Interval(hgb_g_per_l, hgb_g_per_l - WIDTH_G_PER_L, hgb_g_per_l + WIDTH_G_PER_L)
        reading = replace(reading, estimate=_estimate(hgb), anaemia=grade(hgb, who))
    done = recording.finish(reading, provenance(made_at))
    assert done is not None
    return done.result_id


def _estimate(hgb: Interval) -> SampleEstimate:
    def scaled(factor: float) -> Interval:
        return Interval(hgb.value * factor, hgb.low * factor, hgb.high * factor)

    return SampleEstimate(
        hgb_g_per_l=hgb,
        hct_l_per_l=scaled(1 / 330),
        rbc_1e12_per_l=scaled(1 / 30),
        mcv_fl=None,
        mch_pg=None,
        mchc_g_per_l=None,
        reasons=dict.fromkeys(("mcv_fl", "mch_pg", "mchc_g_per_l"), "not asked"),
        estimators={},
        calibration="calibrated",
    )


def identifiers(writer: Writer) -> Sequence[str]:
    """Of all results, oldest first."""
    return [row[0] for row in writer.rows("SELECT id FROM result ORDER BY number")]


PINS: Mapping[Role, tuple[str, str]] = {
    "supervisor": ("grace", "4071"),
    "operator": ("amina", "2580"),
    "engineer": ("tomas", "9382"),
}


def device_of(folder: Path) -> DeviceConfiguration:
    """A device whose data, and whose stick, are folders below one."""
    text = f"""schema = "edgehemo.device/1"
name = "test"
board = "workstation"
[paths]
data = {json.dumps(str(folder / "data"))}
[kiosk]
stick = {json.dumps(str(folder / "stick"))}
"""
    return DeviceConfiguration.parse(text, "test")


@asynccontextmanager
async def working(
    folder: Path, area: Area, role: Role = "supervisor"
) -> AsyncIterator[tuple[KioskApp, httpx.AsyncClient]]:
    """A kiosk on the records below a folder, somebody of a role signed in and in an area where the
    role may be there.
    """
    device = device_of(folder)
    with Writer(RecordsFolder.below(device.data_dir)) as writer:
        if not writer.rows("SELECT 1 FROM user"):
            for each, (name, pin) in PINS.items():
                add_user(writer, name, each, pin, by="test")
        kiosk = Kiosk(writer)
        app = KioskApp(kiosk, device, Guard(PORT), simulated=True)
        transport = httpx.ASGITransport(app.application())
        await kiosk.start()
        try:
            async with httpx.AsyncClient(
                transport=transport, base_url=HERE, headers={"origin": HERE}, follow_redirects=True
            ) as browser:
                name, pin = PINS[role]
                page = await browser.get("/")
                if kiosk.state.session is None:
                    page = await does(browser, page, "chooseuser", name=name)
                page = await browser.post("/pin", data={"token": token_of(page), "pin": pin})
                if area in areas_of(role):
                    await does(browser, page, "openarea", area=area)
                yield app, browser
        finally:
            await asyncio.to_thread(app.desk.jobs.close)
            await kiosk.stop()


async def posted(
    browser: httpx.AsyncClient, area: Area, path: str, /, **values: str
) -> httpx.Response:
    """What a form on a page of an area sends, and the page that follows."""
    token = token_of(await browser.get("/"))
    form = {"token": token, "screen": area, **values}
    return await browser.post(f"/area/{area}/{path}", data=form)


def links_of(page: httpx.Response) -> list[str]:
    """Where a page leads."""
    return [unescape(each) for each in re.findall(r'href="(/area/[^"]*)"', page.text)]
