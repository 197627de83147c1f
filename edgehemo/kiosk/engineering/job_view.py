"""A job as a page shows it: how far it is, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.device.changing import ReadOnlyError
from edgehemo.errors import DeviceError, EdgeHemoError
from edgehemo.guidance.catalogue import catalogue
from edgehemo.kiosk.engineering.own_command import CommandFailedError
from edgehemo.kiosk.jobs import Job
from edgehemo.words.language import Words


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something failed. title, action: in the person's language, empty where no code says it.
    lines: what the program said, in English.
    """

    title: str
    action: str
    lines: tuple[str, ...]


def trouble_of(error: Exception, words: Words) -> Trouble:
    """What is told of an error: a fault of the program itself says nothing but that it is one."""
    _ = words._
    if not isinstance(error, EdgeHemoError):
        return Trouble(_("A fault of the program. It is in the log."), "", ())
    lines = error.lines if isinstance(error, CommandFailedError) and error.lines else (str(error),)
    if error.code in catalogue() and error.code not in ("FAILED", "USAGE"):
        told = words.guidance(error.code)
        return Trouble(told.title, told.action, lines)
    return Trouble(_("It could not be done."), "", lines)


def is_running(job: Job | None, *abouts: str) -> bool:
    """Whether one of these is under way."""
    return job is not None and not job.ended and (not abouts or job.about in abouts)


def why_not_kept(error: DeviceError, words: Words) -> str:
    """Why the device configuration was not changed, every problem at once, and what to do."""
    _ = words._
    if isinstance(error, ReadOnlyError):
        return _(
            "The configuration {file} may not be written. Have written there: {lines}",
            file=error.file,
            lines="  ".join(error.wanted),
        )
    # A line of the file's check: its name, the key, what is wrong.
    problems = [line.partition(": ")[2] or line for line in str(error).splitlines()]
    return _("Not kept: {problems}", problems="; ".join(problems))
