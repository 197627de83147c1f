"""What happened at the device: another operator, profile, bundle or software, and what was noted.

An event explains a change, and is never itself one. What nobody else can see, a new lot of stain, a
new lamp, is noted by whoever did it (`note_event`), as a setting of the device: each with who and
when, in the chain.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from edgehemo.errors import RecordsError
from edgehemo.monitor.baseline import Period
from edgehemo.monitor.series import Rows, Scope
from edgehemo.records.settings import set_setting
from edgehemo.records.store import Writer

EventKind = Literal[
    "operator", "profile", "bundle", "software", "stain lot", "lamp", "service", "other"
]
# What people note; the others the records tell themselves.
NOTED: tuple[EventKind, ...] = ("stain lot", "lamp", "service", "other")
EVENT_SETTING = "monitor_event"
BASELINE_SETTING = "monitor_baseline"
MAX_TEXT_CHARACTERS = 200
# An event so near the beginning of a change may be its cause.
NEAR = timedelta(days=4)


@dataclass(frozen=True, slots=True)
class Event:
    """One event. text: what happened, a phrase."""

    day: date
    kind: EventKind
    text: str


# Kind -> the column whose change is the event, and what it is called.
_CHANGES: tuple[tuple[EventKind, str, str], ...] = (
    ("profile", "profile_made_at", "calibration profile of {0:.10}"),
    ("bundle", "bundle_sha256", "model bundle {0:.12}"),
    ("software", "software_version", "edgehemo {0}"),
)


def events(reader: Rows, scope: Scope | None = None) -> tuple[Event, ...]:
    """All events of a period, oldest first. What was in use from the first result on is none."""
    scope = scope or Scope()
    where, values = scope.where()
    found: list[Event] = []
    rows = reader.rows(
        f"SELECT operator, min(substr(r.made_at, 1, 10)) FROM result r WHERE {where} "
        "AND operator IS NOT NULL GROUP BY operator ORDER BY 2",
        values,
    )
    if rows:
        begun = rows[0][1]
        found += [
            Event(date.fromisoformat(day), "operator", f"first samples of {name}")
            for name, day in rows
            if day != begun
        ]
    columns = [column for _, column, _ in _CHANGES]
    now = ", ".join(f"r.{name}" for name in columns)
    before = ", ".join(
        f"lag(r.{name}) OVER (ORDER BY r.number) AS before_{name}" for name in columns
    )
    other = " OR ".join(f"{name} IS NOT before_{name}" for name in columns)
    rows = reader.rows(
        f"SELECT * FROM (SELECT substr(r.made_at, 1, 10), lag(r.number) OVER (ORDER BY r.number) "
        f"AS former, {now}, {before} FROM result r WHERE {where}) "
        f"WHERE former IS NOT NULL AND ({other})",
        values,
    )
    for day, _, *both in rows:
        for (kind, _, text), new, old in zip(
            _CHANGES, both[: len(columns)], both[len(columns) :], strict=True
        ):
            if new != old:
                said = "no calibration profile" if new is None else text.format(new)
                found.append(Event(date.fromisoformat(day), kind, said))
    found += [
        event
        for event in noted_events(reader)
        if (scope.since is None or event.day >= scope.since)
        and (scope.until is None or event.day <= scope.until)
    ]
    return tuple(sorted(found, key=lambda event: (event.day, event.kind, event.text)))


def near(known: tuple[Event, ...], day: date) -> tuple[Event, ...]:
    """The events that may be the cause of a change that began on a day."""
    return tuple(event for event in known if abs(event.day - day) <= NEAR)


def noted_events(reader: Rows) -> tuple[Event, ...]:
    """What people noted."""
    return tuple(
        Event(date.fromisoformat(value["day"]), value["kind"], value["text"])
        for value in _settings(reader, EVENT_SETTING)
    )


def note_event(writer: Writer, event: Event, *, by: str) -> None:
    """Note an event; it is on the disk when this returns. RecordsError for one that cannot be.

    event: its text is about the instrument, never about a patient.
    """
    if event.kind not in NOTED:
        raise RecordsError(f"{event.kind} is not noted; known are {', '.join(NOTED)}")
    text = " ".join(event.text.split())
    if not 0 < len(text) <= MAX_TEXT_CHARACTERS:
        raise RecordsError(f"say what happened in 1 to {MAX_TEXT_CHARACTERS} characters")
    _signed(by)
    value = {"day": event.day.isoformat(), "kind": event.kind, "text": text}
    set_setting(writer, EVENT_SETTING, value, by=by)


def stated_baseline(reader: Rows) -> Period | None:
    """The baseline that was stated last; None where none was, or it was taken back."""
    stated = _settings(reader, BASELINE_SETTING)
    if not stated or stated[-1] is None:
        return None
    value = stated[-1]
    return Period(
        date.fromisoformat(value["since"]), date.fromisoformat(value["until"]), value["reason"]
    )


def state_baseline(writer: Writer, period: Period | None, *, by: str) -> None:
    """State from which days the limits are learnt, for good; None: the usual ones again."""
    _signed(by)
    if period is None:
        set_setting(writer, BASELINE_SETTING, None, by=by)
        return
    if period.until < period.since:
        raise RecordsError("a baseline ends after it begins")
    if not period.reason.strip():
        raise RecordsError("say why these days: a lamp was changed, the device was serviced")
    value = {
        "since": period.since.isoformat(),
        "until": period.until.isoformat(),
        "reason": period.reason.strip()[:MAX_TEXT_CHARACTERS],
    }
    set_setting(writer, BASELINE_SETTING, value, by=by)


def _signed(by: str) -> None:
    if not by.strip():
        raise RecordsError("say who does it")


def _settings(reader: Rows, name: str) -> list[Any]:
    rows = reader.rows("SELECT value FROM setting WHERE name = ? ORDER BY number", (name,))
    return [json.loads(row[0]) for row in rows]
