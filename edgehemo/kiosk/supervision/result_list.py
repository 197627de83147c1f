"""The list of stored results as the page shows it: a page of rows, and what was searched for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from edgehemo.kiosk.paging import ROWS, number_in, rows_of
from edgehemo.records.results import State
from edgehemo.records.search import PILES, SAID_GRADES, Found, Pile, SaidGrade, Search
from edgehemo.words.language import Words

STATES: tuple[State, ...] = ("unsigned", "signed", "corrected", "held", "withdrawn")
# Ranges of days that a search offers, today among them.
DAYS = (1, 7, 30, 90)


@dataclass(frozen=True, slots=True)
class Asking:
    """What the list was asked for. days: back from today, None for ever. page: from 1. rows: on
    it.
    """

    search: Search
    days: int | None = None
    page: int = 1
    rows: int = ROWS

    @property
    def query(self) -> str:
        """The same as the query of an address, without what is as it always is."""
        wanted = self.search
        values = {
            "pile": "" if wanted.pile == "all" else wanted.pile,
            "number": wanted.number,
            "operator": wanted.operator or "",
            "days": "" if self.days is None else str(self.days),
            "grade": wanted.grade or "",
            "state": wanted.state or "",
            "overridden": "1" if wanted.overridden else "",
            "page": "" if self.page == 1 else str(self.page),
            "rows": "" if self.rows == ROWS else str(self.rows),
        }
        return urlencode({key: value for key, value in values.items() if value})

    def on_page(self, page: int) -> Asking:
        """Another page of the same."""
        return replace(self, page=page)

    def of_pile(self, pile: Pile) -> Asking:
        """The first page of another pile."""
        return replace(self, search=replace(self.search, pile=pile), page=1)


def asking(values: Mapping[str, str], today: date) -> Asking:
    """What an address asks for; what it does not say rightly is left out."""
    pile, grade, state = values.get("pile"), values.get("grade"), values.get("state")
    days = number_in(values.get("days"), 1, 36_500)
    since = None
    if days is not None:
        first = today - timedelta(days=days - 1)
        since = datetime(first.year, first.month, first.day).astimezone()
    return Asking(
        Search(
            pile=pile if pile in PILES else "all",
            number=values.get("number", "").strip()[:64],
            operator=values.get("operator", "").strip()[:64] or None,
            since=since,
            grade=grade if grade in SAID_GRADES else None,
            state=state if state in STATES else None,
            overridden=values.get("overridden") == "1",
        ),
        days,
        number_in(values.get("page"), 1, 1_000_000) or 1,
        rows_of(values),
    )


def short_grade(words: Words, said: SaidGrade) -> str:
    """What a result says, in a column."""
    _ = words._
    return {
        "none": _("None"),
        "mild": _("Mild"),
        "moderate": _("Moderate"),
        "severe": _("Severe"),
        "withheld": _("Withheld"),
        "ungraded": _("No grade"),
    }[said]


def state_name(words: Words, state: State) -> str:
    """Where a result stands."""
    _ = words._
    return {
        "unsigned": _("to sign"),
        "signed": _("signed"),
        "corrected": _("corrected"),
        "held": _("held"),
        "withdrawn": _("withdrawn"),
    }[state]


def pile_name(words: Words, pile: Pile) -> str:
    """What a pile of results is called."""
    _ = words._
    return {"all": _("All"), "to_sign": _("To sign"), "held": _("Held")}[pile]


def days_name(words: Words, days: int) -> str:
    """A range of days back from today."""
    if days == 1:
        return words._("Today")
    return words.n_("{n} day", "{n} days", days)


def moment(words: Words, text: str, clock: str, today: date) -> str:
    """When something was: the time alone where it was today."""
    if clock != "set":
        return words._("clock not set")
    at = datetime.fromisoformat(text).astimezone()
    if at.date() == today:
        return words._("today {time}", time=words.time(at))
    return f"{words.date(at)} {words.time(at)}"


def row_of(
    found: Found, interval: Mapping[str, float] | None, words: Words, today: date
) -> dict[str, Any]:
    """A row. interval: value, low and high of the haemoglobin, g/L; None where there is none."""
    listed = found.listed
    hgb = None
    if interval is not None:
        hgb = tuple(words.hgb(interval[part]) for part in ("value", "low", "high"))
    return {
        "id": listed.id,
        "sample": listed.sample,
        "when": moment(words, listed.made_at, listed.clock, today),
        "shape": found.said,
        "grade": short_grade(words, found.said),
        "by_person": found.overridden,
        "hgb": hgb,
        "state": listed.state,
        "state_name": state_name(words, listed.state),
        "marked": found.marked and listed.state != "withdrawn",
        "simulated": listed.simulated,
        # Where it is, as mark and words; only the list itself says it.
        "sent": None,
    }


def asked_for(wanted: Asking, words: Words) -> str:
    """What was searched for, in a line; empty for all of a pile."""
    search = wanted.search
    parts = [
        search.number,
        search.operator or "",
        "" if wanted.days is None else days_name(words, wanted.days),
        "" if search.grade is None else short_grade(words, search.grade),
        "" if search.state is None else state_name(words, search.state),
        words._("changed by a person") if search.overridden else "",
    ]
    return ", ".join(part for part in parts if part)
