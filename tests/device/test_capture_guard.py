"""The watched camera: dark and frozen pictures, reopening, and the settings that survive it."""

from __future__ import annotations

import numpy as np
import pytest

from edgehemo.capture.guard import DARK_LEVEL, FAULT_NOTICED_S, GuardedCamera, is_dark, is_repeat
from edgehemo.capture.protocol import (
    Camera,
    CameraSettings,
    OpenedByContext,
    capture_error,
    refused_settings,
)
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.errors import CaptureError, UsageError
from edgehemo.images.frame import Frame

SMALL = SimulatedOptions(width_px=96, height_px=72, fields=4)


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class ScriptedCamera(OpenedByContext):
    """Answers each call of `frame` with the next item: a grey level, or an error code."""

    def __init__(self, *script: int | str, clock: Clock) -> None:
        self.script = list(script)
        self.clock = clock
        self.opened = 0
        self.applied: list[CameraSettings] = []
        self.deadlines: list[float] = []
        self.refuse_settings = False
        self.absent = False
        self.takes_s = 0.0

    @property
    def name(self) -> str:
        return "scripted"

    def open(self) -> None:
        if self.absent:
            raise capture_error("CAMERA_NOT_FOUND", "scripted: there is no such camera")
        self.opened += 1

    def close(self) -> None:
        pass

    def apply(self, settings: CameraSettings) -> CameraSettings:
        if self.refuse_settings:
            raise capture_error("CAMERA_SETTING_REFUSED", "scripted: gain cannot be set")
        self.applied.append(settings)
        return settings

    def frame(self, deadline_s: float) -> Frame:
        self.deadlines.append(deadline_s)
        item = self.script.pop(0)
        self.clock.sleep(self.takes_s)
        if item == "CAMERA_TIMEOUT":
            self.clock.sleep(deadline_s)
        if isinstance(item, str):
            raise capture_error(item, f"scripted: {item}")  # type: ignore[arg-type]
        return Frame(np.full((16, 16, 3), item, dtype=np.uint8), "scripted")


def guarded(*script: int | str) -> tuple[GuardedCamera, ScriptedCamera, Clock]:
    clock = Clock()
    camera = ScriptedCamera(*script, clock=clock)
    guard = GuardedCamera(camera, clock=clock, sleep=clock.sleep)
    guard.open()
    return guard, camera, clock


def simulated() -> tuple[GuardedCamera, SimulatedMicroscope]:
    clock = Clock()
    microscope = SimulatedMicroscope(SMALL, sleep=clock.sleep)
    return GuardedCamera(microscope, clock=clock, sleep=clock.sleep), microscope


def test_both_are_cameras() -> None:
    guard, camera, _ = guarded()
    assert isinstance(guard, Camera)
    assert isinstance(camera, Camera)


def test_healthy_frames_pass() -> None:
    guard, camera, clock = guarded(100, 101, 102)
    assert guard.frame(3).pixels[0, 0, 0] == 101  # the first is compared with, not handed out
    assert guard.frame(3).pixels[0, 0, 0] == 102
    assert (camera.opened, clock.now) == (1, 0.0)


def test_a_first_frame_that_took_all_of_the_time_leaves_the_next_its_own() -> None:
    """A slow processor: the frame that is only compared with must not use up the other's time."""
    guard, camera, _ = guarded(100, 101)
    camera.takes_s = FAULT_NOTICED_S
    assert guard.frame(3 * FAULT_NOTICED_S).pixels[0, 0, 0] == 101
    assert camera.deadlines == [FAULT_NOTICED_S, FAULT_NOTICED_S]


def test_darkness_is_the_lamps_fault_and_not_cured_by_reopening() -> None:
    guard, camera, _ = guarded(100, 101, 3)
    guard.frame(3)
    with pytest.raises(CaptureError, match="dark") as caught:
        guard.frame(3)
    assert caught.value.code == "CAMERA_DARK"
    assert "lamp" in caught.value.action
    assert camera.opened == 1


def test_a_frozen_picture_is_reopened_and_then_named() -> None:
    guard, camera, _ = guarded(*[100] * 20)
    with pytest.raises(CaptureError) as caught:
        guard.frame(9)
    assert caught.value.code == "CAMERA_FROZEN"
    assert camera.opened == 3


def test_one_repeat_is_looked_at_again() -> None:
    guard, camera, _ = guarded(100, 100, 101)
    assert guard.frame(3).pixels[0, 0, 0] == 101
    assert camera.opened == 1


def test_a_clipped_picture_is_not_frozen() -> None:
    guard, camera, _ = guarded(255, 255, 255)
    assert guard.frame(3).pixels.min() == 255
    assert guard.frame(3).pixels.min() == 255
    assert camera.opened == 1


@pytest.mark.parametrize("code", ["CAMERA_TIMEOUT", "CAMERA_UNPLUGGED"])
def test_a_lost_camera_is_reopened_with_its_settings(code: str) -> None:
    guard, camera, clock = guarded(100, 101, code, 102)
    guard.apply(CameraSettings(exposure_us=5000, gain=2))
    guard.apply(CameraSettings(gain=1))
    guard.frame(9)
    assert guard.frame(9).pixels[0, 0, 0] == 102
    assert camera.opened == 2
    assert camera.applied[-1] == CameraSettings(exposure_us=5000, gain=1)
    assert guard.reopened == 1
    assert clock.now <= 9


def test_the_deadline_bounds_all_tries_together() -> None:
    guard, camera, clock = guarded(*["CAMERA_TIMEOUT"] * 9)
    with pytest.raises(CaptureError) as caught:
        guard.frame(6)
    assert caught.value.code == "CAMERA_TIMEOUT"
    assert clock.now <= 6 + 1e-9
    assert camera.deadlines[0] == pytest.approx(2)
    assert camera.opened == 3


def test_a_fault_is_told_within_three_seconds_and_before_reopening() -> None:
    guard, camera, clock = guarded(100, 101, "CAMERA_TIMEOUT", 102, 103)
    told: list[tuple[str, float, int]] = []
    guard.on_fault = lambda error: told.append((error.code, clock.now, camera.opened))
    guard.frame(10)
    assert told == []
    guard.frame(10)
    assert told == [("CAMERA_TIMEOUT", FAULT_NOTICED_S, 1)]
    assert FAULT_NOTICED_S <= 3.0
    assert camera.opened == 2


def test_after_giving_up_the_next_call_starts_by_reopening() -> None:
    guard, camera, _ = guarded(*["CAMERA_UNPLUGGED"] * 3, 100, 101)
    with pytest.raises(CaptureError):
        guard.frame(6)
    opened = camera.opened
    assert guard.frame(6).pixels[0, 0, 0] == 101
    assert camera.opened == opened + 1


def test_unplugged_for_good_names_the_first_fault() -> None:
    guard, camera, _ = guarded("CAMERA_UNPLUGGED")
    camera.absent = True
    with pytest.raises(CaptureError) as caught:
        guard.frame(6)
    assert caught.value.code == "CAMERA_UNPLUGGED"


def test_no_frame_is_handed_out_with_settings_that_were_lost() -> None:
    guard, camera, _ = guarded("CAMERA_TIMEOUT", 100, 101)
    guard.apply(CameraSettings(gain=2))
    camera.refuse_settings = True
    for _ in range(2):
        with pytest.raises(CaptureError) as caught:
            guard.frame(6)
        assert caught.value.code in ("CAMERA_SETTING_REFUSED", "CAMERA_TIMEOUT")
    assert len(camera.deadlines) == 1
    camera.refuse_settings = False
    assert guard.frame(6).pixels[0, 0, 0] == 101


@pytest.mark.parametrize("level", [0, DARK_LEVEL - 1, DARK_LEVEL, 255])
def test_dark_is_below_the_limit(level: int) -> None:
    assert is_dark(np.full((20, 20, 3), level, dtype=np.uint8)) == (level < DARK_LEVEL)


def test_a_dark_nucleus_does_not_make_a_frame_dark() -> None:
    pixels = np.zeros((100, 100, 3), dtype=np.uint8)
    pixels[:40, :40] = 180
    assert not is_dark(pixels)


def test_frames_of_different_size_are_no_repeat() -> None:
    assert not is_repeat(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8))


def test_simulated_faults_are_all_told_apart() -> None:
    for fault in ("dark", "frozen", "timeout"):
        guard, microscope = simulated()
        with guard:
            guard.frame(5)
            microscope.switch_on(fault)
            with pytest.raises(CaptureError) as caught:
                guard.frame(5)
            assert caught.value.code == f"CAMERA_{fault.upper()}"
            microscope.switch_off(fault)
            assert guard.frame(5).pixels.shape == (72, 96, 3)


def test_a_simulated_hiccup_is_cured() -> None:
    for fault in ("timeout", "unplugged", "frozen"):
        guard, microscope = simulated()
        with guard:
            guard.apply(CameraSettings(exposure_us=9000))
            guard.frame(6)
            microscope.switch_on(fault, frames=1)
            frame = guard.frame(6)
            assert frame.metadata["exposure_us"] == 9000


def test_a_frozen_picture_shows_when_the_stage_moves() -> None:
    guard, microscope = simulated()
    with guard:
        guard.frame(5)
        microscope.switch_on("frozen")
        assert guard.move_to_next_field()
        with pytest.raises(CaptureError) as caught:
            guard.frame(5)
        assert caught.value.code == "CAMERA_FROZEN"


def test_the_stage_ends_where_the_slide_does() -> None:
    guard, _ = simulated()
    with guard:
        assert [guard.move_to_next_field() for _ in range(4)] == [True, True, True, False]
    plain, _, _ = guarded()
    assert not plain.has_stage
    assert not plain.move_to_next_field()


def test_settings_tell_all_problems_at_once() -> None:
    settings = CameraSettings(exposure_us=0, gain=float("nan"), red_gain=1)
    with pytest.raises(UsageError) as caught:
        settings.validate()
    message = str(caught.value)
    assert "exposure_us is 0, must lie in 20 to 1000000" in message
    assert "gain is nan" in message
    assert "red_gain and blue_gain" in message
    assert CameraSettings(exposure_us=5000).validate().given() == {"exposure_us": 5000}


def test_settings_overlay() -> None:
    base = CameraSettings(exposure_us=100, gain=1)
    assert base.overlaid(CameraSettings(gain=2, focus_um=3)) == CameraSettings(
        exposure_us=100, gain=2, focus_um=3
    )


def test_refused_settings_are_named() -> None:
    refused = refused_settings(
        CameraSettings(exposure_us=100, gain=2, focus_um=1),
        CameraSettings(exposure_us=100, gain=1),
        {},
    )
    assert refused == [
        "gain was set to 2 and reads back 1",
        "focus_um cannot be set on this camera",
    ]


def test_a_setting_within_a_step_or_the_tolerance_counts_as_taken() -> None:
    asked = CameraSettings(exposure_us=1000, gain=2)
    near = CameraSettings(exposure_us=1050, gain=1.75)
    assert refused_settings(asked, near, {"gain": 0.25}) == []
    assert len(refused_settings(asked, near, {"gain": 0.2})) == 1
    assert len(refused_settings(asked, near, {"gain": 0.25}, tolerance=0.0)) == 1
    assert len(refused_settings(asked, CameraSettings(exposure_us=1051, gain=2), {})) == 1
