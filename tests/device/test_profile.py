"""The calibration profile: what it accepts, refuses, keeps."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.errors import ProfileError
from edgehemo.files.atomic import sha256_of_file
from edgehemo.profile.parts import FocusReference, IlluminationCalibration, ScaleCalibration
from edgehemo.profile.profile import (
    CalibrationProfile,
    load_profile,
    new_profile,
    previous_path,
    save_profile,
)

WHEN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def full_profile() -> CalibrationProfile:
    grid = [[(200.0 - r, 190.5, 180.0 + c) for c in range(4)] for r in range(3)]
    return new_profile(WHEN, software_version="0.1.0", microscope="No 7").model_copy(
        update={
            "scale": ScaleCalibration(um_per_px=0.2, relative_uncertainty=0.01, method="given"),
            "illumination": IlluminationCalibration(flat_field=grid, target_level=190.5),
        }
    )


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_round_trip_keeps_everything_and_the_digest(tmp_path: Path) -> None:
    profile = full_profile()
    save_profile(profile, tmp_path / "p.json")
    again = load_profile(tmp_path / "p.json")
    assert again == profile
    assert again.digest() == profile.digest()
    assert json.loads((tmp_path / "p.json").read_text())["schema"] == "edgehemo.profile/1"


def test_digest_follows_the_content_not_the_layout(tmp_path: Path) -> None:
    profile = full_profile()
    path = tmp_path / "p.json"
    path.write_text(json.dumps(profile.model_dump()), encoding="utf-8")
    assert load_profile(path).digest() == profile.digest()
    other = profile.model_copy(update={"camera": "HQ"})
    assert other.digest() != profile.digest()


def test_flat_field_array_is_rgb_counts_by_rows_and_columns() -> None:
    array = full_profile().flat_field_array()
    assert array is not None
    assert array.shape == (3, 4, 3)
    assert array.dtype == np.float32
    assert tuple(array[2, 3]) == (198.0, 190.5, 183.0)
    assert new_profile(WHEN, software_version="0.1.0").flat_field_array() is None


def test_all_problems_come_in_one_line(tmp_path: Path) -> None:
    content = full_profile().model_dump()
    content["scale"]["um_per_px"] = "0.2"
    content["illumination"]["flat_field"] = [[[1, 2, 3]]]
    content["unheard_of"] = 1
    del content["software_version"]
    with pytest.raises(ProfileError) as caught:
        load_profile(written(tmp_path / "p.json", content))
    message = str(caught.value)
    for part in ("scale.um_per_px", "illumination.flat_field", "unheard_of", "software_version"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"schema": "edgehemo.bundle/1"}', "not a calibration profile"),
        ('{"schema": "edgehemo.profile/2"}', "update edgehemo"),
        ('{"schema": "edgehemo.profile/1", "created_at": NaN}', "NaN"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=said) as caught:
        load_profile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no such profile"):
        load_profile(tmp_path / "none.json")
    (tmp_path / "p.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="not UTF-8 text"):
        load_profile(tmp_path / "p.json")
    with pytest.raises(ProfileError, match="cannot be read"):
        load_profile(tmp_path)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("scale", "um_per_px", 0.01),
        ("scale", "um_per_px", True),
        ("scale", "relative_uncertainty", -0.1),
        ("scale", "method", ""),
        ("illumination", "target_level", 300),
        ("illumination", "frames", 0),
        ("illumination", "flat_field", [[[1, 1, 1], [1, 1, 1]], [[1, 1, 1]]]),
        ("illumination", "flat_field", [[[1, 1, 1], [1, 1, 0]], [[1, 1, 1], [1, 1, 1]]]),
    ],
)
def test_values_outside_their_range_are_refused(
    tmp_path: Path, part: str, key: str, value: Any
) -> None:
    content = full_profile().model_dump()
    content[part][key] = value
    with pytest.raises(ProfileError, match=f"{part}.{key}"):
        load_profile(written(tmp_path / "p.json", content))


def test_a_time_without_zone_is_refused(tmp_path: Path) -> None:
    content = full_profile().model_dump()
    content["created_at"] = "2026-11-21T12:00:00"
    with pytest.raises(ProfileError, match="created_at"):
        load_profile(written(tmp_path / "p.json", content))


def test_saving_keeps_the_last_good_one(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    first, second = full_profile(), full_profile().model_copy(update={"camera": "second"})
    save_profile(first, path)
    save_profile(second, path)
    assert load_profile(previous_path(path)) == first
    path.write_text("damaged", encoding="utf-8")
    with pytest.raises(ProfileError, match=r"the last good one is .*p\.json\.previous"):
        load_profile(path)
    save_profile(second, path)
    assert load_profile(previous_path(path)) == first, "a damaged one replaced the last good one"
    assert load_profile(path) == second


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProfileError, match="cannot be written"):
        save_profile(full_profile(), tmp_path / "file" / "p.json")


@settings(max_examples=60, deadline=None)
@given(
    content=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["schema", "scale", "stain", "analyser", "created_at", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_profile_or_a_profile_error(
    content: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if isinstance(content, dict):
        content["schema"] = "edgehemo.profile/1"
    path = written(tmp_path_factory.getbasetemp() / "any.json", content)
    with pytest.raises(ProfileError):
        load_profile(path)


# A profile with every part, numbers written as people and other programs write them: dates with
# and without an offset, whole numbers for floats.
SPREAD = {
    "quantity": "hgb_index",
    "mean": 1,
    "sd": 0.01,
    "sd_low": 0.005,
    "sd_high": 0.02,
    "runs": 12,
}
LINE = {"slope": 1, "intercept": -0.5, "slope_low": 0.9, "slope_high": None}
EVERY_PART: dict[str, Any] = {
    "schema": "edgehemo.profile/1",
    "microscope": "No 7, \u00b5m",
    "camera": "uvc:HD camera",
    "created_at": "2026-11-21T12:00:00.25+05:30",
    "revision": 3,
    "software_version": "0.1.0",
    "scale": {
        "um_per_px": 0.2,
        "relative_uncertainty": 0,
        "method": "stage micrometer, found",
        "lines": 12,
        "frame_px": [640, 480],
        "measured_at": "2026-11-20T08:00:00Z",
    },
    "illumination": {
        "flat_field": [[[200, 199.5, 1e2], [1, 2, 3]], [[4, 5, 6], [7, 8, 255]]],
        "target_level": 200,
        "settings": {"exposure_us": 5000, "gain": 0},
    },
    "stain": {
        "background_rgb": [220, 221.5, 222],
        "background_rgb_sd": [0, 1, 2.5],
        "cell_od": [0.1, 0.2, -0.01],
        "cell_od_sd": [0.01, 0.02, 0.03],
        "fields": 10,
    },
    "focus": {"sharp_reference": 12, "measure": "edge width"},
    "analyser": {
        "grade": "demonstration",
        "made_at": "2026-11-21T10:00:00+00:00",
        "samples": 3,
        "fields": 9,
        "scale_source": "profile",
        "um_per_px": 0.2,
        "measurands": [
            {
                "measurand": "hgb_g_per_l",
                "estimator": "absorbance",
                "features": ["hgb_index"],
                "coefficients": [0, 1000],
                "unscaled_covariance": [[1, 0.5], [0.5, 2]],
                "residual_sd": 3,
                "prediction_sd": 4.5,
                "degrees_of_freedom": 1,
                "t95": 12.706,
                "feature_low": [0.01],
                "feature_high": [0.2],
                "value_low": 60,
                "value_high": 160,
                "samples": 3,
                "groups": 3,
                "chosen_loo_mae": 4,
                "nested_mae": 5,
                "nested_rmse": 6,
                "nested_pcc": None,
                "mean_only_mae": 30,
                "agreement": {
                    "bias": 0,
                    "bias_low": -1,
                    "bias_high": 1,
                    "sd": 3,
                    "lower_limit": -6,
                    "lower_limit_low": -8,
                    "lower_limit_high": -4,
                    "upper_limit": 6,
                    "upper_limit_low": 4,
                    "upper_limit_high": 8,
                },
                "deming": LINE,
                "candidates": [
                    {"estimator": "absorbance", "features": ["hgb_index"], "loo_mae": 4},
                    {"estimator": "network", "features": [], "reason": "no network"},
                ],
            }
        ],
    },
    "repeatability": {
        "measured_at": "2026-11-21T09:00:00Z",
        "fields": 12,
        "spreads": [SPREAD],
    },
    "controls": [
        {
            "name": "slide A",
            "established_at": "2026-11-21T11:00:00Z",
            "grade": "provisional",
            "targets": [SPREAD],
        }
    ],
}


def test_problems_in_lists_are_all_told(tmp_path: Path) -> None:
    content = copy.deepcopy(EVERY_PART)
    content["controls"] = [SPREAD, {**content["controls"][0], "targets": []}]
    content["repeatability"]["spreads"] = [{**SPREAD, "runs": 2}, {**SPREAD, "sd": -1}]
    content["analyser"]["measurands"][0] |= {"feature_low": [0.3, 1], "value_low": 200}
    with pytest.raises(ProfileError) as caught:
        load_profile(written(tmp_path / "p.json", content))
    for place in (
        "controls[0].grade: is missing",
        "controls[0].mean: is not a known key",
        "controls[1].targets: ",
        "repeatability.spreads[0].runs: ",
        "repeatability.spreads[1].sd: ",
        "analyser.measurands[0].feature_low: has 2 entries, needs 1",
        "analyser.measurands[0].value_low: is above value_high",
    ):
        assert place in str(caught.value)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400])
def test_numbers_without_end_are_refused(tmp_path: Path, number: str) -> None:
    text = json.dumps(EVERY_PART).replace('"bias": 0,', f'"bias": {number},')
    assert number in text
    (tmp_path / "p.json").write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=r"analyser\.measurands\[0\]\.agreement\.bias"):
        load_profile(tmp_path / "p.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": WHEN.replace(tzinfo=None)},
        {"focus": FocusReference(sharp_reference=float("nan"), measure="edge width")},
        {"scale": ScaleCalibration(um_per_px=3.0, relative_uncertainty=0.1, method="given")},
    ],
)
def test_what_would_not_be_read_again_is_not_written(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    save_profile(full_profile(), tmp_path / "p.json")
    with pytest.raises(ProfileError, match=f"not written.*{next(iter(changes))}"):
        save_profile(full_profile().model_copy(update=changes), tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == full_profile()


def test_digests_of_profiles_that_exist_do_not_change(tmp_path: Path) -> None:
    # Every stored result names its profile by this digest.
    shipped = files("edgehemo.data") / "simulated-profile.json"
    with as_file(shipped) as path:
        shipped_now = load_profile(path)
        assert shipped_now.analyser is not None
        # What it has gained since is in no profile of before.
        bare = shipped_now.analyser.model_copy(update={"pictures": None})
        assert shipped_now.model_copy(update={"analyser": bare}).digest() == (
            "84a6609d911038d848f821d44714328a457b3e156ce8d268cc0b83488c04ec11"
        )
    profile = load_profile(written(tmp_path / "p.json", EVERY_PART))
    assert profile.digest() == ("506f5938e76421509778a3ff502fd06a5cabf31a5f1785be9e657e01f6223282")
    save_profile(profile, tmp_path / "q.json")
    assert load_profile(tmp_path / "q.json") == profile
    assert sha256_of_file(tmp_path / "q.json") == (
        "7653ef33ab79c8ff2155f8c9d5b1854bdeeec965b4de71d5b36430db7af1600e"
    )
