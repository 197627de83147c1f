"""What is measured of a field and of a sample: indices, concentrations, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgehemo.field.scale import ScaleSource
from edgehemo.guidance.codes import ValueCode
from edgehemo.measurands import BloodQuantity
from edgehemo.statistics.interval import Interval

CalibrationGrade = Literal["none", "demonstration", "calibrated"]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How the picture of a field was taken: what a calibration's own pictures are compared with.

    width_px, height_px: of the frame. um_per_px: of the frame, as it was used. background_tint:
    see `edgehemo.quality.stain`, None where nobody measured the light. sharpness: per um, None
    where there was nothing to judge it by.
    """

    width_px: int
    height_px: int
    um_per_px: float
    background_tint: float | None = None
    sharpness: float | None = None


@dataclass(frozen=True, slots=True)
class FieldIndices:
    """Physical indices of one canonical field; no unit of concentration, and none is implied.

    cell_cover: share of the valid area that red cells cover (0-1).
    cell_od_red, cell_od_green, cell_od_blue: mean optical density over the cells' pixels, 0
        where there are none.
    field_od_red, field_od_green, field_od_blue: mean optical density over the whole valid area,
        i.e. cover times density: proportional to absorbing mass per area (Beer-Lambert).
    dark_share: share of valid pixels with green optical density over 0.06.
    cell_area_um2, cell_area_cv: median area of single cells and the relative spread; None with
        fewer than `edgehemo.estimate.indices.MIN_SINGLE_CELLS` of them.
    rbc_per_mm2: interior red cells per area, None without a cell finder.
    area_mm2: valid area the indices stand on.
    single_cells: how many cells were measured on their own.
    single_cell_areas_um2: their areas, for the distribution in the report; not in the JSON.
    scale_source: where the field's scale is from.
    model: outputs of an estimating network by name, empty without one.
    taken: how its picture was taken; None of a pooled mean and where it is not known.
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
    single_cells: int = 0
    single_cell_areas_um2: tuple[float, ...] = ()
    scale_source: ScaleSource = "assumed"
    model: Mapping[str, float] = field(default_factory=dict)
    taken: Circumstances | None = None

    @property
    def hgb_index(self) -> float:
        """Haemoglobin per area: mean green optical density of the field (Beer-Lambert)."""
        return self.field_od_green

    @property
    def hct_index(self) -> float:
        """Packed area: share of the field that cells cover."""
        return self.cell_cover

    @property
    def rbc_index(self) -> float | None:
        """Red cells per mm^2 of smear."""
        return self.rbc_per_mm2


@dataclass(frozen=True, slots=True)
class SampleIndices:
    """The indices of a sample, pooled over its accepted fields.

    mean: area-weighted means in the shape of one field (`area_mm2` and `single_cells` summed,
        `single_cell_areas_um2` joined).
    intervals: index name -> mean with its 95 % interval between fields (Student's t); only for
        two fields or more, only for indices every field has.
    standard_errors: index name -> between-field standard error, likewise.
    fields: what was pooled.
    """

    mean: FieldIndices
    intervals: Mapping[str, Interval]
    standard_errors: Mapping[str, float]
    fields: tuple[FieldIndices, ...]

    @property
    def model(self) -> Mapping[str, float]:
        """Pooled outputs of an estimating network by name, empty without one."""
        return self.mean.model


@dataclass(frozen=True, slots=True)
class SampleEstimate:
    """Concentrations of a sample, each with its 95 % prediction interval, or None and a reason.

    hgb_g_per_l, hct_l_per_l, rbc_1e12_per_l: through the profile's analyser calibration.
    mcv_fl, mch_pg, mchc_g_per_l: derived from those, where both parts exist.
    reasons, reason_codes: name -> why it is None. estimators: measurand -> the estimator behind it.
    calibration: grade of the calibration. notes: what a reader must know about the numbers.
    """

    hgb_g_per_l: Interval | None
    hct_l_per_l: Interval | None
    rbc_1e12_per_l: Interval | None
    mcv_fl: Interval | None
    mch_pg: Interval | None
    mchc_g_per_l: Interval | None
    reasons: Mapping[str, str]
    estimators: Mapping[str, str]
    calibration: CalibrationGrade
    notes: tuple[str, ...] = ()
    reason_codes: Mapping[str, ValueCode] = field(default_factory=dict)

    def of(self, name: BloodQuantity) -> Interval | None:
        """The interval of one measurand or derived index."""
        value: Interval | None = getattr(self, name)
        return value
