"""A calibration holds for pictures and samples like its own, and for no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from edgehemo.estimate.pooling import pool
from edgehemo.estimate.sample import estimate_sample
from edgehemo.estimate.validity import ENVELOPE
from edgehemo.estimate.values import Circumstances, FieldIndices, SampleEstimate
from edgehemo.profile.analyser import (
    Agreement,
    AnalyserCalibration,
    CalibrationPictures,
    EnvelopeRange,
    MeasurandCalibration,
)
from edgehemo.profile.profile import CalibrationProfile, new_profile

WHEN = datetime(2026, 11, 21, tzinfo=UTC)
TAKEN = Circumstances(1224, 960, 0.38, background_tint=0.1, sharpness=3.0)
ALIKE = FieldIndices(
    cell_cover=0.4, cell_od_red=0.05, cell_od_green=0.15, cell_od_blue=0.06, field_od_red=0.02,
    field_od_green=0.06, field_od_blue=0.02, dark_share=0.4, cell_area_um2=44.0, cell_area_cv=0.1,
    rbc_per_mm2=9000.0, area_mm2=0.01, single_cells=50, scale_source="red_cells", taken=TAKEN,
)  # fmt: skip
MIDDLE = {
    "cell_od_red": 0.05, "cell_od_green": 0.15, "cell_od_blue": 0.06, "background_tint": 0.1,
    "sharpness": 3.0, "cell_cover": 0.4,
}  # fmt: skip
PICTURES = CalibrationPictures(
    sizes_px=((1224, 960),),
    um_per_px_low=0.37,
    um_per_px_high=0.39,
    envelope=tuple(
        EnvelopeRange(feature=name, low=0.7 * value, high=1.3 * value)
        for name, value in MIDDLE.items()
    ),
)


def profile(camera: str = "", **changes: Any) -> CalibrationProfile:
    flat = Agreement(
        bias=0, bias_low=0, bias_high=0, sd=0, lower_limit=0, lower_limit_low=0,
        lower_limit_high=0, upper_limit=0, upper_limit_low=0, upper_limit_high=0,
    )  # fmt: skip
    hgb = MeasurandCalibration(
        measurand="hgb_g_per_l", estimator="cover", features=("cell_cover",),
        coefficients=(10.0, 300.0), unscaled_covariance=((0.9, -2.0), (-2.0, 5.0)),
        residual_sd=4.0, prediction_sd=4.0, degrees_of_freedom=18, t95=2.10092,
        feature_low=(0.1,), feature_high=(0.9,), value_low=30, value_high=300, samples=20,
        groups=20, chosen_loo_mae=3, nested_mae=3, nested_rmse=4, mean_only_mae=20,
        agreement=flat, candidates=(),
    )  # fmt: skip
    content: dict[str, Any] = {
        "grade": "calibrated", "made_at": WHEN, "samples": 20, "fields": 60,
        "scale_source": "red_cells", "pictures": PICTURES, "measurands": (hgb,),
    }  # fmt: skip
    made = new_profile(WHEN, software_version="0.1.0", camera=camera)
    return made.model_copy(update={"analyser": AnalyserCalibration(**(content | changes))})


def estimated(*fields: FieldIndices, **changes: Any) -> SampleEstimate:
    return estimate_sample(pool(fields), profile(**changes))


def taken(**changes: Any) -> FieldIndices:
    return replace(ALIKE, taken=replace(TAKEN, **changes))


def code(estimate: SampleEstimate) -> str:
    if estimate.hgb_g_per_l is not None:
        assert "hgb_g_per_l" not in estimate.reason_codes
        return ""
    return estimate.reason_codes["hgb_g_per_l"]


def test_pictures_like_the_calibrations_give_a_number() -> None:
    assert code(estimated(ALIKE)) == ""
    turned = taken(width_px=960, height_px=1224)
    assert code(estimated(ALIKE, turned)) == "", "a quarter turn is no other mode"
    unknown = replace(ALIKE, taken=None)
    assert code(estimated(unknown)) == "", "what is not known is not compared"


@pytest.mark.parametrize("size", [(640, 480), (1224, 961), (2448, 1920)])
def test_pictures_of_another_size_give_none(size: tuple[int, int]) -> None:
    width, height = size
    estimate = estimated(ALIKE, taken(width_px=width, height_px=height))
    assert code(estimate) == "PICTURE_SIZE_OTHER"
    said = estimate.reasons["hgb_g_per_l"]
    assert f"{width}x{height}" in said and "1224x960" in said


@pytest.mark.parametrize(
    ("source", "calibrated", "scale", "wanted"),
    [
        # Read from the cells: within 15 % of what the calibration's samples showed.
        ("red_cells", "red_cells", 0.33, ""),
        ("red_cells", "red_cells", 0.44, ""),
        ("red_cells", "red_cells", 0.08, "SCALE_OTHER"),
        ("red_cells", "red_cells", 0.46, "SCALE_OTHER"),
        ("given", "red_cells", 0.46, "SCALE_OTHER"),
        # Measured on both sides: within 2 %.
        ("given", "profile", 0.395, ""),
        ("given", "profile", 0.41, "SCALE_OTHER"),
        ("profile", "given", 0.355, "SCALE_OTHER"),
    ],
)
def test_the_scale_in_use_is_held_against_the_calibration(
    source: Any, calibrated: str, scale: float, wanted: str
) -> None:
    field = replace(ALIKE, scale_source=source, taken=replace(TAKEN, um_per_px=scale))
    assert code(estimated(field, scale_source=calibrated)) == wanted


@pytest.mark.parametrize(
    ("scale", "wanted"), [(0.2, ""), (0.16, "SCALE_OTHER"), (0.25, "SCALE_OTHER")]
)
def test_so_it_is_where_an_older_profile_holds_its_scale_alone(scale: float, wanted: str) -> None:
    """One picture gave RBC 6.29, 3.95 and 2.28 at three scales typed in over the profile's."""
    from edgehemo.profile.parts import ScaleCalibration

    stored = ScaleCalibration(um_per_px=0.2, relative_uncertainty=0.01, method="given")
    made = profile(scale_source="profile", um_per_px=0.2, pictures=None)
    made = made.model_copy(update={"scale": stored})
    field = replace(ALIKE, scale_source="given", taken=replace(TAKEN, um_per_px=scale))
    estimate = estimate_sample(pool([field]), made)
    assert code(estimate) == wanted
    if not wanted:
        assert any("does not say what its pictures were like" in note for note in estimate.notes)


@pytest.mark.parametrize("name", list(ENVELOPE))
@pytest.mark.parametrize("factor", [0.65, 1.35])
def test_a_sample_unlike_the_calibrations_gives_none(name: str, factor: float) -> None:
    assert set(ENVELOPE) == set(MIDDLE)
    value = factor * MIDDLE[name]
    odd = (
        taken(**{name: value})
        if name in ("background_tint", "sharpness")
        else replace(ALIKE, **{name: value})  # type: ignore[arg-type]  # one field of several types
    )
    estimate = estimated(odd)
    if name == "sharpness" and factor > 1:
        assert code(estimate) == "", "sharper than the calibration's is no fault"
        return
    assert code(estimate) == "SAMPLE_UNLIKE_CALIBRATION"
    assert ENVELOPE[name].label in estimate.reasons["hgb_g_per_l"]
    assert code(estimated(odd, ALIKE, ALIKE)) == "", "one odd field does not make the sample odd"


def test_another_camera_than_the_calibrations_gives_none() -> None:
    pictures = PICTURES.model_copy(update={"camera": "uvc:Eyepiece"})
    assert code(estimated(ALIKE, camera="uvc:Eyepiece", pictures=pictures)) == ""
    assert code(estimated(ALIKE, camera="uvc:Other", pictures=pictures)) == "CAMERA_OTHER"


def test_it_survives_the_file(tmp_path: Any) -> None:
    from edgehemo.profile.profile import load_profile, save_profile

    save_profile(profile(), tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == profile()
