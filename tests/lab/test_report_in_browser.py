"""The report in a real browser: it shows, fits a small screen, prints, and fetches nothing."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.cli import run as edgehemo
from edgehemo.images.frame import Frame
from tests.lab.browser import PAGE_WIDTH_PX, find_browser, photograph, run
from tests.support.axe import violations
from tests.support.kiosk_by_touch import missing_parts, opened_browser
from tests.support.screening_fakes import TruthFinder, simulated_frames, use_equipment

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def browser() -> Path:
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    return found


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report of two simulated fields and one that must be refused."""
    finder = TruthFinder()
    frames = simulated_frames(finder, count=2, width_px=640, height_px=480, um_per_px=0.2)
    dark = Frame((frames[0].pixels // 12).astype(np.uint8), "dark", metadata={"simulated": True})
    finder.truths["dark"] = finder.truths[frames[0].source]
    use_equipment(monkeypatch, finder)
    monkeypatch.setattr("edgehemo.api.frames", lambda *_, **__: iter([*frames, dark]))
    out = tmp_path / "out"
    assert edgehemo(["screen", "simulated:", "--out", str(out), "--um-per-px", "0.2"]) == 0
    return out / "report.html"


def test_the_page_is_parsed_as_it_was_meant(browser: Path, report: Path) -> None:
    dom = run(browser, report, ["--dump-dom"])
    assert dom.count("<figure") == dom.count("</figure>")
    assert dom.count('src="data:image/jpeg;base64,') == 3
    assert "NOT CALIBRATED" in dom
    assert "SIMULATED" in dom
    assert not re.search(r'(src|href)="(?!data:)', dom)


@pytest.mark.parametrize("width", [PAGE_WIDTH_PX, 480])
def test_the_page_is_drawn_and_its_pictures_are_in_it(
    browser: Path, report: Path, tmp_path: Path, width: int
) -> None:
    picture = tmp_path / "page.png"
    photograph(browser, report, picture, width, 2600)
    pixels = cv2.imread(str(picture))
    assert pixels is not None
    assert pixels.shape[:2] == (2600, width)
    dark_share = float((pixels.max(axis=2) < 90).mean())
    assert 0.005 < dark_share < 0.5
    # The frame of the refused field is red, the outlines of red cells are blue.
    blue, green, red = (pixels[..., channel].astype(int) for channel in range(3))
    assert ((red > 150) & (green < 60) & (blue < 80)).sum() > 500
    assert ((blue > 140) & (red < 60)).sum() > 500


def test_it_does_not_overflow_a_screen_of_800_px(
    browser: Path, report: Path, tmp_path: Path
) -> None:
    """Nothing reaches the right edge of the window: its last columns hold only background."""
    picture = tmp_path / "page.png"
    photograph(browser, report, picture, 800, 2000)
    narrow = cv2.imread(str(picture))
    assert narrow is not None
    assert (narrow[:, -8:].min(axis=(0, 1)) > 200).all()


def test_it_prints_on_paper(browser: Path, report: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.pdf"
    run(browser, report, [f"--print-to-pdf={file}", "--no-pdf-header-footer"])
    content = file.read_bytes()
    assert content.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 1 <= pages <= 6
    box = re.search(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)", content)
    assert box is not None
    width_pt, height_pt = float(box.group(1)), float(box.group(2))
    assert (width_pt, height_pt) == pytest.approx((595, 842), abs=1.5)  # A4


def test_a_screen_reader_is_led_through_it(report: Path) -> None:
    if missing := missing_parts():
        pytest.skip(missing)
    with opened_browser(bypass_csp=True) as touch:
        touch.page.goto(report.as_uri())
        assert violations(touch.page) == []
