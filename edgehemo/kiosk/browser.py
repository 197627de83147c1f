"""How the device's own browser is started: for one page that stays for months, on a small board.

Nothing here makes the page safe or right; that is the server's part. These switches bound what a
browser for general use does beside its page: processes, stores and requests that a kiosk has no
use for. The unit of the device's screen and the measurement of the kiosk's memory take them from
this table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch of Chromium's command line. why: for whoever wonders whether it may go."""

    text: str
    why: str


# What Chromium calls the parts that are turned off; one switch takes them all, the last one counts.
NOT_WANTED = {
    "BackForwardCache": "pages left behind are never gone back to; each would be kept whole",
    "OptimizationGuideModelDownloading": "a process for language models starts after minutes",
    "OptimizationHints": "it asks the network",
    "MediaRouter": "it looks for screens in the network",
    "Translate": "the page has its own languages",
    "SpareRendererForSitePerProcess": "a process is kept ready for a second site; there is none",
}

SWITCHES = (
    Switch("--disable-features=" + ",".join(NOT_WANTED), "see NOT_WANTED"),
    Switch("--enable-low-end-device-mode", "unpacked pictures are kept up to 64 MB, not 512"),
    Switch("--renderer-process-limit=1", "there is one page"),
    Switch("--disk-cache-size=1048576", "every answer says no-store; the card is not written to"),
    Switch("--media-cache-size=1048576", "likewise"),
    Switch("--disable-background-networking", "nothing is asked of the network"),
    Switch("--disable-component-update", "likewise"),
    Switch("--disable-sync", "likewise"),
    Switch("--disable-extensions", "there are none"),
    Switch("--disable-breakpad", "a crash leaves no picture of memory, which may hold names"),
    Switch("--no-first-run", "no welcome stands in front of the page"),
    Switch("--no-default-browser-check", "likewise"),
    Switch("--disable-pinch", "two fingers do not make the page larger than the screen"),
    Switch("--overscroll-history-navigation=0", "a wipe does not leave the page"),
)


def switches() -> list[str]:
    """As the command line takes them."""
    return [each.text for each in SWITCHES]
