"""Shows the kiosk's page on this device's screen, and pets the service manager's watchdog while the
page lives.

The page says that it lives to the kiosk's server, which says how long ago that was (/alive). A
browser that crashed, hangs or shows something else says nothing; then nothing is petted and it is
begun again. Where the server itself does not answer, the browser is not to blame.

A browser that shows one page for months takes more memory by and by (25 MB in an hour of one
sample after the other). So it ends once in a while, when nobody is signed in, and the service
manager begins it again.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import NamedTuple

# The server is asked so often; a page that said nothing for so long does not live. A browser may
# take so long to begin with.
ASK_EVERY_S = 5.0
SILENT_S = 40.0
BEGIN_S = 60.0
# After so long a fresh browser takes its place, once nobody works.
FRESH_AFTER_S = 12 * 3600.0

# How the page is shown; what bounds the browser is given on the command line.
CHROMIUM = (
    "chromium",
    "--kiosk",
    "--incognito",
    "--ozone-platform=wayland",
    "--noerrdialogs",
    "--disable-session-crashed-bubble",
    "--password-store=basic",
    # What it keeps lies in memory and is gone with it.
    "--user-data-dir=/run/edgehemo-screen/chromium",
)


def tell(message: str) -> None:
    """A word to the service manager, where there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        connection.sendto(message.encode(), address)


class Answer(NamedTuple):
    """What the kiosk's server says. answers: whether it does. silent_s: for how many seconds the
    page has said nothing, None where no page ever did. idle: whether nobody is signed in.
    """

    answers: bool
    silent_s: float | None
    idle: bool


def asked(address: str) -> Answer:
    """Ask the kiosk's server. The page of a kiosk that is out of service is no good answer."""
    try:
        with urllib.request.urlopen(f"{address}alive", timeout=4) as answer:
            lines = answer.read(1000).decode("ascii", "replace").splitlines()
    except (OSError, ValueError):
        return Answer(False, None, False)
    values = dict(line.split(" ", 1) for line in lines if " " in line)
    idle = values.get("idle") == "yes"
    try:
        return Answer(True, float(values["page"]), idle)
    except (KeyError, ValueError):
        return Answer(True, None, idle)


def lasted(answer: Answer, begun_s_ago: float, fresh_after_s: float = FRESH_AFTER_S) -> bool:
    """Whether a browser has run for long enough, and nobody is disturbed by another one."""
    return answer.answers and answer.idle and begun_s_ago >= fresh_after_s


def lives(
    answers: bool,
    silent_s: float | None,
    begun_s_ago: float,
    begin_s: float = BEGIN_S,
    most_s: float = SILENT_S,
) -> bool:
    """Whether the browser is left alone. answers, silent_s: as `asked` has them. begin_s: how long
    it may take to show its page. most_s: how long the page may then say nothing.
    """
    if not answers or begun_s_ago < begin_s:
        return True
    # What was said before this browser began is of the one before.
    return silent_s is not None and silent_s < min(most_s, begun_s_ago)


def main() -> int:
    """Run the browser until it ends or a signal comes; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--compositor", default="cage")
    parser.add_argument("--begin-s", type=float, default=BEGIN_S)
    parser.add_argument("--silent-s", type=float, default=SILENT_S)
    parser.add_argument("--fresh-after-s", type=float, default=FRESH_AFTER_S)
    parser.add_argument("switches", nargs="*", help="of the browser, after --")
    given = parser.parse_args()
    command = [given.compositor, "-d", "--", *CHROMIUM, *given.switches, given.address]
    browser = subprocess.Popen(command)

    def end(*_: object) -> None:
        browser.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    begun = time.monotonic()
    tell("READY=1\nSTATUS=the browser is begun")
    while True:
        try:
            code = browser.wait(ASK_EVERY_S)
        except subprocess.TimeoutExpired:
            so_far = time.monotonic() - begun
            answer = asked(given.address)
            if not lives(answer.answers, answer.silent_s, so_far, given.begin_s, given.silent_s):
                tell("STATUS=the page says nothing")
                continue
            tell("WATCHDOG=1")
            if lasted(answer, so_far, given.fresh_after_s):
                tell("STATUS=a fresh browser takes its place")
                browser.terminate()
        else:
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
