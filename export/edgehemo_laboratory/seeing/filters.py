"""Which results are meant: by site, kiosk, days, grade and what became of them. One meaning for
lists, sums and exports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from urllib.parse import urlencode

from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.storage.interface import Value

GRADES = ("none", "mild", "moderate", "severe")
# What may be asked for: the standings of results, and whether one was ever corrected.
OUTCOMES = ("given", "withheld", "held", "withdrawn", "corrected")
# What a page shows where nobody says which days.
USUAL_DAYS = 30


@dataclass(frozen=True, slots=True)
class Chosen:
    """site, kiosk, grade, outcome: empty for all. since, until: days that results count for, both
    among them, None without an end.
    """

    site: str = ""
    kiosk: str = ""
    since: date | None = None
    until: date | None = None
    grade: str = ""
    outcome: str = ""

    @classmethod
    def asked(cls, given: Mapping[str, str], today: date | None = None) -> Chosen:
        """As an address or a command says it. today: for which the usual days are taken where none
        is said; None for all. LaboratoryError for what is no day, grade or outcome.
        """
        since, until = _day(given.get("from", "")), _day(given.get("to", ""))
        if today is not None and since is None and until is None and "from" not in given:
            since = today - timedelta(days=USUAL_DAYS - 1)
        if since is not None and until is not None and since > until:
            raise LaboratoryError(f"no day lies between {since} and {until}: the first is later")
        grade, outcome = given.get("grade", ""), given.get("outcome", "")
        if grade and grade not in GRADES:
            raise LaboratoryError(f"{grade[:20]!r} is no grade; they are {', '.join(GRADES)}")
        if outcome and outcome not in OUTCOMES:
            raise LaboratoryError(f"{outcome[:20]!r} is none of {', '.join(OUTCOMES)}")
        return cls(given.get("site", ""), given.get("kiosk", ""), since, until, grade, outcome)

    def where(self, first: int = 1) -> tuple[str, list[Value]]:
        """A condition on ``result r`` with its values; first: number of the first of them."""
        parts: list[str] = []
        values: list[Value] = []

        def ask(condition: str, value: Value) -> None:
            parts.append(condition.format(f"${first + len(values)}"))
            values.append(value)

        if self.kiosk:
            ask("r.store IN (SELECT s.store FROM records s JOIN kiosk k ON k.number = s.kiosk "
                "WHERE k.name = {})", self.kiosk)  # fmt: skip
        if self.site:
            ask("r.store IN (SELECT s.store FROM records s JOIN kiosk k ON k.number = s.kiosk "
                "WHERE k.site = {})", self.site)  # fmt: skip
        if self.since is not None:
            ask("r.counted_day >= {}", self.since.isoformat())
        if self.until is not None:
            ask("r.counted_day <= {}", self.until.isoformat())
        if self.grade:
            ask("r.grade = {}", self.grade)
        if self.outcome == "corrected":
            parts.append("r.corrected = 1")
        elif self.outcome:
            ask("r.standing = {}", self.outcome)
        return " AND ".join(parts) or "1 = 1", values

    def query(self, **more: str) -> str:
        """As part of an address."""
        said = {
            "site": self.site, "kiosk": self.kiosk, "grade": self.grade, "outcome": self.outcome,
            "from": "" if self.since is None else self.since.isoformat(),
            "to": "" if self.until is None else self.until.isoformat(),
        }  # fmt: skip
        # An empty first day is said: it is another question than none.
        kept = {key: value for key, value in said.items() if value or key == "from"}
        return urlencode({**kept, **more})

    def without_end(self) -> Chosen:
        """The same of all days."""
        return replace(self, since=None, until=None)


def _day(text: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise LaboratoryError(f"{text[:20]!r} is no day: write it as 2026-11-27") from None
