"""A stored result leaves the device from its own page: printed, or copied to a USB stick."""

from __future__ import annotations

from edgehemo.kiosk.area import Asked, Desk
from edgehemo.kiosk.errands import Errand, errand_of
from edgehemo.kiosk.handing_out import Way, handing_out

AREA = "results"
PAGE = "hand"
WAYS: tuple[Way, ...] = ("print", "stick")


def errand(desk: Desk, identifier: str) -> Errand | None:
    """What the page of a result says; None where nothing was asked for, or it was stopped."""
    job = desk.jobs.of(AREA)
    if job is None or job.stopped:
        return None
    way = next((way for way in WAYS if job.about == _about(way, identifier)), None)
    return None if way is None else errand_of(job, way)


def begin(way: Way, desk: Desk, identifier: str, asked: Asked) -> None:
    """Print or copy a result. KioskBusyError where something runs."""
    work = handing_out(way, desk.kiosk, desk.device, identifier, asked.words, asked.who.name)
    desk.jobs.begin(AREA, _about(way, identifier), work)


def stop(desk: Desk) -> None:
    """Do not wait for it any more."""
    desk.jobs.stop(AREA)


def _about(way: Way, identifier: str) -> str:
    return f"{way} {identifier}"
