"""Addresses and forms of the supervisor's pages that nobody's page makes: each is answered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest

from edgehemo.kiosk.screens import Area
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from tests.support.supervised import device_of, measured, posted, working

ODD = (
    "0", "-1", "99999999999999999999", "٣", "1e9", "x", "%", "'", '"><b>', "\0",
    "\r\nset-cookie: a", "..", "%ED%A0%80", "é" * 70, "{{ 7 }}",
)  # fmt: skip
PATHS: dict[Area, tuple[str, ...]] = {
    "results": (
        "", "search", "{id}", "{id}/history", "{id}/fields", "{id}/cells", "{id}/compare",
        "{id}/sign", "picture/{id}/field/{odd}.jpg", "picture/{id}/cell/{odd}.jpg", "{odd}",
        "{id}/{odd}", "picture/{odd}",
    ),
    "monitoring": ("", "control", "refusals", "analyser", "analyser/add", "of/{odd}", "of/stain"),
    "users": ("", "add", "known/{odd}", "known/grace/{odd}"),
    "backup": ("", "export", "restore", "{odd}"),
}  # fmt: skip
KEYS = (
    "page", "rows", "days", "pile", "number", "operator", "grade", "state", "overridden", "list",
    "with", "slide", "quantity", "kind", "identified", "reason", "name", "role",
)  # fmt: skip
TYPED = (
    "reason", "words", "grade", "list", "here", "name", "role", "pin", "again", "sample", "hgb",
    "analyser", "days", "kind", "identified",
)  # fmt: skip
FORMS: dict[Area, tuple[str, ...]] = {
    "results": ("{id}/hold", "{id}/sign", "{odd}/hold", "{id}/{odd}"),
    "monitoring": ("analyser/add", "{odd}"),
    "users": ("add", "known/amina/pin", "known/amina/role", "known/{odd}/off"),
    "backup": ("export", "stop", "done", "{odd}"),
}


@pytest.mark.parametrize("area", list(PATHS))
def test_every_odd_address_is_answered(tmp_path: Path, area: Area) -> None:
    with Writer(RecordsFolder.below(device_of(tmp_path).data_dir)) as writer:
        known = measured(writer, "26-0400", 90.0)

    async def run() -> None:
        async with working(tmp_path, area) as (_, browser):
            for path in PATHS[area]:
                for odd in ODD:
                    at = path.format(id=known, odd=quote(odd, safe=""))
                    answer = await browser.get(
                        f"/area/{area}/{at}", params=dict.fromkeys(KEYS, odd)
                    )
                    assert answer.status_code in (200, 404), (at, odd)
                    assert "<b>" not in answer.text
                    assert "set-cookie" not in answer.headers
            for path in FORMS[area]:
                for odd in ODD:
                    at = path.format(id=known, odd=quote(odd, safe=""))
                    answer = await posted(browser, area, at, **dict.fromkeys(TYPED, odd))
                    assert answer.status_code in (200, 404), (at, odd)
                    assert "<b>" not in answer.text

    asyncio.run(run())
