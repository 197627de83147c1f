"""A result leaves the device by a person's hand: on paper, or on a USB stick.

Both take seconds and run beside the page (`edgehemo.kiosk.jobs`), with a connection of their own to
the records; that something left is noted in the chain. The page of a signed result and the
supervisor's page of one use the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.printing import printed
from edgehemo.device.sticks import stick_to_write, writing_to
from edgehemo.files.atomic import flush_folder, write_bytes_atomically
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.jobs import Job
from edgehemo.records.deidentified import View
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.exports.json_export import write_json_export
from edgehemo.records.results import result_of
from edgehemo.records.store import Reader
from edgehemo.records.stored_view import stored_view
from edgehemo.report.pdf import FIRST_PAGE_ONLY, report_pdf
from edgehemo.words.language import Words

Way = Literal["print", "stick"]
# Where on the stick; a result has a file of each kind there.
FOLDER = "edgehemo-results"
# What is being done, for the page to say.
Step = Literal["make", "print", "copy"]


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A result that left. to: the printer, or the label of the stick. files: their names."""

    way: Way
    to: str
    files: tuple[str, ...] = ()


def handing_out(
    way: Way, kiosk: Kiosk, device: DeviceConfiguration, identifier: str, words: Words, by: str
) -> Callable[[Job], HandedOut]:
    """The work of a job. identifier: of a stored result. words: the language of the paper. by: who
    asked for it.

    The work raises PrinterMissingError, PrintFailedError, StickMissingError or StickFullError, what
    the report needs and is not installed as MissingDependencyError, and RecordsError where the
    result cannot be read.
    """
    do = _print if way == "print" else _copy

    def work(job: Job) -> HandedOut:
        job.at(None, "make")
        with Reader(kiosk.writer.folder) as reader:
            left = do(job, reader, device, identifier, words)
            details = {"format": _FORMATS[way], "identified": True, "pictures": False}
            reader.note("result exported", identifier, details, by=by)
        kiosk.stored_now(kiosk.writer.take_noted)
        return left

    return work


_FORMATS = {"print": "paper", "stick": "pdf and json"}


def _print(
    job: Job, reader: Reader, device: DeviceConfiguration, identifier: str, words: Words
) -> HandedOut:
    paper = device.kiosk.paper
    view = stored_view(reader, identifier, words, evidence=paper not in FIRST_PAGE_ONLY)
    pdf = report_pdf(view, paper)
    job.at(None, "print")
    done = printed(pdf, paper, device.kiosk.printer, still=lambda: job.at(None))
    return HandedOut("print", done.printer)


def _copy(
    job: Job, reader: Reader, device: DeviceConfiguration, identifier: str, words: Words
) -> HandedOut:
    stick = stick_to_write(device)
    paper = device.kiosk.paper
    # A roll is for the printer; a file is for a reader.
    pdf = report_pdf(
        stored_view(reader, identifier, words), "a4" if paper == "roll_80mm" else paper
    )
    result = result_of(reader, identifier)
    job.at(None, "copy")
    names = (f"{result.id}.pdf", f"{result.id}.json")
    with writing_to(stick):
        folder = stick.path / FOLDER
        folder.mkdir(exist_ok=True)
        write_bytes_atomically(folder / names[0], pdf)
        _write_json(reader, result.id, folder / names[1])
        flush_folder(stick.path)
    return HandedOut("stick", stick.label, names)


def _write_json(reader: Reader, identifier: str, place: Path) -> None:
    view = View.of(reader, identified=True)
    write_json_export(
        Exporting(reader, [result_of(reader, identifier)], view, reader.head()), place
    )
