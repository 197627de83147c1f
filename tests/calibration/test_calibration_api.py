"""The public functions of calibration give what `edgehemo calibrate` writes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import edgehemo_calibration
from edgehemo.errors import CalibrationError
from edgehemo.profile import load_profile, new_profile
from edgehemo.simulation.field import Specimen, photograph
from edgehemo.simulation.parameters import SimulationParameters
from edgehemo.simulation.targets import empty_slide, ruled_slide
from edgehemo_calibration.commands.calibrate import calibrate

SCALE = 0.2


def saved(folder: Path, name: str, specimen: Specimen, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    frame = photograph(specimen, parameters=SimulationParameters(), rng=rng).frame
    path = folder / name
    cv2.imwrite(str(path), frame.pixels[..., ::-1])
    return path


@pytest.fixture
def ruled(tmp_path: Path) -> list[Path]:
    """Two pictures of a ruling of 10 um."""
    specimen = ruled_slide(640, 480, SCALE, pitch_um=10.0, angle_deg=20.0, line_um=2.0)
    return [saved(tmp_path, f"ruled_{i}.png", specimen, i) for i in range(2)]


@pytest.fixture
def empty(tmp_path: Path) -> list[Path]:
    """Three pictures of an empty field."""
    return [
        saved(tmp_path, f"empty_{i}.png", empty_slide(640, 480, SCALE), 10 + i) for i in range(3)
    ]


def test_the_scale_is_the_command_s(ruled: list[Path], tmp_path: Path) -> None:
    part = edgehemo_calibration.calibrate_scale(ruled, 10.0)
    assert part.um_per_px == pytest.approx(SCALE, rel=5e-3)
    out = tmp_path / "profile.json"
    arguments = ["scale", *map(str, ruled), "--pitch-um", "10", "--out", str(out)]
    assert CliRunner().invoke(calibrate, arguments).exit_code == 0
    written = load_profile(out).scale
    assert written is not None
    assert written.model_copy(update={"measured_at": part.measured_at}) == part


def test_the_light_is_the_command_s(empty: list[Path], tmp_path: Path) -> None:
    part = edgehemo_calibration.calibrate_illumination(empty)
    out = tmp_path / "profile.json"
    arguments = ["illumination", *map(str, empty), "--camera", "c", "--out", str(out)]
    assert CliRunner().invoke(calibrate, arguments).exit_code == 0
    written = load_profile(out).illumination
    assert written is not None
    assert written.digest() == part.digest()


def test_too_few_pictures_are_refused(empty: list[Path]) -> None:
    profile = new_profile(datetime.now(UTC), software_version="test")
    with pytest.raises(CalibrationError, match="too few"):
        edgehemo_calibration.calibrate_stain(empty[:1])
    with pytest.raises(CalibrationError, match="needs the scale"):
        edgehemo_calibration.calibrate_focus(empty, profile=profile)


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="calibrate_moon"):
        _ = edgehemo_calibration.calibrate_moon


@pytest.mark.real
def test_analyser_pairs_of_real_fields(data_root: Path) -> None:
    """The fit on AneRBC's eight pairs, fields as they are; most pass quality."""
    folder = data_root / "anerbc"
    profile = new_profile(datetime.now(UTC), software_version="test")
    fit = edgehemo_calibration.calibrate_analyser(
        folder / "images", folder / "pairs.csv", profile=profile
    )
    assert fit.calibration.grade == "demonstration"
    assert fit.calibration.samples >= 7
