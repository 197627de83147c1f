"""What the kiosk's page costs the browser that stays on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.support.kiosk_by_touch import KioskServer, Touch, missing_parts, written_mb
from tests.support.plain_browser import plain_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.lab

# Out of focus and at rest: pictures come and no field is taken.
AT_REST = "simulated:?seed=3&hand=600&defocus_um=2&width=640&height=480&um_per_px=0.2"
# Of 640x480, so unpacked they are 1.2 MB each: 147 MB together.
PICTURES, KEPT_MB = 120, 30.0
# Before the first measurement: what the page takes once.
FIRST = 30
SHOWN = """performance.getEntriesByType("resource")
  .filter((each) => each.name.includes("/live.jpg")).length"""


def test_live_pictures_are_shown_and_not_kept(tmp_path: Path) -> None:
    """By the page itself: the browser has none of the bounds that a device gives it."""
    if missing := missing_parts():
        pytest.skip(missing)
    kiosk = KioskServer(tmp_path / "kiosk", AT_REST)
    with kiosk.running(), plain_page(switches=[]) as page:
        touch = Touch(cast("Page", page))
        touch.to_capture(kiosk)
        page.evaluate("performance.setResourceTimingBufferSize(1000)")
        touch.until(f"{SHOWN} >= {FIRST}")
        before = written_mb(touch.processes())
        begun = page.evaluate(SHOWN)
        touch.until(f"{SHOWN} >= {begun + PICTURES}", timeout_s=60)
        assert written_mb(touch.processes()) - before < KEPT_MB
        drawn = page.evaluate("document.querySelector('canvas[data-live]').toDataURL().length")
        blank = page.evaluate(
            """(() => { const blank = document.createElement("canvas");
              blank.width = 640; blank.height = 480; return blank.toDataURL().length; })()"""
        )
        assert drawn > 10 * blank
        assert touch.misfits() == []
