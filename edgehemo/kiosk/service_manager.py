"""What the kiosk tells the service manager (systemd): that it answers and goes on.

The watchdog is petted by progress and not by a timer. It is left alone where the page does not
answer, where nothing is stored any more, or where the process that captures and analyses was
silent for longer than its deadline allows and nothing came of it: then the whole kiosk is begun
anew. A fault that is shown and waits for a person is no such silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Mapping

from edgehemo.kiosk.deadlines import due
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.state import KioskState, screen_of

log = logging.getLogger(__name__)

# The engine looks at its deadlines every 15 s at the latest, and storing may be slow.
LATE_S = 30.0
# How long an own question to the page, or to the thread that writes, may take.
ANSWER_S = 10.0
# It is petted so many times in the time after which it bites.
PETS = 4
READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


class ServiceManager:
    """Where the service manager listens; without one nothing is told. environment: of the process;
    NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read (sd_notify(3), sd_watchdog_enabled(3)).
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # An address of the abstract name space is written with an @.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        given = environment.get("WATCHDOG_USEC", "")
        for_us = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        microseconds = int(given) if given.isascii() and given.isdigit() and for_us else 0
        self.watchdog_s = microseconds / 1e6 if self._address else 0.0

    def tell(self, *lines: str) -> None:
        """Tell it; what cannot be told is let go, for the kiosk works without."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
                there.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("the service manager could not be told: %s", error)


def goes_on(state: KioskState, now_s: float) -> bool:
    """Whether capture and analysis make progress, or nobody waits for any: a silence of the worker
    leads to another worker, or to a fault that is shown. now_s: seconds since 1970.
    """
    found = due(state, "worker")
    return found is None or now_s - found[0] < LATE_S


async def watched_over(kiosk: Kiosk, port: int, manager: ServiceManager) -> None:
    """Tell the service manager that the page answers, then pet its watchdog while the kiosk goes
    on; until cancelled.
    """
    manager.tell(READY, status_of(kiosk.state))
    pause_s = manager.watchdog_s / PETS if manager.watchdog_s else LATE_S
    silent = False
    while True:
        await asyncio.sleep(pause_s)
        why = await _why_not(kiosk, port)
        if not why:
            manager.tell(ALIVE, status_of(kiosk.state))
        elif not silent:
            log.error("the watchdog is not petted: %s", why)
        silent = bool(why)


async def _why_not(kiosk: Kiosk, port: int) -> str:
    """Why the kiosk does not go on; empty where it does."""
    if not goes_on(kiosk.state, kiosk.clock()):
        return f"nothing came of the worker's silence at {screen_of(kiosk.state)}"
    if not await _in_time(kiosk.stored(_nothing)):
        return "nothing is stored any more"
    if not await _in_time(_asked(port)):
        return "the page does not answer"
    return ""


def status_of(state: KioskState) -> str:
    """What is shown, in a line for the service manager; nothing of a patient."""
    fault = "" if state.fault is None else f", {state.fault.code}"
    return f"STATUS=shows {screen_of(state)}{fault}, {len(state.samples)} samples in hand"


async def _in_time(work: Awaitable[object]) -> bool:
    try:
        await asyncio.wait_for(work, ANSWER_S)
    except (TimeoutError, OSError, RuntimeError, ValueError):
        return False
    return True


async def _asked(port: int) -> None:
    """Ask the page's server as a browser would. OSError, ValueError where it does not answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        request = f"GET /alive HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        await writer.drain()
        head = await reader.readline()
        if b" 200 " not in head:
            raise ValueError("no good answer")
        await reader.read(4096)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _nothing() -> None:
    """Done by the thread that writes, in its turn."""
