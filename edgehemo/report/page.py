"""report.html: one self-contained page made from the result's record, its pictures and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from edgehemo.anaemia.who_grade import in_words, limits
from edgehemo.measurands import DERIVED_FACTS, MEASURAND_FACTS
from edgehemo.pages.environment import page_environment
from edgehemo.pages.prose import prose
from edgehemo.report.histogram import Histogram
from edgehemo.report.pictures import KIND_RGB, REFUSED_RGB
from edgehemo.report.result import DEMONSTRATION_NOTICE, SIMULATED_NOTICE

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATE = "report.html.j2"
STOPPED_BY = {
    "source_ended": "all images were read",
    "accepted_fields": "as many fields were accepted as asked for",
    "counting_error": "enough cells were counted",
    "examined_fields": "the limit of fields to look at was reached",
}
# Columns of figures that fit an A4 sheet beside the names of the checks.
FIELDS_PER_TABLE = 11
VERDICT_MARKS = {"pass": "", "warn": " !", "fail": " ✕"}
SCALE_SOURCES = {
    "profile": "from the calibration profile",
    "given": "given by the operator",
    "red_cells": "estimated from the red cells’ own size",
    "assumed": "assumed, as no cell could be measured",
}
# The scale of haemoglobin drawn beside the grade: g/L at its ends, its width in SVG units.
SCALE_LOW, SCALE_HIGH = 40.0, 180.0
SCALE_WIDTH = 380
SCALE_BANDS = (
    ("severe", "#e7b3b8"),
    ("moderate", "#f2cfb0"),
    ("mild", "#f5e6b3"),
    ("none", "#cfe5d8"),
)


@dataclass(frozen=True, slots=True)
class ShownField:
    """A field as the page shows it: its number from 1, its entry of ``images``, its picture.

    ``data_uri`` is empty for a field that only appears in the table of quality values.
    """

    number: int
    entry: Mapping[str, Any]
    data_uri: str = ""

    @property
    def checks(self) -> dict[str, Mapping[str, Any]]:
        return {check["name"]: check for check in self.entry["checks"]}


@dataclass(frozen=True, slots=True)
class Banner:
    """What a stored result's page says above all. loud: it must not be overlooked."""

    text: str
    loud: bool = False


@dataclass(frozen=True, slots=True)
class HaemoglobinScale:
    """The WHO bands of a person's group and the interval on them, in the SVG's units.

    bands: (x, width, css colour, label). value, low, high, limit: places.
    """

    bands: tuple[tuple[float, float, str, str], ...]
    ticks: tuple[tuple[float, str], ...]
    value: float
    low: float
    high: float
    width: int = SCALE_WIDTH


def render(
    record: Mapping[str, Any],
    pictures: Mapping[int, str],
    sizes: Histogram | None,
    found: Sequence[Sequence[str]] = (),
    banners: Sequence[Banner] = (),
) -> str:
    """The page as HTML text.

    record: a `ScreeningResult`'s. pictures: index in ``images`` -> data URI of the drawn field;
    fields without one are counted, not shown. sizes: None where no cell could be measured. found:
    of each of the sample's findings its cells, data URIs. banners: what a stored result's page says
    above all.
    """
    fields = [
        ShownField(index + 1, entry, pictures.get(index, ""))
        for index, entry in enumerate(record["images"])
        if "error" not in entry
    ]
    shown = [field for field in fields if field.data_uri]
    accepted = [field.entry for field in fields if field.entry["accepted"]]
    names = dict.fromkeys(name for field in fields for name in field.checks)
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            result=record,
            banners=banners,
            simulated_notice=SIMULATED_NOTICE,
            demonstration_notice=(
                DEMONSTRATION_NOTICE if record["sample"]["calibration"] == "demonstration" else ""
            ),
            measurands=MEASURAND_FACTS,
            derived=[facts for facts in DERIVED_FACTS.values() if record["sample"].get(facts.key)],
            stopped_by=STOPPED_BY,
            entries=fields,
            shown=shown,
            not_shown=len(fields) - len(shown),
            unreadable=[entry for entry in record["images"] if "error" in entry],
            check_names=list(names),
            fields_per_table=FIELDS_PER_TABLE,
            marks=VERDICT_MARKS,
            histogram=sizes,
            found_cells=list(found),
            scale_from_cells=any(entry["scale_source"] == "red_cells" for entry in accepted),
            scale_text=_scale_text([field.entry for field in fields]),
            anaemia_scale=(
                haemoglobin_scale(record["anaemia"]) if record["anaemia"] is not None else None
            ),
            kind_colours={
                **{kind: _hex(rgb) for kind, rgb in KIND_RGB.items()},
                "refused": _hex(REFUSED_RGB),
            },
        )
    )


def haemoglobin_scale(anaemia: Mapping[str, Any]) -> HaemoglobinScale:
    """Where an adjusted haemoglobin and its interval lie between the limits of the group."""
    table = limits()
    groups = [group.limits for group in table.groups] + list(table.trimesters.values())
    group = next(one for one in groups if one.name == anaemia["group"])
    hgb = anaemia["adjusted_hgb_g_per_l"]

    def at(g_per_l: float) -> float:
        share = (g_per_l - SCALE_LOW) / (SCALE_HIGH - SCALE_LOW)
        return round(SCALE_WIDTH * min(max(share, 0.0), 1.0), 1)

    edges = [SCALE_LOW, group.severe_below, group.moderate_below, group.limit, SCALE_HIGH]
    return HaemoglobinScale(
        bands=tuple(
            (at(low), at(high) - at(low), colour, label)
            for low, high, (label, colour) in zip(edges, edges[1:], SCALE_BANDS, strict=False)
        ),
        ticks=tuple((at(edge), f"{edge:g}") for edge in edges[1:-1]),
        value=at(hgb["value"]),
        low=at(hgb["low"]),
        high=at(hgb["high"]),
    )


def sentence(text: str) -> Markup:
    """`prose` with a capital at the beginning and a full stop at the end."""
    text = text.strip()
    if not text:
        return prose(text)
    return prose(text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else "."))


def measured(value: float | None) -> str:
    """Three significant digits and no more than four decimals, without an exponent."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 or value == 0 else f"{value:.4f}"


def fixed(value: float, digits: int) -> str:
    """So many decimals."""
    return f"{value:,.{digits}f}"


def chance(probability: float) -> str:
    """A probability as a share, never rounded to certainty."""
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"


def moment(iso: str) -> str:
    """An ISO time as people read it, with its zone."""
    return datetime.fromisoformat(iso).strftime("%-d %B %Y, %H:%M %Z")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return page_environment(
        "edgehemo.report",
        **{f.__name__: f for f in (sentence, prose, measured, fixed, chance, in_words, moment)},
    )


def _scale_text(entries: list[Mapping[str, Any]]) -> str:
    if not entries:
        return "none: no field was read"
    scales = [entry["um_per_px"] for entry in entries]
    sources = dict.fromkeys(SCALE_SOURCES[entry["scale_source"]] for entry in entries)
    low, high = min(scales), max(scales)
    figures = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
    return f"{figures} µm/px, {'; '.join(sources)}"


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
