"""What a result says first, on every page and paper: the grade in words, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from edgehemo.anaemia.who_grade import Person
from edgehemo.anaemia.who_grade import grade as graded
from edgehemo.guidance.catalogue import catalogue
from edgehemo.statistics.interval import Interval
from edgehemo.words.language import Words

Grade = Literal["none", "mild", "moderate", "severe"]
Shape = Literal[Grade, "withheld", "ungraded"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """shape: how it is drawn. title: the grade in words. hgb: value, low and high in the site's
    unit, None where there is none. limit: of this person, likewise. possible: other grades that the
    interval reaches. why: why there is no grade. todo: what to do, in order. counted: what it
    stands on. flag: what must be as loud as the result. by_person: whether a person set the grade,
    or withdrew it.
    """

    shape: Shape
    title: str
    hgb: tuple[str, str, str] | None
    limit: str | None
    possible: tuple[str, ...]
    why: str
    todo: tuple[str, ...]
    counted: str
    findings: tuple[str, ...]
    flag: str
    by_person: bool = False


# From the lightest.
GRADES: tuple[Grade, ...] = get_args(Grade)


def grade_name(words: Words, grade: str) -> str:
    """A grade in words."""
    _ = words._
    return {
        "none": _("No anaemia"),
        "mild": _("Mild anaemia"),
        "moderate": _("Moderate anaemia"),
        "severe": _("Severe anaemia"),
    }[grade]


def verdict_of(
    record: Mapping[str, Any],
    words: Words,
    override: str | None = None,
    person: Person | None = None,
) -> Verdict:
    """Of a record as result.json holds it. override: the grade that a person set in its place;
    ``""`` where a person withdrew it. person: whose blood it is, where that is known; a haemoglobin
    too uncertain for a grade may still be that of severe anaemia.
    """
    _ = words._
    sample, anaemia, held_back = record["sample"], record["anaemia"], record["withheld"]
    interval = sample["hgb_g_per_l"]
    hgb = None
    if interval is not None:
        value, low, high = (words.hgb(interval[part]) for part in ("value", "low", "high"))
        hgb = (value, low, high)
    shape: Shape = "ungraded"
    title, why = _("No grade"), ""
    todo: tuple[str, ...] = (_("Measure haemoglobin another way."),)
    possible: tuple[str, ...] = ()
    if held_back is not None:
        shape, title = "withheld", _("No result: withheld")
        why = words.guidance(held_back["code"]).meaning
        todo = (
            _("Take new fields, or make a new smear."),
            _("If it happens again, refer the person."),
        )
    elif anaemia is not None:
        shape, title = anaemia["grade"], grade_name(words, anaemia["grade"])
        todo = _todo(words, anaemia["grade"])
        others = [each for each in anaemia["possible"] if each != anaemia["grade"]]
        possible = tuple(grade_name(words, each) for each in others)
        if "severe" in others:
            todo = (_("Refer the person today: severe is possible."), todo[0])
    else:
        why = _why_no_grade(words, sample)
        if _may_be_severe(interval, person):
            todo = (_("Refer the person today: severe is possible."), *todo)
    by_person = override is not None
    if override in GRADES:
        shape, title, todo = override, grade_name(words, override), _todo(words, override)
    elif override == "":
        shape, title, possible = "ungraded", _("No grade"), ()
        why = _("A person withdrew the grade.")
        todo = (_("Measure haemoglobin another way."),)
    read = words.n_(
        "{accepted} of {n} field accepted",
        "{accepted} of {n} fields accepted",
        sample["images"],
        accepted=words.number(sample["accepted"]),
    )
    cells = words.n_("{n} red cell", "{n} red cells", round(sample["counts"]["rbc"]["value"]))
    counted = f"{read}, {cells}"
    flag = ""
    if sample["calibration"] == "demonstration":
        flag = _("DEMONSTRATION")
    elif sample["calibration"] == "none" and held_back is None:
        flag = _("NOT CALIBRATED")
    return Verdict(
        shape=shape,
        title=title,
        hgb=hgb,
        limit=None if anaemia is None else words.hgb(anaemia["limit_g_per_l"]),
        possible=possible,
        why=why,
        todo=todo,
        counted=counted,
        findings=tuple(words.guidance(each["code"]).title for each in sample["findings"]),
        flag=flag,
        by_person=by_person,
    )


def _may_be_severe(hgb: Mapping[str, float] | None, person: Person | None) -> bool:
    """Whether a haemoglobin without a grade has an interval that reaches into severe anaemia."""
    if hgb is None or person is None or person.problems():
        return False
    return "severe" in graded(Interval(hgb["value"], hgb["low"], hgb["high"]), person).possible


def _todo(words: Words, grade: str) -> tuple[str, ...]:
    _ = words._
    confirm = _("Confirm with a laboratory measurement.")
    if grade == "severe":
        return (_("Refer the person today."), confirm)
    if grade in ("mild", "moderate"):
        return (confirm, _("Refer the person as your site does."))
    return (_("Confirm if the person looks or feels ill."),)


def _why_no_grade(words: Words, sample: Mapping[str, Any]) -> str:
    """The title of why there is no haemoglobin, or that it is too uncertain."""
    code = sample["reason_codes"].get("hgb_g_per_l")
    if code in catalogue():
        return words.title(code)
    return words.title("INTERVAL_TOO_WIDE")
