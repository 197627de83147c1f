"""The WHO grade of anaemia of an estimated haemoglobin, with what is not known of it.

The limits and adjustments are data (`data/who_2024.json`), with their source. A grade here is a
screening aid, never a diagnosis.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any, Literal

from msgspec import Meta

from edgehemo.errors import UsageError
from edgehemo.files.strict import Share
from edgehemo.statistics.interval import Interval
from edgehemo.statistics.normal import Z_95

Sex = Literal["female", "male"]
Grade = Literal["none", "mild", "moderate", "severe"]

YOUNGEST_YEARS = 0.5
OLDEST_YEARS = 125.0
# From this age on the limit depends on sex.
ADULT_YEARS = 15.0
PREGNANCY_YEARS = (10.0, 60.0)
LOWEST_ALTITUDE_M = -450.0
MOST_CIGARETTES = 120.0


@dataclass(frozen=True, slots=True)
class Person:
    """What the grade depends on. Kept with a stored result only, never with an image, never logged.

    age_years: completed or fractional, from 0.5. sex: needed from 15 years. pregnancy_trimester:
    1, 2 or 3, None when not pregnant. altitude_m: where the person lives, metres above the sea.
    smoker: None when not asked. cigarettes_per_day: None for an unknown amount.
    """

    age_years: float
    sex: Sex | None = None
    pregnancy_trimester: int | None = None
    altitude_m: float = 0.0
    smoker: bool | None = None
    cigarettes_per_day: float | None = None

    def problems(self) -> list[str]:
        """Everything that is missing, impossible or contradictory, one phrase each."""
        found: list[str] = []
        if not (math.isfinite(self.age_years) and 0 <= self.age_years <= OLDEST_YEARS):
            found.append(f"age must lie in 0 to {OLDEST_YEARS:g} years")
        elif self.age_years < YOUNGEST_YEARS:
            found.append("WHO gives no limit under 6 months of age")
        elif self.age_years >= ADULT_YEARS and self.sex is None:
            found.append(f"sex is needed from {ADULT_YEARS:g} years of age")
        if self.sex not in (None, "female", "male"):
            found.append("sex must be female or male")
        found += self._problems_of_pregnancy()
        highest = limits().altitude_below_m
        if not LOWEST_ALTITUDE_M <= self.altitude_m < highest:
            found.append(
                f"altitude must lie in {LOWEST_ALTITUDE_M:g} to {highest - 1:g} m, "
                "where WHO gives an adjustment"
            )
        if self.cigarettes_per_day is not None:
            if not 0 <= self.cigarettes_per_day <= MOST_CIGARETTES:
                found.append(f"cigarettes a day must lie in 0 to {MOST_CIGARETTES:g}")
            elif self.smoker is False and self.cigarettes_per_day > 0:
                found.append("a non-smoker cannot smoke cigarettes: correct one of the two")
            elif self.smoker is True and self.cigarettes_per_day == 0:
                found.append("a smoker of no cigarettes: correct one of the two")
        return found

    def _problems_of_pregnancy(self) -> list[str]:
        if self.pregnancy_trimester is None:
            return []
        found = []
        if self.pregnancy_trimester not in (1, 2, 3):
            found.append("pregnancy trimester must be 1, 2 or 3")
        if self.sex == "male":
            found.append("a man cannot be pregnant: correct sex or pregnancy")
        low, high = PREGNANCY_YEARS
        if not low <= self.age_years <= high:
            found.append(
                f"pregnancy is accepted from {low:g} to {high:g} years: correct age or pregnancy"
            )
        return found


@dataclass(frozen=True, slots=True)
class AnaemiaGrade:
    """The grade of one estimated haemoglobin.

    grade: of the adjusted value. adjusted_hgb_g_per_l: with altitude and smoking taken off.
    limit_g_per_l: below it is anaemia. probability_below_limit: 0-1, from the interval taken for
    a normal distribution. possible: every grade the interval reaches, mildest first.
    altitude_g_per_l, smoking_g_per_l: what was taken off. group: of the WHO table. source: of it.
    """

    grade: Grade
    adjusted_hgb_g_per_l: Interval
    limit_g_per_l: float
    probability_below_limit: Share
    possible: Annotated[tuple[Grade, ...], Meta(min_length=1)]
    altitude_g_per_l: float
    smoking_g_per_l: float
    group: str
    source: str

    def rounded(self) -> AnaemiaGrade:
        """As files hold it."""
        return replace(
            self,
            adjusted_hgb_g_per_l=self.adjusted_hgb_g_per_l.rounded(1),
            probability_below_limit=round(self.probability_below_limit, 4),
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one group, g/L: anaemia below ``limit``, moderate and severe below the others."""

    name: str
    limit: float
    moderate_below: float
    severe_below: float

    @property
    def bands(self) -> float:
        """From the limit of severe anaemia to that of none, g/L."""
        return self.limit - self.severe_below

    def grade(self, hgb_g_per_l: float) -> Grade:
        """The grade of an adjusted value; a value at a limit belongs to the milder grade."""
        if hgb_g_per_l >= self.limit:
            return "none"
        if hgb_g_per_l >= self.moderate_below:
            return "mild"
        return "moderate" if hgb_g_per_l >= self.severe_below else "severe"


@dataclass(frozen=True, slots=True)
class AgeGroup:
    """A group by age in years, [from_years, below_years), and sex where it matters."""

    limits: Limits
    from_years: float
    below_years: float
    sex: Sex | None

    def holds(self, person: Person) -> bool:
        inside = self.from_years <= person.age_years < self.below_years
        return inside and self.sex in (None, person.sex)


@dataclass(frozen=True, slots=True)
class LimitTable:
    """All limits and adjustments, as the data file gives them; steps are (from, g/L), rising."""

    name: str
    source: str
    note: str
    groups: tuple[AgeGroup, ...]
    trimesters: dict[int, Limits]
    altitude_steps: tuple[tuple[float, float], ...]
    altitude_below_m: float
    smoking_steps: tuple[tuple[float, float], ...]
    smoking_unknown: float


@lru_cache(maxsize=1)
def limits() -> LimitTable:
    """The WHO table shipped in the package."""
    text = resources.files("edgehemo").joinpath("data", "who_2024.json").read_text("utf-8")
    content = json.loads(text)
    return LimitTable(
        name=content["name"],
        source=content["source"],
        note=content["note"],
        groups=tuple(
            AgeGroup(
                _limits(row), row["from_years"], row.get("below_years", math.inf), row.get("sex")
            )
            for row in content["groups"]
        ),
        trimesters={row["trimester"]: _limits(row) for row in content["pregnancy"]},
        altitude_steps=tuple((row["from_m"], row["subtract"]) for row in content["altitude"]),
        altitude_below_m=content["altitude_below_m"],
        smoking_steps=tuple(
            (row["from_cigarettes_per_day"], row["subtract"]) for row in content["smoking"]
        ),
        smoking_unknown=content["smoking_unknown_amount"],
    )


def widest_bands_g_per_l() -> float:
    """From the limit of severe anaemia to that of none, g/L, in the group where it is widest."""
    table = limits()
    groups = (*(group.limits for group in table.groups), *table.trimesters.values())
    return max(group.bands for group in groups)


def bands_g_per_l(person: Person) -> float:
    """From the limit of severe anaemia to that of none, g/L, for this person."""
    return _group_of(person).bands


def grade(hgb: Interval, person: Person) -> AnaemiaGrade:
    """Grade an estimated haemoglobin (g/L, 95 % interval) for one person.

    Raises UsageError, all problems in one line, for a person WHO gives no limit for or one that
    contradicts itself.
    """
    if problems := person.problems():
        raise UsageError("no anaemia grade: " + "; ".join(problems))
    table = limits()
    chosen = _group_of(person)
    altitude = _step(table.altitude_steps, person.altitude_m)
    smoking = _smoking(table, person)
    off = altitude + smoking
    adjusted = Interval(hgb.value - off, hgb.low - off, hgb.high - off)
    grades = [chosen.grade(value) for value in (adjusted.high, adjusted.value, adjusted.low)]
    order: tuple[Grade, ...] = ("none", "mild", "moderate", "severe")
    possible = order[order.index(grades[0]) : order.index(grades[2]) + 1]
    return AnaemiaGrade(
        grade=grades[1],
        adjusted_hgb_g_per_l=adjusted,
        limit_g_per_l=chosen.limit,
        probability_below_limit=_probability_below(adjusted, chosen.limit),
        possible=possible,
        altitude_g_per_l=altitude,
        smoking_g_per_l=smoking,
        group=chosen.name,
        source=table.name,
    )


def _group_of(person: Person) -> Limits:
    """The limits of the person's group; for one without problems there is a group."""
    table = limits()
    if person.pregnancy_trimester is not None:
        return table.trimesters[person.pregnancy_trimester]
    return next(group.limits for group in table.groups if group.holds(person))


def in_words(grade: str) -> str:
    """A grade as people say it."""
    return "no anaemia" if grade == "none" else f"{grade} anaemia"


def _limits(row: dict[str, Any]) -> Limits:
    return Limits(row["name"], row["limit"], row["moderate_below"], row["severe_below"])


def _step(steps: tuple[tuple[float, float], ...], at: float) -> float:
    return max((amount for start, amount in steps if at >= start), default=0.0)


def _smoking(table: LimitTable, person: Person) -> float:
    if person.cigarettes_per_day is not None:
        if person.cigarettes_per_day == 0:
            return 0.0
        return _step(table.smoking_steps, person.cigarettes_per_day)
    return table.smoking_unknown if person.smoker else 0.0


def _probability_below(interval: Interval, limit: float) -> float:
    """Of a normal distribution with this value and 95 % interval; its upper half where the lower
    was cut at zero. A number without width is below or it is not.
    """
    sd = max(interval.high - interval.value, interval.value - interval.low) / Z_95
    if sd <= 0:
        return 1.0 if interval.value < limit else 0.0
    return 0.5 * math.erfc((interval.value - limit) / (sd * math.sqrt(2.0)))
