"""What a practice taught: what was drawn on the slide, against what the person saw and did.

Nothing here is stored; the drawn truth is the simulated microscope's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edgehemo.anaemia.who_grade import Person, grade
from edgehemo.capture.simulated import SimulatedMicroscope
from edgehemo.cells.cell import NOT_A_CELL, UNCERTAIN
from edgehemo.kiosk.practice_slides import SLIDES, SlideName
from edgehemo.kiosk.state import Sample
from edgehemo.report.asked_cells import INCLUSIONS, AskedCell
from edgehemo.report.verdict import GRADES, Grade, grade_name
from edgehemo.statistics.interval import Interval
from edgehemo.words.language import Words

# What the simulated microscope draws into red cells may be called either of these.
_DRAWN_INCLUSIONS = frozenset({"parasite", "howell_jolly_body"})
# Whether something was right, might have been, or was not.
Mark = Literal["good", "soon", "fails"]


@dataclass(frozen=True, slots=True)
class DrawnCell:
    """What was drawn where a cell was asked about. type: its name. inclusion: whether something was
    drawn into it.
    """

    type: str
    inclusion: bool = False


@dataclass(frozen=True, slots=True)
class Practised:
    """What is known of a practice beside its state. words: of a person on asked cells, by their
    number; None confirms. drawn: what these cells are, by their number.
    """

    words: Mapping[int, str | None] = field(default_factory=dict)
    drawn: Mapping[int, DrawnCell | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """Something a person did, and whether it was right."""

    mark: Mark
    text: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """slide: what was drawn, in words. lines: what the person did. learn: what to take along."""

    slide: str
    lines: tuple[Line, ...]
    learn: str


def slide_name(words: Words, slide: SlideName) -> str:
    """What a slide is called where it is chosen."""
    _ = words._
    return {
        "good": _("A good slide"),
        "no_anaemia": _("A healthy person"),
        "severe": _("A person who is very ill"),
        "cells": _("Cells to look at"),
        "out_of_focus": _("Out of focus"),
        "over_stained": _("Stained too long"),
        "wrong_sample": _("The wrong slide"),
    }[slide]


def drawn_hgb_g_per_l(slide: SlideName) -> float:
    """The haemoglobin of the blood that was drawn, g/L."""
    return SimulatedMicroscope.from_spec(SLIDES[slide].source).panel.hgb_g_per_l


def drawn_grade(slide: SlideName, person: Person | None) -> Grade | None:
    """The grade of the drawn haemoglobin; None of a slide that cannot be read, and without a
    person.
    """
    if not SLIDES[slide].usable or person is None:
        return None
    hgb = drawn_hgb_g_per_l(slide)
    return grade(Interval(hgb, hgb, hgb), person).grade


def drawn_cells(source: str, asked: Sequence[AskedCell]) -> dict[int, DrawnCell | None]:
    """What was drawn where each asked cell is, by its number; None where nothing was. The fields
    are drawn again, which takes about as long as taking them.
    """
    found: dict[int, DrawnCell | None] = {}
    with SimulatedMicroscope.from_spec(source) as camera:
        for number in sorted({each.field for each in asked}):
            camera.move_to_field(number)
            camera.frame(10.0)
            assert camera.truth is not None
            cells = camera.truth.cells
            for item, each in enumerate(asked):
                if each.field == number:
                    found[item] = _drawn_at(each, cells)
    return found


def _drawn_at(asked: AskedCell, cells: Sequence[Any]) -> DrawnCell | None:
    """The drawn cell whose middle is nearest the middle of the asked one, within its box."""
    x0, y0, x1, y1 = asked.box
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    inside = [each for each in cells if x0 <= each.x_px <= x1 and y0 <= each.y_px <= y1]
    if not inside:
        return None
    nearest = min(inside, key=lambda each: (each.x_px - x) ** 2 + (each.y_px - y) ** 2)
    if nearest.kind == "platelet":
        return DrawnCell("platelet")
    return DrawnCell(nearest.shape, nearest.inclusion)


def lesson(
    sample: Sample,
    record: Mapping[str, Any] | None,
    asked: Sequence[AskedCell],
    practised: Practised,
    words: Words,
) -> Lesson:
    """Of a practice that is over. record: its result as result.json would hold it; None where it
    was given up before.
    """
    assert sample.slide is not None
    lines = [_of_grade(sample, record, words)]
    if (seen := _of_interval(sample, record, words)) is not None:
        lines.append(seen)
    if (named := _of_cells(asked, practised, words)) is not None:
        lines.append(named)
    return Lesson(_drawn(sample, words), tuple(lines), _learn(words, sample.slide))


def _drawn(sample: Sample, words: Words) -> str:
    _ = words._
    assert sample.slide is not None
    truth = drawn_grade(sample.slide, sample.answers.person())
    if truth is None:
        return slide_name(words, sample.slide)
    return _(
        "{grade}, haemoglobin {value} {unit}",
        grade=grade_name(words, truth),
        value=words.hgb(drawn_hgb_g_per_l(sample.slide)),
        unit=words.unit,
    )


def _of_grade(sample: Sample, record: Mapping[str, Any] | None, words: Words) -> Line:
    _ = words._
    assert sample.slide is not None
    usable = SLIDES[sample.slide].usable
    truth = drawn_grade(sample.slide, sample.answers.person())
    if sample.gave_up is not None:
        if usable:
            return Line("soon", _("You gave this sample up. It could have been screened."))
        return Line("good", _("You gave this sample up. That was right."))
    computed = _computed(record)
    given = sample.signed_grade or computed
    if not usable:
        if given is None:
            return Line("good", _("You signed it without a grade. That was right."))
        return Line("fails", _("You signed a grade. Nobody can tell one from this slide."))
    if given is None:
        return Line("good", _("You signed it without a grade, for the device could not tell one."))
    assert truth is not None
    name = grade_name(words, given)
    if given == truth:
        return Line("good", _("You signed: {grade}. That was right.", grade=name))
    if sample.signed_grade is None:
        return Line("soon", _("You signed: {grade}. The device was wrong.", grade=name))
    return Line("fails", _("You set: {grade}. That was wrong.", grade=name))


def _computed(record: Mapping[str, Any] | None) -> Grade | None:
    anaemia = None if record is None else record["anaemia"]
    return next((each for each in GRADES if anaemia and each == anaemia["grade"]), None)


def _of_interval(sample: Sample, record: Mapping[str, Any] | None, words: Words) -> Line | None:
    """Whether the drawn haemoglobin lies in the interval of the result."""
    _ = words._
    hgb = None if record is None else record["sample"]["hgb_g_per_l"]
    assert sample.slide is not None
    if hgb is None or not SLIDES[sample.slide].usable:
        return None
    drawn = drawn_hgb_g_per_l(sample.slide)
    said = {
        "value": words.hgb(hgb["value"]),
        "low": words.hgb(hgb["low"]),
        "high": words.hgb(hgb["high"]),
        "unit": words.unit,
    }
    if hgb["low"] <= drawn <= hgb["high"]:
        return Line(
            "good", _("The device said {value} {unit}, {low} to {high}: it lies within.", **said)
        )
    return Line(
        "soon", _("The device said {value} {unit}, {low} to {high}: it lies outside.", **said)
    )


def _of_cells(asked: Sequence[AskedCell], practised: Practised, words: Words) -> Line | None:
    """How many cells were named as they were drawn; those left open count for nothing."""
    judged = [
        _is_right(asked[item], practised.drawn[item], word)
        for item, word in practised.words.items()
        if item in practised.drawn and word != UNCERTAIN and (word or asked[item].codes)
    ]
    if not judged:
        return None
    right = sum(judged)
    text = words.n_(
        "{right} of {n} cell named as it was drawn.",
        "{right} of {n} cells named as they were drawn.",
        len(judged),
        right=words.number(right),
    )
    share = right / len(judged)
    return Line("good" if share == 1 else "soon" if share >= 0.5 else "fails", text)


def _is_right(asked: AskedCell, drawn: DrawnCell | None, word: str | None) -> bool:
    if drawn is None:
        return word == NOT_A_CELL
    if INCLUSIONS in asked.codes:
        return (word is None or word in _DRAWN_INCLUSIONS) == drawn.inclusion
    return (asked.type if word is None else word) == drawn.type


def _learn(words: Words, slide: SlideName) -> str:
    _ = words._
    return {
        "good": _("A refused field does no harm: the others are enough."),
        "no_anaemia": _("No anaemia is not the same as healthy. Look at the person too."),
        "severe": _("Severe anaemia: refer the person today. Do not wait for the laboratory."),
        "cells": _("The device asks, and a person decides. If you cannot tell, say so."),
        "out_of_focus": _("Turn the fine focus until the bar is long. Then take new fields."),
        "over_stained": _("Make a new smear, and stain it as long as your protocol says."),
        "wrong_sample": _("Look at the label and the slide before you begin."),
    }[slide]
