"""The supervisor's backup: how old the last one is, a new one, an export, a look through it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from edgehemo.device.sticks import Stick, stick_to_write, sticks
from edgehemo.errors import EdgeHemoError, RecordsFullError, StickMissingError
from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.jobs import Job
from edgehemo.kiosk.putting_back import PutBack
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.supervision.long_work import (
    BackedUp,
    Brought,
    Exported,
    backing_up,
    bringing,
    exporting,
    looking_through,
    numbers_since,
)
from edgehemo.kiosk.supervision.result_list import days_name, moment
from edgehemo.kiosk.told_sentences import in_words
from edgehemo.records.backup import LastBackup, is_due, last_backup
from edgehemo.records.policy import free_mb
from edgehemo.records.results import count
from edgehemo.records.verifying import Verified
from edgehemo.words.language import Words

# What is offered of the formats, in this order.
KINDS = ("folder", "csv", "archive")
# Days of an export back from today; 0 stands for all.
DAYS = (1, 7, 30, 0)
# Faults of the records that are shown; the command says all.
FAULTS_SHOWN = 4


class BackupArea:
    """Its pages: ``""`` where things stand, or the work that runs; ``export``; ``restore``, where a
    backup is checked and copied before anybody is asked whether to put it back.
    """

    area: Area = "backup"

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """See `edgehemo.kiosk.area.AreaPages`."""
        job = desk.jobs.of(self.area)
        if asked.path not in ("", "export", "restore"):
            return None
        if job is not None and isinstance(job.result, Brought):
            asks = restore_view(desk, job.result, asked.words)
            return Shown("supervision/backup_replace.html.j2", asks)
        if job is not None:
            return Shown("supervision/backup_job.html.j2", job_view(job, asked.words))
        plugged_in = sticks(desk.device)
        values: dict[str, Any] = {"stick": stick_view(plugged_in, asked.words)}
        if asked.path == "restore":
            values["waiting"] = _unfinished(desk)
            return Shown("supervision/backup_restore.html.j2", values)
        if asked.path == "export":
            values |= _export_form(desk, asked)
            return Shown("supervision/backup_export.html.j2", values)
        # Backups that the command line made meanwhile count too.
        desk.kiosk.writer.take_noted()
        values |= _standing(desk, asked.words)
        return Shown("supervision/backup.html.j2", values)

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """See `edgehemo.kiosk.area.AreaPages`."""
        writer, by, words = desk.kiosk.writer, asked.who.name, asked.words
        if asked.path == "stop":
            desk.jobs.stop(self.area)
            return Went()
        if asked.path == "done":
            desk.jobs.put_away(self.area)
            return Went()
        if asked.path == "verify":
            desk.jobs.begin(self.area, "verify", looking_through(writer, by))
            return Went()
        if asked.path == "restore":
            if _unfinished(desk):
                return Went("restore", problem=_finish_first(words))
            stick = stick_to_write(desk.device)
            desk.jobs.begin(self.area, "restore", bringing(writer, stick))
            return Went()
        if asked.path == "replace":
            return self._replace(desk, asked)
        if asked.path == "start":
            stick = stick_to_write(desk.device)
            desk.jobs.begin(self.area, "backup", backing_up(writer, stick, by))
            return Went()
        if asked.path != "export":
            return None
        kind = asked.values.get("kind", "")
        days = asked.values.get("days", "")
        if kind not in _kinds(desk) or days not in [str(each) for each in DAYS]:
            problem = words._("Touch the days, and what is to be written.")
            return Went("export", problem=problem)
        if asked.values.get("identified") not in ("0", "1"):
            problem = words._("Touch whether sample numbers and names are to be in it.")
            return Went(f"export?kind={kind}&days={days}", problem=problem)
        numbers = numbers_since(writer, _since(int(days)))
        if not numbers:
            return Went("export", problem=words._("There is no result of these days."))
        identified = asked.values["identified"] == "1"
        stick = stick_to_write(desk.device)
        work = exporting(writer, desk.device, stick, numbers, kind, identified=identified, by=by)
        desk.jobs.begin(self.area, "export", work)
        return Went()

    def _replace(self, desk: Desk, asked: Asked) -> Went:
        """Have the backup that was copied put in the records' place, once the page is answered."""
        job, words = desk.jobs.of(self.area), asked.words
        if job is None or not isinstance(job.result, Brought):
            return Went("restore")
        if _unfinished(desk):
            return Went("", problem=_finish_first(words))
        desk.put_back(PutBack(job.result.path, asked.who.name))
        return Went(
            "", said=words._("The backup is being put back. The page comes back by itself.")
        )


def _unfinished(desk: Desk) -> bool:
    """Whether a sample is worked on or waits: it would be lost to the kiosk."""
    return any(not each.practice and each.step != "done" for each in desk.kiosk.state.samples)


def _finish_first(words: Words) -> str:
    return words._("Samples wait on the start page. Finish them or give them up first.")


def restore_view(desk: Desk, brought: Brought, words: Words) -> dict[str, Any]:
    """What putting a backup back would mean: what it holds, and what gives way."""
    writer, today = desk.kiosk.writer, datetime.now().astimezone().date()
    made = datetime.fromisoformat(brought.made_at)
    later = len(numbers_since(writer, made))
    return {
        "made": moment(words, brought.made_at, "set", today),
        "holds": words.n_("{n} result", "{n} results", brought.results),
        "stored": words.n_("{n} result", "{n} results", count(writer)),
        "later": later
        and words.n_(
            "{n} result was made here after the backup, and is then no more in the list.",
            "{n} results were made here after the backup, and are then no more in the list.",
            later,
        ),
        "stick": brought.label,
    }


@dataclass(frozen=True, slots=True)
class StickView:
    """The stick as the page shows it. code: of what is wrong with it; empty where it will do."""

    label: str
    free: str
    code: str
    title: str
    action: str


def stick_view(plugged_in: list[Stick], words: Words) -> StickView:
    """The stick that would be written to; what to do where there is none."""
    _ = words._
    for stick in plugged_in:
        if stick.writable:
            free = _("{size} GB free", size=words.number(stick.free_bytes / 1e9, 1))
            return StickView(stick.label, free, "", "", "")
    if plugged_in:
        title = _("The USB stick takes nothing")
        action = _("Move the switch on its side, or plug in another one.")
        return StickView(plugged_in[0].label, "", "STICK_MISSING", title, action)
    told = words.guidance("STICK_MISSING")
    return StickView("", "", told.code, told.title, told.action)


def age(words: Words, since: timedelta) -> str:
    """How long ago something was."""
    hours = since.total_seconds() / 3600
    if hours < 0:
        return words._("in the future: look at the clock")
    if hours < 1:
        return words._("less than an hour ago")
    if hours < 48:
        return words.n_("{n} hour ago", "{n} hours ago", int(hours))
    return words.n_("{n} day ago", "{n} days ago", int(hours / 24))


def last_view(
    last: LastBackup | None, results: int, due: bool, at: datetime, words: Words
) -> dict[str, Any]:
    """The last backup as the page shows it."""
    _ = words._
    if last is None:
        when = "" if results else _("There is nothing to back up yet.")
        return {"when": "", "age": when, "due": due and bool(results), "held": ""}
    made = datetime.fromisoformat(last.at).astimezone()
    return {
        "when": moment(words, last.at, "set", at.date()),
        "age": age(words, at - made),
        "due": due and bool(results),
        "held": words.n_(
            "{held} of {n} result is in it",
            "{held} of {n} results are in it",
            results,
            held=words.number(min(last.results, results)),
        ),
    }


def _standing(desk: Desk, words: Words) -> dict[str, Any]:
    writer, now = desk.kiosk.writer, datetime.now().astimezone()
    last, results = last_backup(writer), count(writer)
    due = is_due(last, now, desk.device.records.backup_every_hours)
    free_gb = free_mb(writer.folder.path) / 1000
    return {
        "last": last_view(last, results, due, now, words),
        "results": results,
        "never": last is None,
        "free": words._("{size} GB free", size=words.number(free_gb, 1)),
    }


def _kinds(desk: Desk) -> tuple[str, ...]:
    """What may be written: an archive is encrypted, which needs a key."""
    keys = desk.device.records.recipients
    return tuple(kind for kind in KINDS if kind != "archive" or keys)


def kind_words(words: Words, kind: str) -> tuple[str, str]:
    """What a format is called, and what it is."""
    _ = words._
    return {
        "folder": (_("Folders"), _("report and pictures, for people")),
        "csv": (_("Table"), _("one row a result, no pictures")),
        "archive": (_("Locked archive"), _("everything, opened with a key only")),
    }[kind]


def _export_form(desk: Desk, asked: Asked) -> dict[str, Any]:
    words = asked.words
    reader = desk.kiosk.writer
    offered = _kinds(desk)
    return {
        "days": [
            (
                str(days),
                days_name(words, days) if days else words._("All"),
                words.number(len(numbers_since(reader, _since(days)))),
            )
            for days in DAYS
        ],
        "kinds": [(kind, *kind_words(words, kind), kind in offered) for kind in KINDS],
        "given": {key: asked.values.get(key, "") for key in ("days", "kind", "identified")},
    }


def _since(days: int) -> datetime | None:
    if not days:
        return None
    first = datetime.now().astimezone().date() - timedelta(days=days - 1)
    return datetime(first.year, first.month, first.day).astimezone()


# -- the work that runs, or what it came to --------------------------------------------------------


def job_view(job: Job, words: Words) -> dict[str, Any]:
    """The page of a job. kind: running, good, stopped or failed."""
    _ = words._
    title = {
        "backup": _("Backup"),
        "export": _("Export"),
        "verify": _("Look through the records"),
        "restore": _("Put a backup back"),
    }[job.about]
    values: dict[str, Any] = {
        "title": title,
        "kind": "running",
        "step": _step(job, words),
        "share": job.share,
        "stopping": job.stopping,
        "about": job.about,
        "lines": (),
        "todo": "",
    }
    if not job.ended:
        return values
    if job.stopped:
        lines = (_("You stopped it."), _("What was on the stick before is whole."))
        if job.about == "restore":
            lines = (_("You stopped it."), _("The records are as they were."))
        return values | {"kind": "stopped", "lines": lines}
    if job.error is not None:
        return values | {"kind": "failed", **_failed(job.error, job.about, words)}
    whole = not isinstance(job.result, Verified) or job.result.whole
    return values | {"kind": "good" if whole else "failed", **_came_to(job.result, words)}


def _step(job: Job, words: Words) -> str:
    _ = words._
    return {
        "look": _("Looking what is new"),
        "check": _("Looking for the newest backup"),
        "bring": _("Checking and copying the backup"),
        "copy": _("Copying and reading back"),
        "export": _("Writing the results"),
        "chain": _("Checking the chain and all rows"),
        "pictures": _("Checking every picture"),
    }.get(job.step, _("It begins."))


def _came_to(result: object, words: Words) -> Mapping[str, Any]:
    _ = words._
    if isinstance(result, BackedUp):
        return {
            "lines": (
                words.n_("{n} result is backed up.", "{n} results are backed up.", result.results),
                _("{size} MB were new.", size=words.number(result.copied_bytes / 1e6, 1)),
                _("Everything was read back from {stick}.", stick=result.label),
            ),
            "todo": _("Take the stick out and keep it in another place."),
        }
    if isinstance(result, Exported):
        return {
            "lines": (
                words.n_("{n} result is written.", "{n} results are written.", result.results),
                _("On {stick}: {name}", stick=result.label, name=result.name),
            ),
            "todo": _("Take the stick out."),
        }
    assert isinstance(result, Verified), "no other work is begun here"
    looked_at = ", ".join(
        (
            words.n_("{n} result", "{n} results", result.results),
            words.n_("{n} entry of the chain", "{n} entries of the chain", result.entries),
            words.n_("{n} picture or document", "{n} pictures and documents", result.contents),
        )
    )
    if result.whole:
        return {"lines": (_("All is whole."), looked_at), "todo": ""}
    said = words.n_("{n} fault was found.", "{n} faults were found.", len(result.faults))
    return {
        "lines": (
            said,
            *(in_words(words, each) for each in result.faults[:FAULTS_SHOWN]),
            looked_at,
        ),
        "todo": _("Call whoever looks after this device. Keep the last backup."),
    }


def _failed(error: Exception, about: str, words: Words) -> Mapping[str, Any]:
    _ = words._
    if about == "restore" and not isinstance(error, StickMissingError | RecordsFullError):
        return {
            "lines": (
                _("There is no whole backup on the stick."),
                _("The records are as they were."),
            ),
            "todo": _("Try another stick. If that does not help, call whoever looks after it."),
        }
    if isinstance(error, EdgeHemoError) and error.code != "FAILED":
        told = words.guidance(error.code)
        if isinstance(error, StickMissingError):
            lines = (_("The USB stick was pulled out."), _("What was begun is not whole."))
            return {"lines": lines, "todo": _("Plug it in again, and begin again.")}
        return {"lines": (f"{told.title}.", told.meaning), "todo": told.action}
    return {
        "lines": (_("It could not be done."),),
        "todo": _("Try another stick. If that does not help, call whoever looks after it."),
    }
