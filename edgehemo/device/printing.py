"""The printer: a PDF goes to CUPS's ``lp``, and the queue is asked what became of it.

CUPS is the printing system of Raspberry Pi OS and of most others. Which printer is used says the
device configuration (``[kiosk] printer``), else CUPS's own default.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from edgehemo.device.print_queue import (
    ABORTED,
    CANCELLED,
    COMPLETED,
    STOPPED,
    JobState,
    job_state,
)
from edgehemo.errors import PrinterMissingError, PrintFailedError
from edgehemo.report.paper import Paper

# How long a command of CUPS may take, and how long a printer may take for a report, s.
COMMAND_S, PRINTED_S = 15.0, 180.0
# The queue is asked so often, s.
ASK_EVERY_S = 1.0
# What CUPS is told of a paper. A roll's length is as much as is printed; the page is not scaled.
_MEDIA: Mapping[Paper, tuple[str, ...]] = {
    "a4": ("media=A4",),
    "letter": ("media=Letter",),
    "a4_one_page": ("media=A4",),
    "roll_80mm": ("print-scaling=none",),
}
# Words of CUPS for a printer or a server that is not there.
_NOT_THERE = (
    "does not exist",
    "no default destination",
    "no destinations",
    "scheduler not responding",
    "connection refused",
    "unable to connect",
)
_ASKED = re.compile(r"request id is (?P<job>(?P<printer>\S+)-\d+)")

State = Literal["waits", "printed", "stopped"]
# Asks what became of a job, by its number.
Ask = Callable[[int], JobState | None]
# Runs a command with its input: exit code, output, errors.
Run = Callable[[list[str], bytes], tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class PrintJob:
    """A report in CUPS's queue. id: as CUPS calls it."""

    id: str
    printer: str

    @property
    def number(self) -> int:
        """Which of the queue's jobs it is."""
        return int(self.id.rpartition("-")[2])


def printed(
    pdf: bytes,
    paper: Paper,
    printer: str | None,
    *,
    still: Callable[[], None] = lambda: None,
    run: Run | None = None,
    ask: Ask = job_state,
    sleep: Callable[[float], None] = time.sleep,
) -> PrintJob:
    """Print a PDF and wait until CUPS says that it is printed.

    printer: None takes CUPS's default. still: called while it is waited for; what it raises ends
    the waiting, and takes the job out of the queue. PrinterMissingError where there is no printer
    or no CUPS; PrintFailedError, with the printer's own words, where it does not print.
    """
    command = _command if run is None else run
    job = sent(pdf, paper, printer, run=command)
    try:
        for _ in range(round(PRINTED_S / ASK_EVERY_S)):
            state, said = state_of(job, run=command, ask=ask)
            if state == "printed":
                return job
            if state == "stopped":
                raise PrintFailedError(f"the printer {job.printer} has stopped", said)
            still()
            sleep(ASK_EVERY_S)
        raise PrintFailedError(f"the printer {job.printer} does not answer", said)
    except BaseException:
        # What is not waited for any more must not be printed later, for somebody else to find.
        command(["cancel", job.id], b"")
        raise


def sent(pdf: bytes, paper: Paper, printer: str | None, *, run: Run) -> PrintJob:
    """Put a PDF into the queue. Errors as of `printed`."""
    options = [part for each in _MEDIA[paper] for part in ("-o", each)]
    to = [] if printer is None else ["-d", printer]
    # The title stands in CUPS's queue and log: it names no sample.
    code, out, err = run(["lp", *to, *options, "-t", "edgehemo report", "-"], pdf)
    found = _ASKED.search(out)
    if code == 0 and found is not None:
        return PrintJob(found["job"], found["printer"])
    said = _line(err) or _line(out)
    if any(each in said.lower() for each in _NOT_THERE):
        raise PrinterMissingError(f"there is no printer: {said}")
    raise PrintFailedError("the report was not taken by the printer's queue", said)


def state_of(job: PrintJob, *, run: Run, ask: Ask = job_state) -> tuple[State, str]:
    """What became of a job, and the printer's own words."""
    found = ask(job.number)
    if found is None:
        return "stopped", ""
    if found.state == COMPLETED:
        return "printed", ""
    if found.state in (STOPPED, CANCELLED, ABORTED):
        return "stopped", found.said
    _, told, _ = run(["lpstat", "-p", job.printer], b"")
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    if lines and "disabled since" in lines[0]:
        # The line below it says why: paper, ink, a cover.
        return "stopped", lines[1] if len(lines) > 1 else found.said
    return "waits", found.said


def _command(arguments: list[str], data: bytes) -> tuple[int, str, str]:
    try:
        done = subprocess.run(
            arguments,
            input=data,
            capture_output=True,
            timeout=COMMAND_S,
            check=False,
            # Its words are looked at; another language has others.
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise PrinterMissingError("CUPS is not installed: apt-get install cups-client") from None
    except subprocess.TimeoutExpired:
        raise PrintFailedError("the printing system does not answer", "") from None
    return (
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )


def _line(text: str) -> str:
    """The first line of what a command said, without its name."""
    line = next((each.strip() for each in text.splitlines() if each.strip()), "")
    return re.sub(r"^(lp|lpstat): (Error - )?", "", line)[:200]
