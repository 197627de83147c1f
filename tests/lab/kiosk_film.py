"""The film in the README: a sample at the kiosk, on the simulated microscope, by touch.

Run as a script, ``python -m tests.lab.kiosk_film FILM.webp``; it needs Chromium and playwright.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.lab.kiosk_browser import PIN, at, go_on, keys, served, touched

# The smear of the film, and how the film is written.
SOURCE = "simulated:?seed=7&fields=12&bad=2&hgb=95"
QUALITY = 60
# How long a page stays, ms: one that is passed, one that is read.
SHORT_MS, LONG_MS = 900, 2600


class Film:
    """Pictures of a page, and how long each stays."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.frames: list[np.ndarray] = []
        self.durations_ms: list[int] = []

    def shot(self, stays_ms: int) -> None:
        """The page as it is now."""
        self.page.wait_for_timeout(250)
        data = np.frombuffer(self.page.screenshot(), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert picture is not None
        self.frames.append(picture)
        self.durations_ms.append(stays_ms)

    def write(self, place: Path) -> None:
        """As an animated WebP."""
        film = cv2.Animation()
        film.frames, film.durations = self.frames, self.durations_ms
        assert cv2.imwriteanimation(str(place), film, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])


def sample_by_touch(film: Film) -> None:
    """From the sign-in to the signed result."""
    page = film.page
    film.shot(LONG_MS)
    page.locator("button[value=Amina]").tap()
    at(page, "pin")
    keys(page, PIN)
    film.shot(SHORT_MS)
    go_on(page)
    at(page, "home")
    film.shot(SHORT_MS)
    page.locator("main form").first.locator("button").tap()
    at(page, "number")
    keys(page, "260417")
    film.shot(LONG_MS)
    go_on(page)
    at(page, "person")
    keys(page, "32")
    for name, value in (("sex", "female"), ("pregnant", "0"), ("smokes", "false")):
        page.locator(f"input[name={name}][value='{value}']").tap()
    film.shot(LONG_MS)
    go_on(page)
    page.wait_for_selector(".checks li:nth-child(6)")
    film.shot(LONG_MS)
    go_on(page)
    at(page, "capture")
    while page.evaluate("document.body.dataset.screen") == "capture":
        film.shot(SHORT_MS)
        page.wait_for_timeout(600)
    page.wait_for_selector("body[data-screen=result]")
    film.shot(2 * LONG_MS)
    for _ in range(40):
        screen = page.evaluate("document.body.dataset.screen")
        if screen == "sign_off":
            break
        if screen == "review":
            film.shot(SHORT_MS)
        version = page.evaluate("document.body.dataset.version")
        go_on(page)
        page.wait_for_function("before => document.body.dataset.version !== before", arg=version)
    film.shot(LONG_MS)
    go_on(page)
    at(page, "done")
    film.shot(2 * LONG_MS)


def main(place: Path) -> None:
    """Write the film."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        served(Path(folder), SOURCE, fields=8) as address,
        touched(address) as page,
    ):
        film = Film(page)
        sample_by_touch(film)
        film.write(place)
    print(f"{place}: {len(film.frames)} pictures, {place.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
