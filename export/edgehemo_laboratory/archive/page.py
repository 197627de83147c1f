"""The comparison as one self-contained page, with the pictures of the samples that moved most."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cv2

from edgehemo.errors import EdgeHemoError
from edgehemo.images.reading import picture_of
from edgehemo.measurands import MEASURAND_FACTS, MeasurandFacts
from edgehemo.pages.environment import page_environment
from edgehemo.pages.plots import Plot, widened
from edgehemo_laboratory.archive.output import Change, CompareOutput, GroupEntry, Mover
from edgehemo_laboratory.archive.place import Archive

# Width of a picture on the page, px, and its JPEG quality.
PICTURE_PX, _QUALITY = 260, 72
# Points of the plot.
MOST_POINTS = 2000
# Grades, mildest first; a sample without one comes last.
_GRADES = ("none", "mild", "moderate", "severe", None)
_GRADE_WORDS = {"none": "no anaemia", None: "no grade"}
# What the table by site shows.
_BY_SITE = ("refused_share", "hgb_g_per_l", "hgb_index", "rbc", "wbc")
# What a comparison names may be an index, which no measurand is.
_FACTS: dict[str, MeasurandFacts] = dict(MEASURAND_FACTS.items())
_DOT = "#0072b2"


@dataclass(frozen=True, slots=True)
class _ShownMover:
    mover: Mover
    old: str
    new: str
    by: str
    pictures: tuple[str, ...]


def compare_page(
    archive: Archive, seen: CompareOutput, points: Sequence[tuple[Any, ...]], at: datetime
) -> str:
    """The page. points: sample, old value, new value and what it is, see `compare.scatter`."""
    everything = seen.groups[0]
    return (
        page_environment("edgehemo_laboratory.archive")
        .get_template("compare.html.j2")
        .render(
            seen=seen,
            now=f"{at:%Y-%m-%d %H:%M}",
            everything=everything,
            main=[_row(each) for each in everything.changes if ":" not in each.name],
            types=[_row(each) for each in everything.changes if ":" in each.name],
            sites=[_site_rows(group) for group in seen.groups[1:]],
            plot=_plot(points),
            grades=_grade_table(seen),
            grade_words=grade_words(),
            movers=[_shown(archive, mover) for mover in seen.movers],
        )
    )


def _row(change: Change) -> tuple[str, str, str, str, str, str, str]:
    """Label, samples, old, new, change, its interval, and how it looks."""
    unit = f" {change.unit}" if change.unit else ""
    by = " %" if change.relative or change.unit == "%" else unit
    interval = "too few patients"
    look = ""
    if change.low is not None and change.high is not None:
        interval = f"{_signed(change.low)} to {_signed(change.high)}{by}"
        look = "warn" if change.low > 0 or change.high < 0 else ""
    return (
        change.label,
        f"{change.samples}",
        "–" if change.old is None else f"{change.old:g}{unit}",
        "–" if change.new is None else f"{change.new:g}{unit}",
        "–" if change.change is None else f"{_signed(change.change)}{by}",
        interval,
        look,
    )


def _signed(value: float) -> str:
    """A change, with its sign where it is one."""
    return f"{value:+g}" if value else "0"


def _site_rows(group: GroupEntry) -> tuple[str, int, int, list[tuple[str, ...]]]:
    wanted = [each for each in group.changes if each.name in _BY_SITE]
    return group.site or "", group.samples, group.patients, [_row(each) for each in wanted]


def _plot(points: Sequence[tuple[Any, ...]]) -> str:
    """Each sample's new value over its old one; empty where there is none."""
    if not points:
        return ""
    name = str(points[0][3])
    facts = _FACTS.get(name)
    label = f"{facts.label}, {facts.unit}" if facts is not None else "haemoglobin index"
    span = widened([float(value) for _, old, new, _ in points for value in (old, new)])
    plot = Plot(
        title=f"Each sample: {label}",
        x_label="old bundle",
        y_label="new bundle",
        x_range=span,
        y_range=span,
    )
    plot.line((span[0], span[0]), (span[1], span[1]), "#8b97a6", dashed=True)
    for sample, old, new, _ in points:
        plot.point(float(old), float(new), _DOT, f"{sample}: {old:.4g} to {new:.4g}")
    return plot.svg()


def _grade_table(seen: CompareOutput) -> list[tuple[str, list[tuple[int, bool]]]]:
    """Old grade -> how many have each new one, and whether it is the same."""
    if not seen.grades:
        return []
    counts = {(each.old, each.new): each.samples for each in seen.grades}
    return [
        (
            _GRADE_WORDS.get(old, str(old)),
            [(counts.get((old, new), 0), old == new) for new in _GRADES],
        )
        for old in _GRADES
    ]


def grade_words() -> list[str]:
    """The columns of the grades' table."""
    return [_GRADE_WORDS.get(each, str(each)) for each in _GRADES]


def _shown(archive: Archive, mover: Mover) -> _ShownMover:
    facts = _FACTS.get(mover.quantity)
    unit = f" {facts.unit}" if facts is not None else ""
    form = ".0f" if facts is not None else ".4f"
    found = []
    for name in mover.pictures:
        with contextlib.suppress(EdgeHemoError):
            found.append(_picture(archive, name))
    return _ShownMover(
        mover=mover,
        old=f"{mover.old:{form}}{unit}",
        new=f"{mover.new:{form}}{unit}",
        by=f"{mover.new - mover.old:+{form}}{unit}",
        pictures=tuple(each for each in found if each),
    )


def _picture(archive: Archive, field: str) -> str:
    """A small JPEG of a field, as an address that holds it; empty where it is gone."""
    digest, _, page = field.partition(".")
    data = archive.picture(digest)
    if data is None:
        return ""
    pixels = picture_of(data, "field").frame(int(page or 0)).pixels
    height = max(1, round(pixels.shape[0] * PICTURE_PX / pixels.shape[1]))
    small = cv2.resize(pixels, (PICTURE_PX, height), interpolation=cv2.INTER_AREA)
    _, coded = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return f"data:image/jpeg;base64,{base64.b64encode(coded.tobytes()).decode('ascii')}"
