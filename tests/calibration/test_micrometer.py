"""The scale from pictures of rulings: any direction, blur, noise and uneven light; or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.errors import CalibrationError, UsageError
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.profile.profile import load_profile
from edgehemo.simulation.field import photograph
from edgehemo.simulation.parameters import OpticsParameters, SensorParameters, SimulationParameters
from edgehemo.simulation.targets import empty_slide, ruled_slide
from edgehemo_calibration.commands.calibrate import calibrate
from edgehemo_calibration.micrometer import combined, read_micrometer
from tests.support.smears import set_files

ROUGH = SimulationParameters(
    optics=OpticsParameters(vignette=0.35, tilt_x=0.08, defocus_um=0.6, lamp_rgb=(1.0, 0.9, 0.7)),
    sensor=SensorParameters(full_well_e=1500.0),
)


def picture(um_per_px: float, parameters: SimulationParameters = ROUGH, **ruling: Any) -> Frame:
    drawn = ruled_slide(360, 270, um_per_px, **{"pitch_um": 10.0, **ruling})
    rng = np.random.default_rng(7)
    return photograph(drawn, parameters=parameters, rng=rng, source="ruling").frame


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(calibrate, [str(a) for a in arguments], standalone_mode=False)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    angle=st.floats(0, 180),
    spacing_px=st.floats(10, 45),
    offset=st.floats(0, 1),
    grid=st.booleans(),
)
def test_spacing_is_found_in_every_direction(
    angle: float, spacing_px: float, offset: float, grid: bool
) -> None:
    um_per_px = 10.0 / spacing_px
    frame = picture(um_per_px, angle_deg=angle, offset_um=10 * offset, grid=grid)
    reading = read_micrometer(frame, 10.0)
    assert reading.um_per_px == pytest.approx(um_per_px, rel=0.003)
    assert abs(reading.um_per_px / um_per_px - 1) < 3 * reading.relative_uncertainty
    assert reading.is_grid == grid
    turned = (reading.rulings[0].angle_deg - angle + 45) % 90 - 45
    assert abs(turned) < 0.3 or not grid
    if not grid:
        assert abs((reading.rulings[0].angle_deg - angle + 90) % 180 - 90) < 0.3


@pytest.mark.parametrize(
    "ruling",
    [
        {"line_length_um": 30.0, "long_every": 5},
        {"line_um": 0.6, "line_transmittance": 0.75},
        {"line_um": 5.0},
        {"grid": True, "line_um": 4.0},
    ],
    ids=["short lines, every fifth longer", "thin and pale", "as wide as the gaps", "thick grid"],
)
def test_rulings_of_every_make(ruling: dict[str, Any]) -> None:
    reading = read_micrometer(picture(0.4, angle_deg=33.0, **ruling), 10.0)
    assert reading.um_per_px == pytest.approx(0.4, rel=0.005)


def test_bright_lines_on_a_dark_ground() -> None:
    frame = picture(0.4, angle_deg=12.0)
    reading = read_micrometer(Frame(255 - frame.pixels, "negative"), 10.0)
    assert reading.um_per_px == pytest.approx(0.4, rel=0.003)


def test_missing_and_surplus_lines_do_not_matter() -> None:
    pixels = picture(0.25, angle_deg=0.0).pixels.copy()
    pixels[:, 118:150] = pixels[:, 100:132].mean()
    pixels[:, 251:253] = 40
    reading = read_micrometer(Frame(pixels, "dusty"), 10.0)
    assert reading.um_per_px == pytest.approx(0.25, rel=0.005)


def test_what_is_no_ruling_is_refused() -> None:
    rng = np.random.default_rng(1)
    noise = np.clip(rng.normal(180, 20, (300, 400, 3)), 0, 255).astype(np.uint8)
    empty = photograph(empty_slide(400, 300, 0.4), parameters=ROUGH, rng=rng).frame
    for frame in (Frame(noise, "noise"), empty, Frame(np.full_like(noise, 90), "flat")):
        with pytest.raises(CalibrationError, match="no evenly spaced lines"):
            read_micrometer(frame, 10.0)
    with pytest.raises(CalibrationError, match="no evenly spaced lines"):
        read_micrometer(picture(0.05, pitch_um=10.0), 10.0)  # two lines in the picture
    with pytest.raises(CalibrationError, match="check the distance"):
        read_micrometer(picture(0.4), 1000.0)
    with pytest.raises(CalibrationError, match="above 0"):
        read_micrometer(picture(0.4), 0.0)
    with pytest.raises(CalibrationError, match="too small"):
        read_micrometer(Frame(np.zeros((40, 400, 3), np.uint8), "strip"), 10.0)


def test_a_grid_squeezed_one_way_is_refused() -> None:
    import cv2

    pixels = picture(0.3, grid=True).pixels
    squeezed = np.asarray(cv2.resize(pixels, (400, 285), interpolation=cv2.INTER_AREA), np.uint8)
    with pytest.raises(CalibrationError, match="the other"):
        read_micrometer(Frame(squeezed, "squeezed"), 10.0)


def test_pictures_must_agree() -> None:
    first, second = (read_micrometer(picture(um), 10.0) for um in (0.400, 0.401))
    both = combined([first, second], ["a", "b"])
    assert both.um_per_px == pytest.approx(0.4005, rel=0.002)
    assert both.relative_uncertainty >= first.relative_uncertainty
    third = read_micrometer(picture(0.43), 10.0)
    with pytest.raises(CalibrationError, match=r"c 0\.4"):
        combined([first, second, third], ["a", "b", "c"])
    smaller = replace(first, frame_px=(180, 135))
    with pytest.raises(CalibrationError, match=r"different sizes \(180x135, 360x270 px\)"):
        combined([first, smaller], ["a", "b"])


@pytest.mark.real
def test_real_smears_are_no_ruling(data_root: Path) -> None:
    smears = set_files(data_root, "bccd")[:6]
    for path in smears:
        with pytest.raises(CalibrationError, match="no evenly spaced lines"):
            read_micrometer(read_frame(path), 10.0)


def test_the_command_writes_the_scale(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for number, angle in enumerate((0.0, 90.0)):
        frame = picture(0.4, angle_deg=angle)
        write_image(tmp_path / "ruling" / f"{number}.png", frame.pixels)
    out = tmp_path / "p.json"
    result = run("scale", tmp_path / "ruling", "--pitch-um", 10, "--out", out, "--json", "-")
    assert result.exit_code == 0, result.exception
    scale = load_profile(out).scale
    assert scale is not None
    assert scale.um_per_px == pytest.approx(0.4, rel=0.003)
    assert scale.method == "stage micrometer, found"
    assert scale.lines >= 20
    assert scale.measured_at is not None
    record = json.loads(result.stdout)
    assert [len(image["rulings"]) for image in record["images"]] == [1, 1]
    for wrong in (
        ["scale", tmp_path / "ruling"],
        ["scale", "--pitch-um", 10],
        ["scale", tmp_path / "ruling", "--pitch-um", 10, "--um-per-px", 0.4],
    ):
        assert isinstance(run(*wrong, "--out", out).exception, UsageError)
