"""What became of a stored result, newest first: its versions, and all else that was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from edgehemo.kiosk.supervision.reasons import reason_in_words
from edgehemo.kiosk.supervision.result_list import moment, short_grade
from edgehemo.records.audit import Entry
from edgehemo.records.results import Version
from edgehemo.records.reviews import Review
from edgehemo.records.search import SAID_GRADES, SaidGrade
from edgehemo.words.cell_names import cell_name
from edgehemo.words.language import Words


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was done. version: of the result that it made, None where it made none. why:
    the reason that was given. changed: what became another, each in a few words.
    """

    when: str
    who: str
    what: str
    version: int | None = None
    why: str = ""
    changed: tuple[str, ...] = ()


def history_of(
    versions: Sequence[Version],
    entries: Sequence[Entry],
    reviews: Sequence[Review],
    words: Words,
    today: date,
) -> list[Event]:
    """Newest first. entries: of the chain, oldest first, of this result. Cells that one person
    looked at one after another are one of them.
    """
    by_entry = {version.audit: (number, version) for number, version in enumerate(versions)}
    said = list(reviews)
    found: list[Event] = []
    for group in _grouped(entries):
        entry = group[0]
        when = moment(words, entry.details.get("noted_at", entry.at), "set", today)
        if entry.number in by_entry:
            number, version = by_entry[entry.number]
            before = versions[number - 1] if number else None
            found.append(
                Event(
                    moment(words, version.at, version.clock, today),
                    version.by,
                    change_name(words, version.change),
                    version.version,
                    reason_in_words(words, version.reason),
                    () if before is None else changes(before, version, words),
                )
            )
        elif entry.action == "cell reviewed":
            looked_at, said = said[: len(group)], said[len(group) :]
            what = words.n_("looked at {n} cell", "looked at {n} cells", len(group))
            found.append(Event(when, entry.actor, what, changed=_verdicts(looked_at, words)))
        else:
            found.append(Event(when, entry.actor, _deed(entry, words)))
    return found[::-1]


def _grouped(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    for entry in entries:
        same = bool(group) and entry.action == "cell reviewed" == group[0].action
        if not same or entry.actor != group[0].actor:
            if group:
                yield group
            group = []
        group.append(entry)
    if group:
        yield group


def change_name(words: Words, change: str) -> str:
    """What a version did to its result."""
    _ = words._
    return {
        "recorded": _("stored it"),
        "signed": _("signed it"),
        "corrected": _("corrected it"),
        "held": _("held it"),
        "released": _("released it"),
        "withdrawn": _("withdrew it"),
    }[change]


def _deed(entry: Entry, words: Words) -> str:
    """What was done that made no version."""
    _ = words._
    if entry.action == "result exported":
        return _("exported it")
    return {
        "result viewed": _("looked at it"),
        "result replayed": _("computed it again"),
        "message delivered": _("sent it: received there"),
        "message refused": _("sent it: refused there"),
        "message asked for again": _("had it sent again"),
        "message viewed": _("read what was sent"),
    }.get(entry.action, entry.action)


def _verdicts(reviews: Sequence[Review], words: Words) -> tuple[str, ...]:
    """How many were confirmed, renamed and so on."""
    number: dict[str, int] = {}
    for each in reviews:
        number[each.verdict] = number.get(each.verdict, 0) + 1
    names = {
        "confirmed": words.n_("{n} confirmed", "{n} confirmed", number.get("confirmed", 0)),
        "renamed": words.n_("{n} renamed", "{n} renamed", number.get("renamed", 0)),
        "unsure": words.n_("{n} left open", "{n} left open", number.get("unsure", 0)),
        "not a cell": words.n_("{n} not a cell", "{n} not cells", number.get("not a cell", 0)),
    }
    return tuple(names[verdict] for verdict in names if verdict in number)


def changes(before: Version, after: Version, words: Words) -> tuple[str, ...]:
    """What differs between two versions, in words."""
    _ = words._
    found = []
    if before.sample != after.sample:
        found.append(_("number {before} → {after}", before=before.sample, after=after.sample))
    old, new = _override(before.amendments), _override(after.amendments)
    if new != old and new is not None:
        found.append(_("grade set to {grade}", grade=grade_of(words, new)))
    cells, known = _cells(after.amendments), _cells(before.amendments)
    renamed = [place for place in cells if known.get(place) != cells[place]]
    if len(renamed) == 1:
        name = cell_name(words, cells[renamed[0]])
        found.append(_("a cell named {name}", name=name))
    elif renamed:
        found.append(words.n_("{n} cell named", "{n} cells named", len(renamed)))
    if before.amendments.get("comment") != after.amendments.get("comment"):
        found.append(_("comment: {comment}", comment=after.amendments.get("comment", "")))
    return tuple(found)


def grade_of(words: Words, grade: str) -> str:
    """A grade that a person set; taken away where it is none of them."""
    known: SaidGrade = next((each for each in SAID_GRADES if each == grade), "ungraded")
    return short_grade(words, known)


def _override(amendments: Mapping[str, Any]) -> str | None:
    """The grade that a person set; empty where they took it away."""
    override = amendments.get("override")
    return None if override is None else override.get("grade") or ""


def _cells(amendments: Mapping[str, Any]) -> dict[tuple[int, int], str]:
    return {(cell["field"], cell["cell"]): cell["type"] for cell in amendments.get("cells", ())}
