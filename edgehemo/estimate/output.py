"""Indices, concentrations and the anaemia screen as files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, field

from edgehemo.estimate.anaemia_screen import NOTE, AnaemiaScreenResult, ScreenClass
from edgehemo.estimate.values import (
    CalibrationGrade,
    FieldIndices,
    SampleEstimate,
    SampleIndices,
)
from edgehemo.field.scale import ScaleSource
from edgehemo.files.strict import Count, Record, Share
from edgehemo.guidance.codes import ValueCode, WithheldCode
from edgehemo.measurands import BLOOD_FACTS, BloodQuantity
from edgehemo.statistics.interval import Interval


class IndicesEntry(Record, frozen=True, kw_only=True):
    """Physical indices of a field; no unit of concentration. What each is says
    `edgehemo.estimate.values.FieldIndices`.
    """

    cell_cover: float
    cell_od_red: float
    cell_od_green: float
    cell_od_blue: float
    field_od_red: float
    field_od_green: float
    field_od_blue: float
    dark_share: float
    cell_area_um2: float | None
    cell_area_cv: float | None
    rbc_per_mm2: float | None
    area_mm2: float
    single_cells: Count
    scale_source: ScaleSource
    model: Mapping[str, float]
    hgb_index: float
    hct_index: float
    rbc_index: float | None

    @classmethod
    def of(cls, indices: FieldIndices) -> IndicesEntry:
        return cls(**_values(indices))


class SampleIndicesEntry(IndicesEntry, frozen=True, kw_only=True):
    """Indices pooled over the accepted fields, with the 95 % intervals between fields."""

    fields: Annotated[int, Meta(ge=1)]
    intervals: Mapping[str, Interval]

    @classmethod
    def of_sample(cls, indices: SampleIndices) -> SampleIndicesEntry:
        return cls(**_values(indices.mean), fields=len(indices.fields), intervals=indices.intervals)


def _values(indices: FieldIndices) -> dict[str, Any]:
    """The fields of an entry; the single cells' areas are for the report's drawing only."""
    return {name: getattr(indices, name) for name in IndicesEntry.__struct_fields__}


def _told(key: BloodQuantity) -> Meta:
    facts = BLOOD_FACTS[key]
    return Meta(description=f"{facts.label}, {facts.unit}; where it is null, reasons say why.")


Hgb = Annotated[Interval | None, _told("hgb_g_per_l")]
Hct = Annotated[Interval | None, _told("hct_l_per_l")]
Rbc = Annotated[Interval | None, _told("rbc_1e12_per_l")]
Mcv = Annotated[Interval | None, _told("mcv_fl")]
Mch = Annotated[Interval | None, _told("mch_pg")]
Mchc = Annotated[Interval | None, _told("mchc_g_per_l")]


class Concentrations(Record, frozen=True, kw_only=True):
    """Concentrations with their 95 % intervals, null without an analyser calibration that holds.

    reasons: name -> why it is null; reason_codes: the same as stable identifiers. estimators:
    measurand -> the estimator behind it.
    """

    hgb_g_per_l: Hgb
    hct_l_per_l: Hct
    rbc_1e12_per_l: Rbc
    mcv_fl: Mcv
    mch_pg: Mch
    mchc_g_per_l: Mchc
    reasons: Mapping[str, str]
    reason_codes: Mapping[str, ValueCode | WithheldCode]
    estimators: Mapping[str, str]
    calibration: CalibrationGrade
    notes: tuple[str, ...]


def concentrations(estimate: SampleEstimate) -> dict[str, Any]:
    """The fields of `Concentrations`, rounded to what can be told apart."""
    intervals = {name: estimate.of(name) for name in BLOOD_FACTS}
    return {
        **{
            name: None if item is None else item.rounded(BLOOD_FACTS[name].decimals)
            for name, item in intervals.items()
        },
        "reasons": estimate.reasons,
        "reason_codes": estimate.reason_codes,
        "estimators": estimate.estimators,
        "calibration": estimate.calibration,
        "notes": estimate.notes,
    }


def withheld_concentrations(reason: str, code: ValueCode | WithheldCode) -> dict[str, Any]:
    """The fields of `Concentrations` of a sample that was refused."""
    return {
        **dict.fromkeys(BLOOD_FACTS),
        "reasons": dict.fromkeys(BLOOD_FACTS, reason),
        "reason_codes": dict.fromkeys(BLOOD_FACTS, code),
        "estimators": {},
        "calibration": "none",
        "notes": (),
    }


class AnaemiaScreenEntry(Record, frozen=True, kw_only=True):
    """How the fields look to a network, anaemia-like or control-like: a research aid, no grade."""

    score: Share
    result: ScreenClass = field(name="class")
    fields: Annotated[int, Meta(ge=1)]
    note: str

    @classmethod
    def of(cls, result: AnaemiaScreenResult) -> AnaemiaScreenEntry:
        return cls(
            score=round(result.score, 4), result=result.result, fields=result.fields, note=NOTE
        )
