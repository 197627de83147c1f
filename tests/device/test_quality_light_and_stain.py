"""Light and stain: too dark, too bright, uneven, faded, drifted, unlike the training fields."""

from __future__ import annotations

import numpy as np
import pytest

from edgehemo.field.canonical import canonical_field
from edgehemo.images.frame import Frame
from edgehemo.profile.parts import StainReference
from edgehemo.quality.envelope import ENVELOPE_FEATURES, envelope_features, fit_envelope
from edgehemo.quality.regions import field_regions
from edgehemo.simulation.parameters import OpticsParameters
from tests.support.quality_frames import (
    SCALE,
    changed,
    codes,
    frame_of,
    judge,
    named,
    pixels_of,
    profile_with,
)


@pytest.fixture(scope="module")
def good() -> Frame:
    return frame_of()


def test_dark_bright_and_uneven_light(good: Frame) -> None:
    assert "LIGHT_TOO_DARK" in codes(judge(changed(good, pixels_of(good) * 0.25)), "fail")
    assert "LIGHT_TOO_BRIGHT" in codes(judge(changed(good, pixels_of(good) * 2.0)), "fail")
    vignetted = frame_of(optics=OpticsParameters(vignette=0.75))
    uneven = judge(vignetted)
    assert "LIGHT_UNEVEN" in codes(uneven, "warn") | codes(uneven, "fail")


def test_a_black_frame_is_refused_for_its_darkness() -> None:
    report = judge(Frame(np.zeros((120, 160, 3), np.uint8), "black"))
    assert {"LIGHT_TOO_DARK", "SHADOWS_CLIPPED"} <= codes(report, "fail")


def test_a_washed_out_stain_is_refused(good: Frame) -> None:
    field = canonical_field(good, um_per_px=SCALE)
    light = field.illumination.resampled(good.width, good.height)
    faded = changed(good, light * np.maximum(pixels_of(good) / light, 0.01) ** 0.12)
    report = judge(faded)
    assert codes(report, "fail") & {"STAIN_FAINT", "NO_CELLS"}


def test_a_tinted_background_is_a_warning_and_no_more(good: Frame) -> None:
    tinted = judge(changed(good, pixels_of(good) * np.array([1.0, 0.85, 0.6])))
    assert "BACKGROUND_COLOUR" in codes(tinted, "warn")
    assert tinted.accepted, tinted.failed


def test_drift_against_the_reference(good: Frame) -> None:
    field = canonical_field(good, um_per_px=SCALE)
    density = field_regions(field).body_density()
    assert density is not None
    background = field.illumination.background_rgb
    same = StainReference(
        background_rgb=background,
        background_rgb_sd=(4.0, 4.0, 4.0),
        cell_od=density,
        cell_od_sd=(0.01, 0.01, 0.01),
        fields=5,
    )
    quiet = judge(good, profile=profile_with(stain=same))
    assert named(quiet, "stain_drift").verdict == named(quiet, "light_drift").verdict == "pass"
    darker = same.model_copy(
        update={"cell_od": tuple(2 * value for value in density), "background_rgb": (99, 99, 99)}
    )
    loud = judge(good, profile=profile_with(stain=darker))
    assert named(loud, "stain_drift").code == "STAIN_DRIFT"
    assert named(loud, "light_drift").code == "LIGHT_DRIFT"
    assert not loud.accepted


@pytest.mark.parametrize(("share", "verdict"), [(0.8, "pass"), (0.5, "warn"), (0.3, "fail")])
def test_a_faded_stain_is_told_by_the_reference_however_much_slides_vary(
    good: Frame, share: float, verdict: str
) -> None:
    density = field_regions(canonical_field(good, um_per_px=SCALE)).body_density()
    assert density is not None
    reference = StainReference(
        background_rgb=(200.0, 200.0, 200.0),
        background_rgb_sd=(40.0, 40.0, 40.0),
        cell_od=density,
        cell_od_sd=(0.1, 0.1, 0.1),
        fields=5,
    )
    field = canonical_field(good, um_per_px=SCALE)
    light = field.illumination.resampled(good.width, good.height)
    faded = changed(good, light * np.maximum(pixels_of(good) / light, 0.01) ** share)
    check = named(judge(faded, profile=profile_with(stain=reference)), "stain_strength")
    assert check.value == pytest.approx(share, abs=0.05)
    assert check.verdict == verdict


def test_the_envelope_holds_its_own_fields_and_refuses_others(good: Frame) -> None:
    rows = []
    for seed in range(24):
        frame = frame_of(seed, um_per_px=0.3, size_px=(240, 180))
        field = canonical_field(frame, um_per_px=0.3)
        rows.append(envelope_features(field_regions(field), field.illumination))
    envelope = fit_envelope(np.array(rows))
    assert named(judge(good, envelope=envelope), "envelope").verdict != "fail"
    green = changed(good, pixels_of(good)[..., [2, 0, 1]] * np.array([1.0, 0.5, 1.0]))
    assert named(judge(green, envelope=envelope), "envelope").code == "OUTSIDE_ENVELOPE"
    with pytest.raises(ValueError, match="other features"):
        judge(good, envelope={**envelope, "features": list(ENVELOPE_FEATURES[:2])})
    with pytest.raises(ValueError, match="at least 20"):
        fit_envelope(np.array(rows[:19]))
