"""Is the field in focus: sharpness, fine detail, the profile's reference."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from edgehemo.field.canonical import canonical_field
from edgehemo.images.frame import Frame
from edgehemo.profile.parts import FocusReference
from edgehemo.quality import check_field
from edgehemo.quality.fine_detail import detail_checks, detail_of
from edgehemo.quality.focus import FOCUS_MEASURE, blur_um, edge_sharpness
from edgehemo.quality.regions import field_regions
from edgehemo.simulation.parameters import OpticsParameters, SensorParameters
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


@pytest.mark.parametrize("seed", range(3))
def test_sharpness_falls_at_every_step_out_of_focus(seed: int) -> None:
    values = []
    for defocus_um in (0.0, 0.3, 0.6, 1.0, 2.0, 4.0):
        field = canonical_field(
            frame_of(seed, optics=OpticsParameters(defocus_um=defocus_um, numerical_aperture=0.9)),
            um_per_px=SCALE,
        )
        values.append(edge_sharpness(field, field_regions(field)) or 0.0)
    assert all(after < before for before, after in itertools.pairwise(values)), values


@pytest.mark.parametrize("defocus_um", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("full_well_e", [400.0, 20000.0])
def test_defocus_is_refused_whatever_the_noise(defocus_um: float, full_well_e: float) -> None:
    optics = OpticsParameters(defocus_um=defocus_um)
    report = judge(frame_of(1, optics=optics, sensor=SensorParameters(full_well_e=full_well_e)))
    assert named(report, "focus").verdict == "fail"


@pytest.mark.parametrize("um_per_px", [0.1, 0.2, 0.38])
@pytest.mark.parametrize("numerical_aperture", [0.65, 1.25])
def test_fine_detail_is_lost_at_a_blur_of_one_um_whatever_the_objective(
    um_per_px: float, numerical_aperture: float
) -> None:
    values = []
    for radius_um in (0.0, 1.0):
        plain = OpticsParameters(numerical_aperture=numerical_aperture)
        away_um = radius_um / replace(plain, defocus_um=1.0).defocus_radius_um
        optics = replace(plain, defocus_um=away_um)
        assert optics.defocus_radius_um == pytest.approx(radius_um)
        field = canonical_field(
            frame_of(5, um_per_px=um_per_px, optics=optics), um_per_px=um_per_px
        )
        check, _ = detail_checks(field, field_regions(field))
        assert check.name == "fine_detail"
        values.append(check.value)
        assert check.verdict == ("pass" if radius_um == 0.0 else "fail"), check
    assert values[0] is not None
    assert values[1] is not None
    assert values[0] > values[1] + 1.5


@pytest.mark.parametrize("um_per_px", [0.1, 0.2])
@pytest.mark.parametrize("numerical_aperture", [0.65, 1.25])
def test_the_finest_detail_is_lost_at_a_smaller_blur(
    um_per_px: float, numerical_aperture: float
) -> None:
    """A disc of 14 px across on a field of 0.1 um/px passed by outlines and fine detail alone."""
    plain = OpticsParameters(numerical_aperture=numerical_aperture)
    verdicts = []
    for radius_um in (0.0, 0.7):
        away_um = radius_um / replace(plain, defocus_um=1.0).defocus_radius_um
        frame = frame_of(6, um_per_px=um_per_px, optics=replace(plain, defocus_um=away_um))
        field = canonical_field(frame, um_per_px=um_per_px)
        _, check = detail_checks(field, field_regions(field))
        assert check.name == "finest_detail"
        verdicts.append(check.verdict)
    assert verdicts == ["pass", "fail"]


def test_a_blurred_field_fails_two_checks_by_one_fault() -> None:
    report = judge(frame_of(2, optics=OpticsParameters(defocus_um=2.0)))
    assert {check.name for check in report.failed} >= {"focus", "fine_detail"}
    assert report.faults.count("OUT_OF_FOCUS") == 1


def test_a_field_without_cells_has_no_fine_detail_to_judge() -> None:
    clear = Frame(np.full((240, 320, 3), 220, np.uint8), "clear")
    field = canonical_field(clear, um_per_px=0.25)
    regions = field_regions(field)
    assert detail_of(field, regions) is None
    assert {check.verdict for check in detail_checks(field, regions)} == {"pass"}
    # Too few cells to judge focus by: the focus check refuses it.
    assert not check_field(field, clear).accepted


def test_pale_stain_is_not_taken_for_blur(good: Frame) -> None:
    field = canonical_field(good, um_per_px=SCALE)
    light = field.illumination.resampled(good.width, good.height)
    transmittance = pixels_of(good) / light
    pale = changed(good, light * np.maximum(transmittance, 0.01) ** 0.5)
    before, after = named(judge(good), "focus").value, named(judge(pale), "focus").value
    assert before is not None
    assert after == pytest.approx(before, rel=0.2)


def test_blur_is_recovered_from_the_energies_of_a_known_edge() -> None:
    # An edge blurred by w px has energies proportional to 1 / sqrt(w^2 + s^2).
    for w_px in (0.5, 1.0, 2.0, 4.0):
        ratio = math.sqrt((w_px**2 + 1.5**2) / (w_px**2 + 1.0**2))
        assert blur_um(ratio) == pytest.approx(w_px * 0.25, rel=1e-3)
    assert blur_um(1.0) == math.inf


def test_focus_is_judged_against_the_profile_where_it_has_a_reference(good: Frame) -> None:
    value = named(judge(good), "focus").value
    assert value is not None
    sharper = FocusReference(sharp_reference=2 * value, measure=FOCUS_MEASURE)
    assert "OUT_OF_FOCUS" in codes(judge(good, profile=profile_with(focus=sharper)), "fail")
    same = FocusReference(sharp_reference=value, measure=FOCUS_MEASURE)
    assert judge(good, profile=profile_with(focus=same)).accepted
    other_measure = FocusReference(sharp_reference=2 * value, measure="another")
    assert judge(good, profile=profile_with(focus=other_measure)).accepted
