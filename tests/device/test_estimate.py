"""Indices of a field, pooling, the table of estimators, the estimate of a sample."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.anaemia.who_grade import Person, grade
from edgehemo.cells.cell import Cell, CountInterval, FieldCells
from edgehemo.errors import FieldError
from edgehemo.estimate.estimators import ESTIMATORS, estimators_of
from edgehemo.estimate.indices import field_indices
from edgehemo.estimate.output import concentrations
from edgehemo.estimate.pooling import leave_one_field_out, pool
from edgehemo.estimate.sample import estimate_sample
from edgehemo.estimate.values import FieldIndices, SampleIndices
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.field.illumination import Illumination
from edgehemo.files.strict import RecordError
from edgehemo.images.reading import read_frame
from edgehemo.measurands import BLOOD_FACTS, MEASURANDS
from edgehemo.profile.analyser import Agreement, AnalyserCalibration, MeasurandCalibration
from edgehemo.profile.parts import ScaleCalibration
from edgehemo.profile.profile import CalibrationProfile, new_profile
from edgehemo.statistics.interval import Interval
from edgehemo.statistics.student import t95
from edgehemo_export.data.sets import read_set

WHEN = datetime(2026, 11, 21, tzinfo=UTC)
RED_CELL = (0.03, 0.15, 0.06)
NUCLEUS = (0.45, 0.60, 0.20)


def made_field(
    discs: list[tuple[int, int, int, tuple[float, float, float]]],
    size: tuple[int, int] = (480, 360),
    valid: NDArray[np.bool_] | None = None,
    noise: float = 0.0,
) -> CanonicalField:
    """Discs (x, y, radius px, optical density RGB) on a background of transmittance 1."""
    width, height = size
    density = np.zeros((height, width, 3), dtype=np.float32)
    for x, y, radius, colour in discs:
        cv2.circle(density, (x, y), radius, colour, cv2.FILLED)
    transmittance = 10.0 ** (-density)
    if noise:
        transmittance += np.random.default_rng(5).normal(0, noise, density.shape)
    everywhere = np.ones((height, width), dtype=np.bool_)
    inside = everywhere if valid is None else valid
    light = Illumination(
        np.full((4, 4, 3), 200, np.float32), np.ones((4, 4), np.bool_), "estimated", 0.5,
        (200.0, 200.0, 200.0), 0.0,
    )  # fmt: skip
    return CanonicalField(
        transmittance=np.clip(transmittance, 0, 1.275).astype(np.float32),
        valid=inside,
        frame_width=width,
        frame_height=height,
        frame_um_per_px=0.25,
        scale_source="given",
        scale_estimate=None,
        illumination=light,
        source="made",
    )


def grid_of_cells(radius: int = 15, colour: Any = RED_CELL) -> list[Any]:
    return [(x, y, radius, colour) for x in range(30, 460, 60) for y in range(30, 340, 60)]


def share_of(radius: float, count: int, size: tuple[int, int] = (480, 360)) -> float:
    return count * math.pi * radius**2 / (size[0] * size[1])


def test_indices_measure_what_was_drawn() -> None:
    cells = grid_of_cells()
    result = field_indices(made_field(cells, noise=0.01))
    cover = share_of(15, len(cells))
    assert result.cell_cover == pytest.approx(cover, rel=0.04)
    assert result.dark_share == pytest.approx(cover, rel=0.04)
    assert result.cell_od_green == pytest.approx(0.15, rel=0.05)
    assert result.field_od_green == pytest.approx(cover * 0.15, rel=0.04)
    assert result.field_od_blue == pytest.approx(cover * 0.06, rel=0.06)
    assert result.cell_area_um2 == pytest.approx(math.pi * 15**2 / 16, rel=0.05)
    assert result.cell_area_cv is not None and result.cell_area_cv < 0.05
    assert result.single_cells == len(cells)
    assert len(result.single_cell_areas_um2) == len(cells)
    assert result.rbc_per_mm2 is None
    assert result.area_mm2 == pytest.approx(480 * 360 * 0.0625e-6)
    assert result.scale_source == "given"


@pytest.mark.parametrize("stain", [0.5, 1.0, 2.0])
def test_cover_and_size_do_not_hang_on_the_depth_of_the_stain(stain: float) -> None:
    colour = tuple(stain * part for part in RED_CELL)
    result = field_indices(made_field(grid_of_cells(colour=colour), noise=0.01))
    assert result.cell_cover == pytest.approx(share_of(15, 48), rel=0.05)
    assert result.cell_od_green == pytest.approx(stain * 0.15, rel=0.08)


def test_an_empty_field_has_no_cells_and_says_so() -> None:
    result = field_indices(made_field([], noise=0.005))
    assert result.cell_cover < 0.01
    assert abs(result.field_od_green) < 0.002
    assert result.cell_area_um2 is None
    assert result.cell_area_cv is None


def test_a_white_cell_is_left_out_by_its_colour() -> None:
    cells = grid_of_cells()
    without = field_indices(made_field([c for c in cells if c[:2] != (210, 150)]))
    white = [c for c in cells if c[:2] != (210, 150)] + [(210, 150, 20, NUCLEUS)]
    with_white = field_indices(made_field(white))
    assert with_white.cell_od_green == pytest.approx(without.cell_od_green, rel=0.02)
    assert with_white.field_od_green == pytest.approx(without.field_od_green, rel=0.03)
    assert with_white.single_cells == without.single_cells
    assert with_white.area_mm2 < without.area_mm2


def test_boxes_leave_out_what_the_finder_named_and_give_the_count() -> None:
    pale_white = (0.10, 0.20, 0.08)  # no chromatin that a colour rule could see
    cells = [c for c in grid_of_cells() if c[:2] != (210, 150)]
    picture = made_field([*cells, (210, 150, 24, pale_white)])
    found = FieldCells(
        cells=(Cell("wbc", 186, 126, 234, 174, 0.9),),
        counts={"rbc": 47, "wbc": 1, "platelet": 0},
        interior_counts={"rbc": CountInterval(40.0, 30.0, 52.0)},
        interior_area_mm2=0.008,
    )
    alone = field_indices(made_field(cells))
    result = field_indices(picture, found)
    assert result.cell_od_green == pytest.approx(alone.cell_od_green, rel=0.02)
    assert result.rbc_per_mm2 == pytest.approx(5000)
    assert field_indices(picture).cell_od_green > result.cell_od_green


def test_nothing_outside_the_field_stop_counts() -> None:
    valid = np.zeros((360, 480), np.bool_)
    valid[:, :240] = True
    left = [c for c in grid_of_cells() if c[0] < 225]
    dark = [(x, y, r, NUCLEUS) for x, y, r, _ in grid_of_cells() if x > 255]
    result = field_indices(made_field(left + dark, valid=valid))
    assert result.cell_od_green == pytest.approx(0.15, rel=0.05)
    assert result.area_mm2 == pytest.approx(240 * 360 * 0.0625e-6)
    assert result.single_cells == len(left)


def test_pairs_and_cut_cells_are_no_single_cells() -> None:
    pairs = [(100, 100, 15, RED_CELL), (124, 100, 15, RED_CELL), (0, 200, 15, RED_CELL)]
    singles = [(300, y, 15, RED_CELL) for y in range(40, 330, 50)]
    result = field_indices(made_field(pairs + singles))
    assert result.single_cells == len(singles)


def indices(**changes: Any) -> FieldIndices:
    base = FieldIndices(
        cell_cover=0.4, cell_od_red=0.05, cell_od_green=0.15, cell_od_blue=0.06,
        field_od_red=0.02, field_od_green=0.06, field_od_blue=0.024, dark_share=0.39,
        cell_area_um2=44.0, cell_area_cv=0.1, rbc_per_mm2=9000.0, area_mm2=0.01,
        single_cells=50, single_cell_areas_um2=(44.0,) * 50, scale_source="given",
    )  # fmt: skip
    return replace(base, **changes)


def test_pooling_weights_by_area_and_cells() -> None:
    small, large = indices(area_mm2=0.01, cell_cover=0.2), indices(area_mm2=0.03, cell_cover=0.4)
    pooled = pool([small, large])
    assert pooled.mean.cell_cover == pytest.approx(0.35)
    assert pooled.mean.area_mm2 == pytest.approx(0.04)
    few = indices(single_cells=10, cell_area_um2=30.0)
    assert pool([few, indices(single_cells=90, cell_area_um2=50.0)]).mean.cell_area_um2 == 48.0
    # Density of cells: 0.01 x 0.2 against 0.03 x 0.4 mm^2 of cells.
    dark, pale = replace(small, cell_od_green=0.3), replace(large, cell_od_green=0.1)
    assert pool([dark, pale]).mean.cell_od_green == pytest.approx((0.2 * 0.3 + 1.2 * 0.1) / 1.4)


def test_pooling_of_equal_areas_is_the_textbook_interval() -> None:
    values = [0.30, 0.40, 0.35, 0.45]
    pooled = pool([indices(cell_cover=value) for value in values])
    error = float(np.std(values, ddof=1)) / 2
    assert pooled.standard_errors["cell_cover"] == pytest.approx(error)
    interval = pooled.intervals["cell_cover"]
    assert interval.value == pytest.approx(0.375)
    assert interval.high - interval.value == pytest.approx(3.18245 * error, rel=1e-5)


def test_one_field_has_no_interval_and_none_is_an_error() -> None:
    pooled = pool([indices()])
    assert pooled.intervals == {}
    assert leave_one_field_out(pooled) == ()
    with pytest.raises(FieldError, match="no field"):
        pool([])


def test_an_index_that_a_field_lacks_is_pooled_over_the_others() -> None:
    pooled = pool([indices(rbc_per_mm2=None), indices(rbc_per_mm2=8000.0), indices()])
    assert pooled.mean.rbc_per_mm2 == pytest.approx(8500)
    assert "rbc_per_mm2" not in pooled.intervals
    assert pool([indices(cell_area_um2=None)]).mean.cell_area_um2 is None


def test_the_weakest_scale_speaks_for_the_sample_and_model_outputs_are_pooled() -> None:
    pooled = pool(
        [
            indices(scale_source="profile", model={"hgb_g_per_l": 100.0, "only_here": 1.0}),
            indices(scale_source="red_cells", model={"hgb_g_per_l": 140.0}, area_mm2=0.03),
        ]
    )
    assert pooled.mean.scale_source == "red_cells"
    assert pooled.model == {"hgb_g_per_l": pytest.approx(130.0)}


@given(st.lists(st.tuples(st.floats(0.05, 0.9), st.floats(1e-3, 1.0)), min_size=1, max_size=8))
def test_a_pooled_mean_lies_between_the_fields(pairs: list[tuple[float, float]]) -> None:
    pooled = pool([indices(cell_cover=cover, area_mm2=area) for cover, area in pairs])
    covers = [cover for cover, _ in pairs]
    assert min(covers) - 1e-9 <= pooled.mean.cell_cover <= max(covers) + 1e-9
    assert all(item.low <= item.value <= item.high for item in pooled.intervals.values())


@pytest.mark.parametrize("freedom", [1, 2, 5, 30, 31, 60, 1000])
def test_t_quantile_is_scipys(freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=3e-4)


def test_t_quantile_needs_a_degree_of_freedom() -> None:
    with pytest.raises(ValueError, match="degree"):
        t95(0)


def test_every_measurand_has_estimators_of_one_or_two_features() -> None:
    assert len({estimator.name for estimator in ESTIMATORS}) == len(ESTIMATORS)
    for measurand in MEASURANDS:
        assert len(estimators_of(measurand)) >= 3
    for estimator in ESTIMATORS:
        assert 1 <= len(estimator.features) <= 2
        assert all(feature.why for feature in estimator.features)
        values = estimator.values(indices(model={"hgb": 90.0, "hct": 0.3, "rbc": 4.0}))
        assert values is not None and all(math.isfinite(value) for value in values)


def test_estimators_give_nothing_where_a_part_is_missing() -> None:
    bare = indices(rbc_per_mm2=None, cell_area_um2=None)
    for estimator in ESTIMATORS:
        stands_on_less = (
            estimator.needs_finder
            or estimator.needs_network
            or estimator.name == "cover-per-cell-area"
        )
        assert (estimator.values(bare) is None) == stands_on_less


def calibration(measurand: Any, **changes: Any) -> MeasurandCalibration:
    """Value = 10 + 300 x cover for HGB and like lines for the others, exact but for sd 4 %."""
    top = {"hgb_g_per_l": 300.0, "hct_l_per_l": 1.0, "rbc_1e12_per_l": 12.0}[measurand]
    none = Agreement(
        bias=0, bias_low=0, bias_high=0, sd=0, lower_limit=0, lower_limit_low=0,
        lower_limit_high=0, upper_limit=0, upper_limit_low=0, upper_limit_high=0,
    )  # fmt: skip
    content: dict[str, Any] = {
        "measurand": measurand, "estimator": "cover", "features": ("cell_cover",),
        "coefficients": (top / 30, top), "unscaled_covariance": ((0.9, -2.0), (-2.0, 5.0)),
        "residual_sd": top / 75, "prediction_sd": top / 75, "degrees_of_freedom": 18,
        "t95": 2.10092, "feature_low": (0.2,), "feature_high": (0.6,),
        "value_low": top * 0.2, "value_high": top * 0.7, "samples": 20, "groups": 20,
        "chosen_loo_mae": 1, "nested_mae": 1, "nested_rmse": 1, "mean_only_mae": 2,
        "agreement": none, "candidates": (),
    }  # fmt: skip
    return MeasurandCalibration(**(content | changes))


def profile_with(*measurands: MeasurandCalibration, **changes: Any) -> CalibrationProfile:
    scale = ScaleCalibration(um_per_px=0.25, relative_uncertainty=0.01, method="given")
    content: dict[str, Any] = {
        "grade": "calibrated", "made_at": WHEN, "samples": 20, "fields": 60,
        "scale_source": "given", "um_per_px": 0.25,
        "measurands": measurands or tuple(calibration(name) for name in MEASURANDS),
    }  # fmt: skip
    analyser = AnalyserCalibration(**(content | changes))
    return new_profile(WHEN, software_version="0.1.0").model_copy(
        update={"scale": scale, "analyser": analyser}
    )


def sample(*covers: float) -> SampleIndices:
    return pool([indices(cell_cover=cover) for cover in covers])


@pytest.mark.parametrize("profile", [None, new_profile(WHEN, software_version="0.1.0")])
def test_without_a_calibration_there_is_no_number(profile: CalibrationProfile | None) -> None:
    result = estimate_sample(sample(0.4), profile)
    record = concentrations(result)
    for name in ("hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l", "mcv_fl", "mch_pg"):
        assert record[name] is None
        assert "not calibrated" in record["reasons"][name]
        assert record["reason_codes"][name] == "NOT_CALIBRATED"
    assert record["calibration"] == "none"


def test_the_value_is_the_line_and_the_interval_the_formula() -> None:
    result = estimate_sample(sample(0.4), profile_with())
    assert result.hgb_g_per_l is not None
    assert result.hgb_g_per_l.value == pytest.approx(130.0)
    leverage = 0.9 - 2 * 2.0 * 0.4 + 5.0 * 0.16
    reach = 2.10092 * 4.0 * math.sqrt(1 + leverage)
    assert result.hgb_g_per_l.high - 130.0 == pytest.approx(reach)
    assert concentrations(result)["hgb_g_per_l"] == Interval(
        130.0, round(130 - reach, 1), round(130 + reach, 1)
    )


def test_fields_that_disagree_widen_the_interval() -> None:
    profile = profile_with()
    even, apart = sample(0.4, 0.4, 0.4), sample(0.3, 0.4, 0.5)
    narrow = estimate_sample(even, profile).hgb_g_per_l
    wide = estimate_sample(apart, profile).hgb_g_per_l
    assert narrow is not None and wide is not None
    assert wide.value == pytest.approx(narrow.value)
    between = 300 * 0.1 / math.sqrt(3)
    expected = math.hypot(narrow.high - narrow.value, 2.10092 * between)
    assert wide.high - wide.value == pytest.approx(expected, rel=1e-6)


def test_one_field_carries_the_error_that_the_calibration_saw_between_fields() -> None:
    known = profile_with(calibration("hgb_g_per_l", between_field_sd=20.0, fields_per_sample=5))
    one = estimate_sample(sample(0.4), known).hgb_g_per_l
    four = estimate_sample(sample(0.4, 0.4, 0.4, 0.4), known).hgb_g_per_l
    bare = estimate_sample(sample(0.4), profile_with()).hgb_g_per_l
    assert one is not None and four is not None and bare is not None
    assert one.high - one.low > four.high - four.low > bare.high - bare.low


@pytest.mark.parametrize(("cover", "given_out"), [(0.165, True), (0.155, False), (0.65, False)])
def test_nothing_is_extrapolated_beyond_the_margin(cover: float, given_out: bool) -> None:
    line = calibration("hgb_g_per_l", value_low=50.0, value_high=190.0)
    result = estimate_sample(sample(cover), profile_with(line))
    assert (result.hgb_g_per_l is not None) == given_out
    if not given_out:
        assert "outside the range of the calibration" in result.reasons["hgb_g_per_l"]


def test_a_value_outside_the_calibrated_concentrations_is_withheld() -> None:
    line = calibration("hgb_g_per_l", value_low=60.0, value_high=120.0)
    result = estimate_sample(sample(0.45), profile_with(line))
    assert result.hgb_g_per_l is None
    assert "outside the range" in result.reasons["hgb_g_per_l"]


def test_a_calibration_does_not_outlive_its_scale_or_flat_field() -> None:
    profile = profile_with()
    assert estimate_sample(sample(0.4), profile).hgb_g_per_l is not None
    other = ScaleCalibration(um_per_px=0.3, relative_uncertainty=0.01, method="given")
    for changed, code in (
        (profile.model_copy(update={"scale": other}), "SCALE_CHANGED"),
        (profile.model_copy(update={"scale": None}), "SCALE_CHANGED"),
        (profile_with(flat_field_sha256="0" * 64), "FLAT_FIELD_CHANGED"),
    ):
        result = estimate_sample(sample(0.4), changed)
        assert result.hgb_g_per_l is None
        assert "repeat it" in result.reasons["hgb_g_per_l"]
        assert result.reason_codes["hgb_g_per_l"] == code


def test_counting_estimators_need_scale_finder_and_the_same_bundle() -> None:
    count = calibration(
        "rbc_1e12_per_l", estimator="count", features=("rbc_per_mm2",),
        coefficients=(0.5, 5e-4), unscaled_covariance=((0.5, 0.0), (0.0, 0.0)),
        feature_low=(4000.0,), feature_high=(14000.0,), value_low=2.0, value_high=7.0,
    )  # fmt: skip
    profile = profile_with(count, bundle_sha256="a")
    assert estimate_sample(sample(0.4), profile, bundle_sha256="a").rbc_1e12_per_l is not None
    for pooled, bundle, said, code in (
        (sample(0.4), "b", "bundle changed", "BUNDLE_CHANGED"),
        (pool([indices(rbc_per_mm2=None)]), "a", "rbc_per_mm2", "INDEX_MISSING"),
        (pool([indices(scale_source="red_cells")]), "a", "measured scale", "SCALE_NOT_MEASURED"),
    ):
        result = estimate_sample(pooled, profile, bundle_sha256=bundle)
        assert result.rbc_1e12_per_l is None
        assert said in result.reasons["rbc_1e12_per_l"]
        assert result.reason_codes["rbc_1e12_per_l"] == code


def test_an_estimator_of_another_version_is_refused() -> None:
    result = estimate_sample(
        sample(0.4), profile_with(calibration("hgb_g_per_l", estimator="of-tomorrow"))
    )
    assert result.hgb_g_per_l is None
    assert "not known" in result.reasons["hgb_g_per_l"]
    assert "no calibration of HCT" in result.reasons["hct_l_per_l"]


def test_derived_indices_follow_their_parts() -> None:
    result = estimate_sample(sample(0.4), profile_with())
    hgb, hct, rbc = result.hgb_g_per_l, result.hct_l_per_l, result.rbc_1e12_per_l
    assert hgb is not None and hct is not None and rbc is not None
    assert result.mcv_fl is not None and result.mch_pg is not None
    assert result.mchc_g_per_l is not None
    assert result.mcv_fl.value == pytest.approx(1000 * hct.value / rbc.value)
    assert result.mch_pg.value == pytest.approx(hgb.value / rbc.value)
    assert result.mchc_g_per_l.value == pytest.approx(hgb.value / hct.value)
    relative = math.hypot(hct.high / hct.value - 1, rbc.high / rbc.value - 1)
    assert result.mcv_fl.high == pytest.approx(result.mcv_fl.value * math.exp(relative))
    assert result.mcv_fl.low == pytest.approx(result.mcv_fl.value * math.exp(-relative))
    assert any("MCV" in note for note in result.notes), "both parts stand on one index"
    only = estimate_sample(sample(0.4), profile_with(calibration("hgb_g_per_l")))
    assert only.mch_pg is None
    assert only.reasons["mch_pg"] == "needs RBC"
    assert only.reasons["mcv_fl"] == "needs HCT and RBC"
    assert (only.reason_codes["mch_pg"], only.reason_codes["mcv_fl"]) == (
        "PART_MISSING",
        "PARTS_MISSING",
    )
    assert set(only.reason_codes) == set(only.reasons)


def test_a_demonstration_says_so() -> None:
    result = estimate_sample(sample(0.4), profile_with(grade="demonstration", samples=8))
    assert result.calibration == "demonstration"
    assert any("too few to claim accuracy" in note for note in result.notes)


@pytest.mark.real
def test_cover_agrees_with_the_masks_of_anerbc(data_root: Path) -> None:
    differences = []
    for picture in read_set(data_root, "anerbc"):
        result = field_indices(canonical_field(read_frame(picture.path)))
        assert picture.labels.mask is not None
        mask = cv2.imread(str(data_root / picture.labels.mask), cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        # Cells are black in these masks.
        differences.append(result.cell_cover - float(np.mean(mask < 128)))
        assert result.single_cells > 300
    assert float(np.abs(differences).mean()) < 0.03
    assert float(np.abs(differences).max()) < 0.05


ABSURD = (
    1e308, -1e308, 1e-308, 5e-324, 1e200, -1e200, 1e155, 1e154, 1e30, -1e30, 1e15, 1e9, 0.0, -1.0
)  # fmt: skip


def absurd_calibration(rng: np.random.Generator, measurand: Any) -> MeasurandCalibration:
    """A valid calibration of which one to three numbers are absurd, as a file may hold it."""
    content = calibration(measurand).model_dump()
    places = [
        ("prediction_sd",), ("t95",), ("value_low",), ("value_high",), ("between_field_sd",),
        ("coefficients", 0), ("coefficients", 1), ("feature_low", 0), ("feature_high", 0),
        ("unscaled_covariance", 0, 0), ("unscaled_covariance", 0, 1), ("unscaled_covariance", 1, 1),
    ]  # fmt: skip
    for number in rng.permutation(len(places))[: rng.integers(1, 4)]:
        *way, last = places[number]
        inner: Any = content
        for key in way:
            inner = inner[key]
        inner[last] = float(rng.choice(ABSURD))
    return MeasurandCalibration.model_validate(content)


def test_absurd_numbers_of_a_profile_give_no_value_and_no_crash() -> None:
    rng = np.random.default_rng(27)
    person = Person(age_years=30, sex="female")
    valid = beyond = 0
    for _ in range(3000):
        try:
            lines = [absurd_calibration(rng, name) for name in MEASURANDS]
        except RecordError:
            continue  # refused when the file is read
        valid += 1
        result = estimate_sample(sample(0.38, 0.4, 0.41), profile_with(*lines))
        beyond += "VALUE_NOT_A_NUMBER" in result.reason_codes.values()
        record = concentrations(result)
        for name in BLOOD_FACTS:
            value = record[name]
            assert (value is None) == (name in record["reasons"])
            if value is not None:
                assert all(math.isfinite(x) for x in (value.value, value.low, value.high)), lines
        if result.hgb_g_per_l is not None:
            graded = grade(result.hgb_g_per_l, person)
            assert math.isfinite(graded.probability_below_limit)
    assert valid > 300 and beyond > 30, (valid, beyond)
