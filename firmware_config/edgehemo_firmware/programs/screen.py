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
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

# The server is asked so often; a page that said nothing for so long does not live. A browser may
# take so long to begin with.
ASK_EVERY_S = 5.0
SILENT_S = 40.0
BEGIN_S = 60.0
# After so long a fresh browser takes its place, once nobody works.
FRESH_AFTER_S = 12 * 3600.0
# What ends sooner showed nothing: it is tried again after so long, and after twice that each time,
# up to the second.
WORKED_S = 15.0
WAIT_S, MOST_WAIT_S = 2.0, 60.0
GRAPHICS = "/dev/dri"

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


def drawing(graphics: str = GRAPHICS) -> dict[str, str]:
    """What the compositor's environment says of how it draws. Without a graphics processor it would
    refuse to draw by the computer's own, unless it is told to.
    """
    return {} if any(Path(graphics).glob("renderD*")) else {"WLR_RENDERER": "pixman"}


def surroundings(given: Mapping[str, str], graphics: str = GRAPHICS) -> dict[str, str]:
    """The compositor's environment. Its socket lies in the unit's own folder: the folder of the
    session belongs to the system, of which this unit may write nothing.
    """
    made = {**drawing(graphics), **given}
    if "RUNTIME_DIRECTORY" in given:
        made["XDG_RUNTIME_DIR"] = given["RUNTIME_DIRECTORY"].partition(":")[0]
    return made


def trouble(code: int, wait_s: float, address: str, graphics: str = GRAPHICS) -> str:
    """What the console says where nothing could be shown."""
    found = (
        f"what shows the page ended with {code}"
        if any(Path(graphics).glob("card*"))
        else "this computer has no graphics that the system knows"
    )
    return (
        f"edgehemo: nothing can be shown on this screen: {found}.\n"
        f"It is tried again in {wait_s:.0f} s. The kiosk's page is at {address} on this computer.\n"
        "To see why, sign in here and enter: journalctl -u edgehemo-screen\n"
    )


def say_on_console(text: str) -> None:
    """To the console that the service manager gave as the standard input, and to the journal."""
    sys.stderr.write(text)
    sys.stderr.flush()
    try:
        if os.isatty(0):
            os.write(0, b"\033[2J\033[H" + text.replace("\n", "\r\n").encode("utf-8"))
    except OSError:
        pass


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


class StoppedError(Exception):
    """The service manager asked for the end."""


def show(given: argparse.Namespace) -> tuple[int, bool]:
    """Run the compositor with the browser until it ends; its exit code, and whether it worked: it
    ran for a while, or was ended here. Where this is ended by `StoppedError`, it ends too.
    """
    command = [given.compositor, "-d", "--", *CHROMIUM, *given.switches, given.address]
    begun, ended_here = time.monotonic(), False
    browser = subprocess.Popen(command, env=surroundings(os.environ, given.graphics))
    try:
        while True:
            try:
                code = browser.wait(ASK_EVERY_S)
            except subprocess.TimeoutExpired:
                so_far = time.monotonic() - begun
                answer = asked(given.address)
                silent_s = answer.silent_s
                if not lives(answer.answers, silent_s, so_far, given.begin_s, given.silent_s):
                    tell("STATUS=the page says nothing")
                    continue
                tell("WATCHDOG=1")
                if lasted(answer, so_far, given.fresh_after_s):
                    tell("STATUS=a fresh browser takes its place")
                    browser.terminate()
                    ended_here = True
            else:
                worked = ended_here or time.monotonic() - begun >= given.worked_s
                return (code if code >= 0 else 128 - code), worked
    finally:
        if browser.poll() is None:
            browser.terminate()
            browser.wait()


def wait(seconds: float) -> None:
    """Petting the watchdog meanwhile: that nothing can be shown is known."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        tell("WATCHDOG=1")
        time.sleep(min(left, ASK_EVERY_S))


def next_wait(wait_s: float) -> float:
    """After how long it is tried again, once it was tried in vain after so long."""
    return min(2 * wait_s, MOST_WAIT_S)


def main() -> int:
    """Show the page until the browser ends or a signal comes; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--compositor", default="cage")
    parser.add_argument("--graphics", default=GRAPHICS, help="folder of the graphics devices")
    parser.add_argument("--begin-s", type=float, default=BEGIN_S)
    parser.add_argument("--silent-s", type=float, default=SILENT_S)
    parser.add_argument("--fresh-after-s", type=float, default=FRESH_AFTER_S)
    parser.add_argument("--worked-s", type=float, default=WORKED_S)
    parser.add_argument("--wait-s", type=float, default=WAIT_S)
    parser.add_argument("switches", nargs="*", help="of the browser, after --")
    given = parser.parse_args()

    def end(*_: object) -> None:
        raise StoppedError

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    wait_s = given.wait_s
    try:
        tell("READY=1\nSTATUS=the browser is begun")
        while True:
            try:
                code, worked = show(given)
            except OSError as error:
                sys.stderr.write(f"{error}\n")
                code, worked = 127, False
            if worked:
                return code
            tell(f"STATUS=nothing can be shown: tried again in {wait_s:.0f} s")
            say_on_console(trouble(code, wait_s, given.address, given.graphics))
            wait(wait_s)
            wait_s = next_wait(wait_s)
            tell("STATUS=the browser is begun")
    except StoppedError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
