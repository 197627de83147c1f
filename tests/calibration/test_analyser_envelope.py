"""What a calibration keeps of its pictures, and that another microscope's are told from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import edgehemo
from edgehemo.estimate.pooling import pool
from edgehemo.estimate.validity import ENVELOPE
from edgehemo.estimate.values import Circumstances, SampleIndices
from edgehemo.profile.profile import load_profile
from edgehemo_calibration.analyser.envelope import (
    HELD_SHARE,
    calibration_pictures,
    held_range,
    student_quantile,
)
from edgehemo_calibration.commands.calibrate import calibrate
from tests.support.analyser_samples import indices

WHEN = datetime(2026, 11, 21, tzinfo=UTC)


def sample(rng: np.random.Generator) -> SampleIndices:
    taken = Circumstances(
        1280, 960, 0.2, background_tint=rng.normal(0.1, 0.05), sharpness=rng.normal(3.0, 0.5)
    )
    field = indices(rng.normal(0.4, 0.1), 0.3, rng.normal(0.15, 0.03))
    return pool([replace(field, taken=taken)])


@pytest.mark.parametrize("freedom", [2, 3, 6, 7, 19, 39, 200])
def test_the_quantile_is_students(freedom: int) -> None:
    expected = stats.t.ppf((1 + HELD_SHARE) / 2, freedom)
    assert student_quantile(HELD_SHARE, freedom) == pytest.approx(expected, rel=2e-3)


def test_sizes_scales_and_ranges_are_kept() -> None:
    rng = np.random.default_rng(1)
    samples = [sample(rng) for _ in range(20)]
    pictures = calibration_pictures(samples, camera="HQ")
    assert pictures is not None
    assert pictures.sizes_px == ((1280, 960),) and pictures.camera == "HQ"
    assert pictures.um_per_px_low == pictures.um_per_px_high == 0.2
    assert len(pictures.envelope) == 6
    bare = [pool([indices(0.4, 0.3)])] * 4
    assert calibration_pictures(bare) is None


@pytest.mark.parametrize("count", [8, 20, 40])
def test_few_samples_like_the_calibrations_fall_outside(count: int) -> None:
    """At most 3 % of false refusals over all features together."""
    rng = np.random.default_rng(count)
    outside = total = 0
    for _ in range(60):
        pictures = calibration_pictures([sample(rng) for _ in range(count)])
        assert pictures is not None
        ranges = {item.feature: item for item in pictures.envelope}
        for _ in range(20):
            new = sample(rng)
            taken = new.fields[0].taken
            assert taken is not None and taken.background_tint is not None
            values = {
                "cell_od_green": new.mean.cell_od_green, "cell_cover": new.mean.cell_cover,
                "background_tint": taken.background_tint, "sharpness": taken.sharpness,
            }  # fmt: skip
            total += 1
            outside += any(
                not ENVELOPE[name].holds(value or 0.0, ranges[name].low, ranges[name].high)
                for name, value in values.items()
            )
    assert outside / total <= 0.03


def test_samples_that_are_all_alike_leave_room() -> None:
    low, high = held_range([0.15] * 10, 0.01)
    assert low < 0.12 and high > 0.18


@pytest.mark.real
def test_a_profile_of_one_microscope_gives_nothing_on_another(
    data_root: Path, tmp_path: Path
) -> None:
    """Fitted on 1224x960 px of 0.38 um/px, tried on 640x480 px of 0.08 um/px."""
    from click.testing import CliRunner

    out = tmp_path / "p.json"
    root = data_root / "anerbc"
    arguments = ["analyser", "--images", root / "images", "--pairs", root / "pairs.csv"]
    done = CliRunner().invoke(
        calibrate, [*map(str, arguments), "--out", str(out)], standalone_mode=False
    )
    assert done.exit_code == 0, done.exception
    made = load_profile(out).analyser
    assert made is not None and made.pictures is not None
    assert made.pictures.sizes_px == ((1224, 960),)
    assert 0.33 < made.pictures.um_per_px_low < made.pictures.um_per_px_high < 0.43

    woman = edgehemo.Person(age_years=30, sex="female")
    own = edgehemo.screen(root / "images" / "001_a.png", profile=out, person=woman).reading
    assert own.estimate is not None and own.estimate.hgb_g_per_l is not None
    other = sorted((data_root / "bccd" / "images").iterdir())[:4]
    read = edgehemo.screen(other, profile=out, person=woman).reading
    assert read.indices is not None, "the pictures are good; only the calibration is another's"
    assert read.estimate is not None and read.anaemia is None
    for name in ("hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l"):
        assert read.estimate.of(name) is None
        assert read.estimate.reason_codes[name] == "PICTURE_SIZE_OTHER"
