"""The calibration profile: what it accepts, refuses, keeps."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.errors import ProfileError
from edgehemo.profile.parts import IlluminationCalibration, ScaleCalibration
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
    path.write_text(json.dumps(profile.as_json()), encoding="utf-8")
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
    content = full_profile().as_json()
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
    content = full_profile().as_json()
    content[part][key] = value
    with pytest.raises(ProfileError, match=f"{part}.{key}"):
        load_profile(written(tmp_path / "p.json", content))


def test_a_time_without_zone_is_refused(tmp_path: Path) -> None:
    content = full_profile().as_json()
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
