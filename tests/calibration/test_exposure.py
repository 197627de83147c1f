"""Exposure and colour gains brought to a target level, on cameras of every response."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edgehemo.capture.protocol import CameraSettings, OpenedByContext
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.device.equipment import open_equipment
from edgehemo.errors import CalibrationError, ProfileError, UsageError
from edgehemo.field.illumination import stretched_grid
from edgehemo.images.frame import Frame
from edgehemo.profile.profile import load_profile
from edgehemo.simulation.field import Specimen
from edgehemo.simulation.optics import illumination_surface
from edgehemo.simulation.parameters import OpticsParameters, SensorParameters, SimulationParameters
from edgehemo.simulation.targets import empty_slide, vignette_of
from edgehemo_calibration.commands.calibrate import calibrate
from edgehemo_calibration.exposure import bright_levels, expose
from edgehemo_calibration.flat_field import measure_flat_field

OPTICS = OpticsParameters(vignette=0.3, tilt_x=0.05, tilt_y=-0.06, lamp_rgb=(0.9, 1.0, 0.6))
WIDTH, HEIGHT = 320, 240


class EmptyField(SimulatedMicroscope):
    """The simulated microscope over a slide without blood."""

    def _placed(self) -> Specimen:
        return empty_slide(WIDTH, HEIGHT, 0.2)


def camera(gamma: float = 1.0, exposure_us: float = 2000.0, level: float = 0.7) -> EmptyField:
    parameters = SimulationParameters(
        optics=OPTICS, sensor=SensorParameters(background_level=level, gamma=gamma)
    )
    made = EmptyField(SimulatedOptions(width_px=WIDTH, height_px=HEIGHT), parameters=parameters)
    made.open()
    made.apply(CameraSettings(exposure_us=exposure_us, red_gain=1.0, blue_gain=1.0))
    return made


class UsbCamera(OpenedByContext):
    """A camera without colour gains: exposure only, and a power-law response."""

    name = "usb"

    def __init__(self, brightness: float = 1.0) -> None:
        self.brightness = brightness
        self.settings = CameraSettings(gain=1.0)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def apply(self, settings: CameraSettings) -> CameraSettings:
        self.settings = self.settings.overlaid(settings)
        return self.settings

    def frame(self, deadline_s: float) -> Frame:
        light = np.array([0.8, 1.0, 0.6]) * self.brightness
        linear = light * (self.settings.exposure_us or 5000.0) / 20_000.0
        counts = np.clip(255 * linear ** (1 / 1.8), 0, 255)
        return Frame(np.broadcast_to(np.rint(counts), (48, 64, 3)).astype(np.uint8), "usb")


@pytest.mark.parametrize("gamma", [1.0, 2.2])
@pytest.mark.parametrize("exposure_us", [200.0, 10_000.0, 90_000.0])
def test_the_target_is_reached_from_dark_and_from_clipped(gamma: float, exposure_us: float) -> None:
    result = expose(camera(gamma, exposure_us), 170.0)
    assert result.balanced
    assert all(level == pytest.approx(170.0, rel=0.016) for level in result.levels)
    assert result.settings.blue_gain is not None and result.settings.blue_gain > 1.2


def test_a_camera_without_gains_is_exposed_by_green() -> None:
    usb = UsbCamera()
    result = expose(usb, 150.0)
    assert not result.balanced
    assert result.levels[1] == pytest.approx(150.0, rel=0.016)
    assert result.settings.red_gain is None


@pytest.mark.parametrize(("brightness", "said"), [(1e-3, "too weak"), (5e3, "too strong")])
def test_a_lamp_out_of_range_is_named(brightness: float, said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        expose(UsbCamera(brightness))
    with pytest.raises(CalibrationError, match="target level"):
        expose(UsbCamera(), 20.0)


def test_the_vignette_is_recovered_within_a_percent() -> None:
    with camera() as opened:
        expose(opened)
        frames = [opened.frame(1.0) for _ in range(6)]
        opened.switch_on("dark")
        dark = opened.frame(1.0)
    part = measure_flat_field(frames, [dark])
    found = stretched_grid(part.array() - np.float32(part.dark_level), WIDTH, HEIGHT)
    true = illumination_surface(WIDTH, HEIGHT, OPTICS)
    for channel in range(3):
        ratio = found[..., channel] / true[..., channel]
        assert float(np.abs(ratio / np.median(ratio) - 1).max()) < 0.01
    green: NDArray[Any] = found[..., 1]
    falls = float(green.min() / green.max())
    assert falls == pytest.approx(float(vignette_of(OPTICS, WIDTH, HEIGHT).min()), abs=0.01)


def test_a_grid_is_stretched_straight_to_its_borders() -> None:
    y, x = np.mgrid[0:6, 0:8].astype(np.float32)
    grid = np.repeat((10 + 3 * x - 2 * y)[..., None], 3, axis=2)
    out = stretched_grid(grid, 80, 60)
    rows, columns = np.mgrid[0:60, 0:80]
    plane = 10 + 3 * ((columns + 0.5) / 10 - 0.5) - 2 * ((rows + 0.5) / 10 - 0.5)
    assert np.abs(out[..., 0] - plane).max() < 0.05


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    """``simulated:`` is the microscope over an empty slide."""
    from edgehemo.capture.guard import GuardedCamera

    def opened(spec: str) -> GuardedCamera:
        made = camera()
        made.close()
        return GuardedCamera(made)

    monkeypatch.setattr("edgehemo.capture.open_source", opened)


def test_illumination_from_a_camera(live: None, tmp_path: Path) -> None:
    out = tmp_path / "p.json"

    def run(*arguments: Any) -> Any:
        return CliRunner().invoke(calibrate, [str(a) for a in arguments], standalone_mode=False)

    done = run("illumination", "simulated:", "--target-level", 160, "--frames", 3, "--out", out)
    assert done.exit_code == 0, done.exception
    profile = load_profile(out)
    assert profile.camera == "simulated"
    light = profile.illumination
    assert light is not None and light.settings is not None and light.measured_at is not None
    assert light.frames == 3
    assert light.target_level == pytest.approx(160, rel=0.03)
    assert light.settings.exposure_us is not None and light.settings.blue_gain is not None
    assert datetime.now(UTC) >= light.measured_at
    for wrong, kind in (
        (["simulated:", "a.png"], UsageError),
        (["a.png", "--target-level", 160], UsageError),
        (["simulated:", "--camera", "another"], ProfileError),
    ):
        assert isinstance(run("illumination", *wrong, "--out", out).exception, kind)


def test_a_screening_sets_the_camera_as_its_light_was_measured(
    live: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "p.json"
    CliRunner().invoke(
        calibrate, ["illumination", "simulated:", "--frames", "2", "--out", str(out)]
    )
    equipment = replace(open_equipment(None, None), profile=load_profile(out))
    settings = equipment.camera_settings()
    assert equipment.profile is not None
    assert equipment.profile.illumination is not None
    assert equipment.profile.illumination.settings is not None
    assert settings.exposure_us == equipment.profile.illumination.settings.exposure_us
    section = equipment.device.camera.model_copy(update={"exposure_us": 123.0})
    own = equipment.device.model_copy(update={"camera": section})
    assert replace(equipment, device=own).camera_settings() == replace(settings, exposure_us=123.0)


def test_levels_are_those_of_the_bright_part() -> None:
    pixels = np.full((48, 64, 3), (200, 180, 160), np.uint8)
    pixels[10:30, 10:30] = 20
    assert bright_levels(Frame(pixels, "cells")) == (200.0, 180.0, 160.0)
