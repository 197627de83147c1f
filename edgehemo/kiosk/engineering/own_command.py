"""Runs a command of this installation in a process of its own, for a job of the kiosk.

What measures the microscope and what times the models come with their own commands, which this
package may not import and need not: they say how far they are, end when they are told to, and
write JSON.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, EdgeHemoError
from edgehemo.kiosk.jobs import Job, JobStopped

# How a command says on standard error how far it is (`edgehemo.commands.progress`).
_PROGRESS = re.compile(r"^(?P<doing>[\w ]+): (?P<done>\d+) of (?P<all>\d+) \(")
_BEGINS = re.compile(r"^(?P<doing>[\w ]+) begins, (?P<all>\d+) to do$")
_COMPLAINT = re.compile(r"^edgehemo: (?!warning: )(.+)$")
# How often is looked whether a person wants it to stop, and how long it may take to end then.
_LOOK_EVERY_S, _END_S = 0.2, 3.0
# Of what it complains, so many lines are kept.
_LINES = 12
ENTRY_POINT_GROUP = "edgehemo.commands"


class CommandFailedError(EdgeHemoError):
    """A command that did not do what it was asked. lines: what it complained of, in English."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(lines[-1] if lines else "the command ended without a word")
        self.lines = tuple(lines)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command came to. document: the JSON it wrote. withheld: whether it was done and failed
    its gate. complaints: its lines on standard error, in English.
    """

    document: Mapping[str, Any]
    withheld: bool = False
    complaints: Sequence[str] = field(default_factory=tuple)


def has_command(name: str) -> bool:
    """Whether another package of this installation brings a command."""
    return any(entry.name == name for entry in entry_points(group=ENTRY_POINT_GROUP))


def command_line(arguments: Sequence[str]) -> list[str]:
    """How the command of this very installation is called."""
    return [sys.executable, "-P", "-m", "edgehemo", *arguments, "--json", "-"]


def run_command(
    job: Job, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Said:
    """Run it to its end, and tell the job how far it is.

    environment: beside that of the kiosk. Raises CommandFailedError with what it complained of, and
    JobStopped where a person stopped it: then its process, and all that it began, are ended.
    """
    process = subprocess.Popen(
        command_line(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
    )
    written: list[str] = []
    complaints: list[str] = []
    listening = [
        threading.Thread(target=_collect, args=(process.stdout, written), daemon=True),
        threading.Thread(target=_follow, args=(process.stderr, job, complaints), daemon=True),
    ]
    for thread in listening:
        thread.start()
    try:
        while process.poll() is None:
            if job.stopping:
                raise JobStopped
            try:
                process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
    finally:
        _end(process)
        for thread in listening:
            thread.join(_END_S)
    if process.returncode not in (EXIT_DONE, EXIT_WITHHELD):
        raise CommandFailedError(complaints)
    try:
        document = json.loads("".join(written))
    except ValueError:
        raise CommandFailedError([*complaints, "the command wrote no JSON"]) from None
    return Said(document, process.returncode == EXIT_WITHHELD, tuple(complaints))


def _end(process: subprocess.Popen[str]) -> None:
    """End the process and what it began; nothing where it has ended."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_END_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def _collect(stream: Any, into: list[str]) -> None:
    into.extend(stream)


def _follow(stream: Any, job: Job, complaints: list[str]) -> None:
    """Read what it says of its progress, and keep what it complains of."""
    for line in stream:
        text = line.rstrip("\n")
        progress = _PROGRESS.match(text) or _BEGINS.match(text)
        if progress is not None:
            found = progress.groupdict()
            done = int(found.get("done") or 0)
            _tell(job, done / max(1, int(found["all"])), found["doing"])
        elif (complaint := _COMPLAINT.match(text)) is not None:
            complaints[:] = [*complaints, complaint[1]][-_LINES:]


def _tell(job: Job, share: float, step: str) -> None:
    try:
        job.at(share, step)
    except JobStopped:
        # The thread that waits for the process ends it.
        return
