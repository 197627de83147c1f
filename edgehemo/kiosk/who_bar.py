"""The bar of a result: the grades of this person, and where the haemoglobin lies among them.

The bar shows measured haemoglobin, as the page's number does. WHO takes an amount off a measured
value for altitude and smoking before it grades: here the limits are moved up by it instead, so that
the number, the bar and the limit in words agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgehemo.anaemia.who_grade import Limits, limits
from edgehemo.report.verdict import Grade
from edgehemo.words.language import Words

# How far the bar goes beyond the outer limits, g/L.
MARGIN_G_PER_L = 40.0
# A mark at the bar's end would be half outside, %.
_LEFT, _RIGHT = 1.0, 99.0


@dataclass(frozen=True, slots=True)
class Band:
    """One grade on the bar. start, width: % of the bar's length. here: whether the value is in."""

    grade: Grade
    name: str
    start: float
    width: float
    here: bool

    @property
    def middle(self) -> float:
        """Where its name stands, %."""
        return round(self.start + self.width / 2, 2)


@dataclass(frozen=True, slots=True)
class WhoBar:
    """Places in % of the bar's length. ticks: the two limits between grades of anaemia, and their
    numbers. limit: below it is anaemia. value, low, high: of the haemoglobin; low_goes_on,
    high_goes_on: its interval reaches past that end of the bar.
    """

    bands: tuple[Band, ...]
    ticks: tuple[tuple[float, str], ...]
    limit: tuple[float, str]
    value: float
    low: float
    high: float
    low_goes_on: bool
    high_goes_on: bool


def band_name(words: Words, grade: Grade) -> str:
    """A grade in one word, where it stands beside the others."""
    _ = words._
    return {
        "none": _("none"),
        "mild": _("mild"),
        "moderate": _("moderate"),
        "severe": _("severe"),
    }[grade]


def taken_off_g_per_l(anaemia: Mapping[str, Any]) -> float:
    """What the grade took off the measured haemoglobin for altitude and smoking, g/L."""
    return float(anaemia["altitude_g_per_l"] + anaemia["smoking_g_per_l"])


def who_bar(anaemia: Mapping[str, Any], hgb: Mapping[str, float], words: Words) -> WhoBar:
    """Of a grade as result.json holds it and the measured haemoglobin (value, low, high; g/L)."""
    group, off = _group(anaemia["group"]), taken_off_g_per_l(anaemia)
    inner = [each + off for each in (group.severe_below, group.moderate_below, group.limit)]
    first, last = inner[0] - MARGIN_G_PER_L, inner[-1] + MARGIN_G_PER_L

    def at(g_per_l: float) -> float:
        return round(100.0 * min(max((g_per_l - first) / (last - first), 0.0), 1.0), 2)

    def mark(g_per_l: float) -> float:
        return min(max(at(g_per_l), _LEFT), _RIGHT)

    edges = (first, *inner, last)
    grades: tuple[Grade, ...] = ("severe", "moderate", "mild", "none")
    bands = tuple(
        Band(
            grade,
            band_name(words, grade),
            at(low),
            round(at(high) - at(low), 2),
            grade == anaemia["grade"],
        )
        for grade, low, high in zip(grades, edges, edges[1:], strict=False)
    )
    return WhoBar(
        bands=bands,
        ticks=tuple((at(edge), words.hgb(edge)) for edge in inner[:-1]),
        limit=(at(inner[-1]), words.hgb(inner[-1])),
        value=mark(hgb["value"]),
        low=mark(hgb["low"]),
        high=mark(hgb["high"]),
        low_goes_on=hgb["low"] < first,
        high_goes_on=hgb["high"] > last,
    )


def _group(name: str) -> Limits:
    table = limits()
    groups = [each.limits for each in table.groups] + list(table.trimesters.values())
    return next(each for each in groups if each.name == name)
