"""A headless Chromium for tests of pages, and for the picture of the report in the README.

Run as a script, ``python tests/lab/browser.py PAGE.html PICTURE.png`` photographs a page.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Headless, and quiet: no update, no sync, no telemetry, nothing that asks the network.
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
TIMEOUT_S = 60
# An A4 sheet at 96 px an inch is 794 px wide.
PAGE_WIDTH_PX = 800
PICTURE_HEIGHT_PX = 1690


def find_browser() -> Path | None:
    """The installed Chromium, None without one."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return Path(found) if found is not None else None


def run(browser: Path, page: Path, arguments: Sequence[str]) -> str:
    """Open a local page with a user folder of its own and return what the browser printed."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        done = subprocess.run(
            [str(browser), *SWITCHES, f"--user-data-dir={folder}", *arguments, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    return done.stdout


def photograph(
    browser: Path, page: Path, picture: Path, width: int, height: int, *, scale: float = 1.0
) -> None:
    """Write a PNG of the page's first ``height`` px at a window ``width`` px wide."""
    run(
        browser,
        page.resolve(),
        [
            f"--screenshot={picture.resolve()}",
            f"--window-size={width},{height}",
            f"--force-device-scale-factor={scale:g}",
        ],
    )


def main(arguments: Sequence[str]) -> int:
    browser = find_browser()
    if browser is None:
        print("no Chromium is installed: apt-get install chromium", file=sys.stderr)
        return 2
    page, picture = (Path(argument) for argument in arguments)
    picture.parent.mkdir(parents=True, exist_ok=True)
    photograph(browser, page, picture, PAGE_WIDTH_PX, PICTURE_HEIGHT_PX)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
