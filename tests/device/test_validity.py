"""When results are withheld whatever the slide shows, and on which camera a profile holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgehemo.control.history import history_path
from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.device.readiness import camera_names, refuse_another_camera, why_blocked
from edgehemo.errors import ProfileError
from edgehemo.guidance.withheld import Withheld
from edgehemo.profile.parts import ControlSlide, FocusReference, ScaleCalibration, Spread
from edgehemo.profile.profile import CalibrationProfile, new_profile, save_profile
from edgehemo.screening.field import FieldReader
from edgehemo.screening.sample import Screening, screen_frames
from tests.support.control_slides import append_record
from tests.support.screening_fakes import TruthFinder, scripted, simulated_frames

WHEN = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
DEVICE = load_device("workstation")
DAYS = DEVICE.screening.calibration_expires_days


def profile(**parts: Any) -> CalibrationProfile:
    made = new_profile(WHEN, software_version="0.1.0", camera=parts.pop("camera", ""))
    return made.model_copy(update=parts)


def blocked(made: CalibrationProfile, at: datetime, path: Path = Path("p.json")) -> Any:
    return why_blocked(made, path, DEVICE, now=at)


def test_measured_parts_expire_and_say_which() -> None:
    focus = FocusReference(sharp_reference=4.0, measure="m", measured_at=WHEN)
    made = profile(focus=focus)
    assert blocked(made, WHEN + timedelta(days=DAYS)) is None
    late = blocked(made, WHEN + timedelta(days=DAYS + 1))
    assert "expired: focus" in late.reason and "`edgehemo calibrate focus`" in late.action
    renewed = focus.model_copy(update={"measured_at": WHEN + timedelta(days=DAYS)})
    assert blocked(profile(focus=renewed), WHEN + timedelta(days=DAYS + 1)) is None
    # A part that does not say when it was measured is as old as the profile.
    undated = focus.model_copy(update={"measured_at": None})
    assert blocked(profile(focus=undated), WHEN + timedelta(days=DAYS + 1)) is not None


def test_what_was_typed_in_and_the_simulated_microscope_do_not_age() -> None:
    far = WHEN + timedelta(days=10_000)
    typed = ScaleCalibration(um_per_px=0.2, relative_uncertainty=0.02, method="given")
    assert blocked(profile(scale=typed), far) is None
    found = typed.model_copy(update={"method": "stage micrometer, found"})
    assert blocked(profile(scale=found), far) is not None
    assert blocked(profile(scale=found, camera="simulated"), far) is None
    assert why_blocked(None, None, DEVICE, now=far) is None


def test_a_profile_with_controls_needs_its_check(tmp_path: Path) -> None:
    from edgehemo.control.history import ControlCheck

    target = Spread(quantity="hgb_index", mean=0.1, sd=0.01, sd_low=0.005, sd_high=0.02, runs=10)
    slide = ControlSlide(name="normal", established_at=WHEN, grade="provisional", targets=(target,))
    made, path = profile(controls=(slide,)), tmp_path / "p.json"
    save_profile(made, path)
    assert "no control slide was checked" in blocked(made, WHEN, path).reason
    check = ControlCheck(
        at=WHEN, software_version="1", slide="normal", established_at=WHEN, profile_sha256="x",
        fields=3, refused=0, values={"hgb_index": 0.1}, deviations={"hgb_index": 0.0}, passed=True,
    )  # fmt: skip
    append_record(history_path(path), check)
    assert blocked(made, WHEN, path) is None
    failed = check.model_copy(update={"passed": False, "reason": "density +4 SD"})
    append_record(history_path(path), failed)
    assert "failed: density +4 SD" in blocked(made, WHEN, path).reason
    history_path(path).write_text("torn")
    assert "damaged control history" in blocked(made, WHEN, path).reason


def test_a_blocked_screening_judges_fields_and_gives_no_number() -> None:
    check = scripted()
    finder = TruthFinder()
    frames = simulated_frames(finder, count=2)
    reason = Withheld("CONTROL_FAILED", "the control check failed", "Mend it.")
    reading = screen_frames(frames, Screening(FieldReader(finder, check=check), blocked=reason))
    assert reading.withheld == reason
    assert (reading.indices, reading.estimate, reading.anaemia) == (None, None, None)
    assert len(reading.accepted) == 2, "the fields are shown as they were judged"
    for field in reading.fields:
        assert (field.cells, field.indices) == (None, None)
        assert field.quality.failed == (), "the reason is the sample's, and said once"
    assert all(count.value == 0 for count in reading.counts.values())
    free = screen_frames(frames, Screening(FieldReader(finder, check=check)))
    assert free.withheld is None and free.indices is not None


def test_opening_the_equipment_asks(tmp_path: Path) -> None:
    from edgehemo.device.equipment import open_equipment

    old = FocusReference(
        sharp_reference=4.0, measure="m", measured_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    save_profile(profile(focus=old), tmp_path / "old.json")
    equipment = open_equipment(None, tmp_path / "old.json")
    assert equipment.blocked is not None and "focus" in equipment.blocked.reason
    save_profile(profile(), tmp_path / "new.json")
    assert open_equipment(None, tmp_path / "new.json").blocked is None


def device(**camera: str) -> DeviceConfiguration:
    section = DEVICE.camera.model_copy(update=camera)
    return DEVICE.model_copy(update={"camera": section})


def test_a_profile_is_refused_on_another_camera() -> None:
    made = profile(camera="picamera2:0")
    refuse_another_camera(made, "p.json", ["picamera2:0?width=640&height=480", "a.png"], DEVICE)
    refuse_another_camera(profile(), "p.json", ["picamera2:1"], DEVICE)
    for other in ("picamera2:1", "uvc:/dev/video9", "simulated:?seed=2"):
        with pytest.raises(ProfileError, match="was made for the camera 'picamera2:0'"):
            refuse_another_camera(made, "p.json", [other], DEVICE)
    named = profile(camera="HQ on the Olympus")
    with pytest.raises(ProfileError, match="give it that name under"):
        refuse_another_camera(named, "p.json", ["picamera2:0"], DEVICE)
    own = device(source="picamera2:0", name="HQ on the Olympus")
    refuse_another_camera(named, "p.json", ["picamera2:0?width=640&height=480"], own)
    with pytest.raises(ProfileError):
        refuse_another_camera(named, "p.json", ["picamera2:1"], own)
    short = device(source="uvc:0", name="HQ on the Olympus")
    refuse_another_camera(named, "p.json", ["uvc:/dev/video0?fourcc=MJPG"], short)


def test_a_usb_camera_is_called_what_it_calls_itself(tmp_path: Path) -> None:
    (tmp_path / "video0").mkdir()
    (tmp_path / "video0" / "name").write_text("HD USB Camera: HD USB Camera\n")
    assert camera_names("uvc:/dev/video0", tmp_path) == ("uvc:HD USB Camera: HD USB Camera",)
    assert camera_names("uvc:0?width=640&height=480", tmp_path)[0].startswith("uvc:HD USB")
    assert camera_names("uvc:/dev/video3", tmp_path) == ("uvc:/dev/video3",)
    assert camera_names("simulated:?seed=3") == ("simulated",)
    node, link = tmp_path / "dev" / "video0", tmp_path / "dev" / "usb-eyepiece-index0"
    node.parent.mkdir()
    node.touch()
    link.symlink_to(node)
    assert camera_names(f"uvc:{link}", tmp_path) == ("uvc:HD USB Camera: HD USB Camera",)
    assert camera_names("a.png") == ()
