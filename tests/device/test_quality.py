"""Quality checks on simulated fields, where what is wrong is known, and on frames of any kind."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgehemo.cells.cell import Cell, CountInterval, FieldCells
from edgehemo.field.canonical import canonical_field
from edgehemo.guidance.catalogue import catalogue
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.profile.parts import FocusReference, ScaleCalibration, StainReference
from edgehemo.profile.profile import CalibrationProfile, new_profile
from edgehemo.quality import Check, QualityReport, artefact_mask, check_field
from edgehemo.quality.envelope import ENVELOPE_FEATURES, envelope_features, fit_envelope
from edgehemo.quality.fine_detail import fine_detail, fine_detail_check
from edgehemo.quality.focus import FOCUS_MEASURE, blur_um, edge_sharpness
from edgehemo.quality.limits import LIMITS
from edgehemo.quality.regions import field_regions
from edgehemo.simulation.field import simulate_field
from edgehemo.simulation.panels import CBCPanel
from edgehemo.simulation.parameters import OpticsParameters, SensorParameters, SmearParameters

PANEL = CBCPanel.from_indices(hgb_g_per_l=140.0, mcv_fl=88.0, mchc_g_per_l=332.0)
SCALE = 0.2


def frame_of(
    seed: int = 0,
    *,
    um_per_px: float = SCALE,
    optics: OpticsParameters | None = None,
    smear: SmearParameters | None = None,
    sensor: SensorParameters | None = None,
    size_px: tuple[int, int] = (480, 360),
) -> Frame:
    return simulate_field(
        PANEL,
        rng=np.random.default_rng(seed),
        width_px=size_px[0],
        height_px=size_px[1],
        um_per_px=um_per_px,
        optics=optics,
        smear=smear,
        sensor=sensor,
    ).frame


def judge(frame: Frame, um_per_px: float | None = SCALE, **parts: object) -> QualityReport:
    field = canonical_field(frame, um_per_px=um_per_px)
    return check_field(field, frame, **parts)  # type: ignore[arg-type]


def pixels_of(frame: Frame) -> NDArray[np.float32]:
    return frame.pixels.astype(np.float32)


def changed(frame: Frame, pixels: NDArray[np.floating]) -> Frame:
    return replace(frame, pixels=np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def codes(report: QualityReport, verdict: str) -> set[str]:
    return {check.code for check in report.checks if check.verdict == verdict}


def named(report: QualityReport, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


@pytest.fixture(scope="module")
def good() -> Frame:
    return frame_of()


@pytest.mark.parametrize("um_per_px", [0.1, 0.2, 0.35])
def test_a_good_field_is_accepted_at_any_scale(um_per_px: float) -> None:
    report = judge(frame_of(3, um_per_px=um_per_px), um_per_px)
    assert report.accepted, report.failed


def test_a_good_field_is_accepted_by_its_own_cells_scale(good: Frame) -> None:
    report = judge(good, None)
    assert report.accepted, report.failed
    assert named(report, "scale_cells").value is not None


# Focus


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
        check = fine_detail_check(field, field_regions(field))
        values.append(check.value)
        assert check.verdict == ("pass" if radius_um == 0.0 else "fail"), check
    assert values[0] is not None
    assert values[1] is not None
    assert values[0] > values[1] + 1.5


def test_a_blurred_field_fails_two_checks_by_one_fault() -> None:
    report = judge(frame_of(2, optics=OpticsParameters(defocus_um=2.0)))
    assert {check.name for check in report.failed} >= {"focus", "fine_detail"}
    assert report.faults.count("OUT_OF_FOCUS") == 1


def test_a_field_without_cells_has_no_fine_detail_to_judge() -> None:
    clear = Frame(np.full((240, 320, 3), 220, np.uint8), "clear")
    field = canonical_field(clear, um_per_px=0.25)
    regions = field_regions(field)
    assert fine_detail(field, regions) is None
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


def profile_with(**parts: object) -> CalibrationProfile:
    empty = new_profile(datetime(2026, 11, 1, tzinfo=UTC), software_version="test")
    return empty.model_copy(update=parts)


def scale_of(um_per_px: float, frame_px: tuple[int, int] | None) -> ScaleCalibration:
    return ScaleCalibration(
        um_per_px=um_per_px, relative_uncertainty=0.002, method="test", frame_px=frame_px
    )


def test_focus_is_judged_against_the_profile_where_it_has_a_reference(good: Frame) -> None:
    value = named(judge(good), "focus").value
    assert value is not None
    sharper = FocusReference(sharp_reference=2 * value, measure=FOCUS_MEASURE)
    assert "OUT_OF_FOCUS" in codes(judge(good, profile=profile_with(focus=sharper)), "fail")
    same = FocusReference(sharp_reference=value, measure=FOCUS_MEASURE)
    assert judge(good, profile=profile_with(focus=same)).accepted
    other_measure = FocusReference(sharp_reference=2 * value, measure="another")
    assert judge(good, profile=profile_with(focus=other_measure)).accepted


# Light


def test_dark_bright_and_uneven_light(good: Frame) -> None:
    assert "LIGHT_TOO_DARK" in codes(judge(changed(good, pixels_of(good) * 0.25)), "fail")
    assert "LIGHT_TOO_BRIGHT" in codes(judge(changed(good, pixels_of(good) * 2.0)), "fail")
    vignetted = frame_of(optics=OpticsParameters(vignette=0.75))
    uneven = judge(vignetted)
    assert "LIGHT_UNEVEN" in codes(uneven, "warn") | codes(uneven, "fail")


def test_a_black_frame_is_refused_for_its_darkness() -> None:
    report = judge(Frame(np.zeros((120, 160, 3), np.uint8), "black"))
    assert {"LIGHT_TOO_DARK", "SHADOWS_CLIPPED"} <= codes(report, "fail")


# Stain


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


# Density and scale


def empty_frame(good: Frame) -> Frame:
    field = canonical_field(good, um_per_px=SCALE)
    light = field.illumination.resampled(good.width, good.height)
    return changed(good, light + np.random.default_rng(0).normal(0, 1.5, light.shape))


def test_an_empty_field_says_no_cells(good: Frame) -> None:
    report = judge(empty_frame(good))
    assert {"NO_CELLS", "TOO_FEW_CELLS", "FOCUS_UNKNOWN"} <= codes(report, "fail")


def test_a_uniform_frame_has_no_scale() -> None:
    report = judge(Frame(np.full((200, 200, 3), 180, np.uint8), "uniform"), None)
    assert "SCALE_UNKNOWN" in codes(report, "fail")


def test_a_wrong_scale_is_noticed(good: Frame) -> None:
    assert "SCALE_MISMATCH" in codes(judge(good, SCALE * 2.2), "fail")
    assert "SCALE_MISMATCH" in codes(judge(good, SCALE / 2.2), "fail")
    assert named(judge(good), "scale_agreement").value == pytest.approx(1.0, abs=0.2)


def test_a_picture_of_another_size_than_the_calibrated_is_refused(good: Frame) -> None:
    """Another mode of the camera bins or crops its pixels: the scale does not hold there."""
    profile = profile_with(scale=scale_of(SCALE, (good.width, good.height)))
    field = canonical_field(good, profile=profile)
    report = check_field(field, good, profile=profile)
    assert report.accepted and named(report, "frame_size").verdict == "pass"
    other = profile_with(scale=scale_of(SCALE, (2 * good.width, 2 * good.height)))
    report = check_field(canonical_field(good, profile=other), good, profile=other)
    refused = named(report, "frame_size")
    assert (refused.verdict, refused.code) == ("fail", "SCALE_MISMATCH")
    assert refused.value == pytest.approx(0.5)
    # A scale that was typed in knows no size.
    typed = profile_with(scale=scale_of(SCALE, None))
    report = check_field(canonical_field(good, profile=typed), good, profile=typed)
    assert "frame_size" not in {check.name for check in report.checks}


def drawn_field(
    cells: list[tuple[float, float]],
    nuclei: bool = False,
    rgb: tuple[int, int, int] = (210, 150, 160),
) -> Frame:
    """Red cells of 7.5 um at the places given (um), at 0.25 um/px, with nuclei of 3 um or not."""
    picture = np.full((360, 480, 3), 225.0, np.float32)
    for x, y in cells:
        cv2.circle(picture, (round(4 * x), round(4 * y)), 15, rgb, cv2.FILLED, cv2.LINE_AA)
        if nuclei:
            place = (round(4 * x), round(4 * y))
            cv2.circle(picture, place, 6, (90, 60, 140), cv2.FILLED, cv2.LINE_AA)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.0), np.float32)
    picture += np.random.default_rng(1).normal(0, 1.5, picture.shape)
    return Frame(np.clip(picture, 0, 255).astype(np.uint8), "drawn")


GRID = [(8.0 + 13.0 * column, 8.0 + 13.0 * row) for row in range(6) for column in range(9)]


def test_red_cells_with_nuclei_are_no_human_blood() -> None:
    bird = named(judge(drawn_field(GRID, nuclei=True), 0.25), "nucleated_red_cells")
    assert (bird.verdict, bird.code) == ("fail", "NUCLEATED_RED_CELLS")
    assert bird.value is not None and bird.value > 0.9
    human = named(judge(drawn_field(GRID), 0.25), "nucleated_red_cells")
    assert (human.verdict, human.value) == ("pass", 0.0)
    few = named(judge(drawn_field(GRID[:5], nuclei=True), 0.25), "nucleated_red_cells")
    assert (few.verdict, few.value) == ("pass", None)


def test_stacks_of_coins_are_told_from_clumps() -> None:
    stacks = [(10.0 + 3.0 * i, 10.0 + 14.0 * row) for row in range(5) for i in range(12)]
    rouleaux = named(judge(drawn_field(stacks), 0.25), "rouleaux")
    assert (rouleaux.verdict, rouleaux.code) == ("warn", "ROULEAUX")
    assert rouleaux.value is not None and rouleaux.value > 0.9
    clump = [(20.0 + 5.0 * i, 20.0 + 5.0 * j) for i in range(6) for j in range(6)]
    for others in (GRID, clump + GRID[-6:]):
        assert named(judge(drawn_field(others), 0.25), "rouleaux").verdict == "pass"


def white_cell_at(x_um: float, y_um: float) -> FieldCells:
    x, y = 4 * x_um, 4 * y_um
    return FieldCells(
        cells=(Cell("wbc", x - 18, y - 18, x + 18, y + 18, 0.99),),
        counts={"rbc": 54, "wbc": 1, "platelet": 0},
        interior_counts={"rbc": CountInterval(50.0, 37.0, 65.0)},
        interior_area_mm2=0.01,
    )


def test_nuclei_stand_out_by_density_and_by_hue() -> None:
    x, y = GRID[22]

    def with_nucleus(rgb: tuple[int, int, int]) -> QualityReport:
        picture = drawn_field(GRID).pixels.astype(np.float32)
        cv2.circle(picture, (round(4 * x), round(4 * y)), 17, rgb, cv2.FILLED, cv2.LINE_AA)
        return judge(changed(drawn_field(GRID), picture), 0.25, cells=white_cell_at(x, y))

    stained = with_nucleus((100, 60, 150))
    assert named(stained, "nucleus_contrast").verdict == "pass"
    assert named(stained, "stain_separation").verdict == "pass"
    # A red cell taken for a white one, and a nucleus in eosin alone.
    pale = with_nucleus((210, 150, 160))
    assert named(pale, "nucleus_contrast").code == "NUCLEI_PALE"
    assert named(pale, "stain_separation").code == "STAINS_ALIKE"
    assert pale.accepted == stained.accepted  # a matter of white cells, not of haemoglobin
    without = judge(drawn_field(GRID), 0.25)
    assert named(without, "nucleus_contrast").value is None
    assert named(without, "stain_separation").verdict == "pass"


def test_the_finders_count_is_used_where_there_is_one(good: Frame) -> None:
    few = FieldCells(
        cells=(),
        counts={"rbc": 3, "wbc": 0, "platelet": 0},
        interior_counts={"rbc": CountInterval(3.0, 1.0, 7.0)},
        interior_area_mm2=0.004,
    )
    assert named(judge(good, cells=few), "cell_count").value == 3
    assert "TOO_FEW_CELLS" in codes(judge(good, cells=few), "fail")


def test_a_crowded_field_is_noticed() -> None:
    crowded = judge(frame_of(smear=SmearParameters(film_thickness_um=6.0)))
    noticed = codes(crowded, "fail") | codes(crowded, "warn")
    assert noticed & {"TOO_CROWDED", "CELLS_CLUMPED"}
    spread = named(judge(frame_of()), "crowding").value
    assert spread is not None
    assert (named(crowded, "crowding").value or 0) > spread


# Not a smear


@pytest.mark.parametrize("um_per_px", [None, 0.1, 0.25])
@pytest.mark.parametrize("kind", ["gradient", "noise", "text", "shapes", "checkers", "white"])
def test_pictures_that_are_no_smear_are_refused(kind: str, um_per_px: float | None) -> None:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:240, :320].astype(np.float32)
    page = np.full((240, 320, 3), 240, np.uint8)
    if kind == "gradient":
        page = np.repeat((40 + 0.6 * x)[..., None], 3, axis=2).astype(np.uint8)
    elif kind == "noise":
        page = rng.integers(0, 256, page.shape).astype(np.uint8)
    elif kind == "text":
        for line in range(20, 240, 22):
            cv2.putText(page, "Full blood count 4.5", (4, line), 0, 0.7, (20, 20, 20), 2)
    elif kind == "shapes":
        for _ in range(30):
            left, top = (int(value) for value in rng.integers(0, 280, 2))
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            cv2.rectangle(page, (left, top), (left + 30, top + 20), colour, -1)
    elif kind == "checkers":
        page = np.repeat((60 + 150 * ((x // 12 + y // 12) % 2))[..., None], 3, axis=2).astype(
            np.uint8
        )
    else:
        page[:] = 255
    report = judge(Frame(page, kind), um_per_px)
    assert not report.accepted
    assert named(report, "specimen").verdict == "fail" or kind == "gradient"


# Artefacts


def test_marks_are_masked_and_cells_are_not(good: Frame) -> None:
    clean = artefact_mask(canonical_field(good, um_per_px=SCALE))
    assert clean.mean() < 0.002
    marked = good.pixels.copy()
    where = np.zeros(marked.shape[:2], np.uint8)
    for target, colour in ((marked, (255, 230, 0)), (where, 1)):
        cv2.arrowedLine(target, (100, 100), (160, 130), colour, 6)
    for target, colour in ((marked, (20, 20, 20)), (where, 1)):
        cv2.rectangle(target, (380, 330), (450, 336), colour, -1)
    for target, colour in ((marked, (90, 90, 90)), (where, 1)):
        cv2.line(target, (300, 0), (330, 90), colour, 9)
    field = canonical_field(replace(good, pixels=marked), um_per_px=SCALE)
    mask = artefact_mask(field)
    truth = cv2.resize(where, (field.width, field.height), interpolation=cv2.INTER_NEAREST) > 0
    assert mask[truth].mean() > 0.9
    assert (
        mask[~cv2.dilate(truth.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)].mean()
        < 0.01
    )
    assert "ARTEFACTS" in codes(judge(replace(good, pixels=marked)), "warn")


def test_a_bubble_is_masked_with_its_inside(good: Frame) -> None:
    marked = good.pixels.copy()
    cv2.circle(marked, (240, 180), 60, (40, 40, 40), 5, cv2.LINE_AA)
    field = canonical_field(replace(good, pixels=marked), um_per_px=SCALE)
    mask = artefact_mask(field)
    assert mask[round(180 * field.height / 360), round(240 * field.width / 480)]


# The records


def test_every_limit_has_evidence() -> None:
    assert all(entry.evidence and entry.unit for entry in LIMITS.values())


def test_what_does_not_pass_says_what_to_do(good: Frame) -> None:
    for report in (judge(good), judge(empty_frame(good), None)):
        names = [check.name for check in report.checks]
        assert len(names) == len(set(names))
        for check in report.checks:
            assert bool(check.code) == bool(check.action) == (check.verdict != "pass")
            assert check.code == "" or check.action == catalogue()[check.code].action  # type: ignore[index]


def sane(report: QualityReport) -> None:
    for check in report.checks:
        assert check.value is None or math.isfinite(check.value), check
        assert check.limit is None or math.isfinite(check.limit), check
        assert check.verdict in ("pass", "warn", "fail")
    assert report.accepted == all(check.verdict != "fail" for check in report.checks)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pixels=hnp.arrays(np.uint8, st.tuples(st.integers(32, 48), st.integers(32, 48), st.just(3))),
    um_per_px=st.one_of(st.none(), st.floats(0.02, 2.0)),
)
def test_no_tiny_frame_makes_it_raise(pixels: NDArray[np.uint8], um_per_px: float | None) -> None:
    sane(judge(Frame(pixels, "any"), um_per_px))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["uniform", "noise", "clouds", "half", "extremes"]),
    width=st.integers(32, 200),
    height=st.integers(32, 200),
    um_per_px=st.one_of(st.none(), st.floats(0.02, 1.0)),
)
def test_no_frame_makes_it_raise(
    seed: int, kind: str, width: int, height: int, um_per_px: float | None
) -> None:
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        pixels = np.full((height, width, 3), rng.integers(0, 256), np.uint8)
    elif kind == "noise":
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    elif kind == "clouds":
        small = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        pixels = np.asarray(cv2.resize(small, (width, height)), np.uint8)
    elif kind == "half":
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, width // 2 :] = rng.integers(0, 256, 3)
    else:
        pixels = (255 * rng.integers(0, 2, (height, width, 3))).astype(np.uint8)
    sane(judge(Frame(pixels, kind), um_per_px))


# -- colour -------------------------------------------------------------------------------------


def first_fault(report: QualityReport) -> str:
    return report.failed[0].code


@pytest.mark.parametrize("toned", [(1.0, 1.0, 1.0), (1.0, 0.9, 0.75)])
def test_a_picture_without_colour_is_said_to_have_none(toned: tuple[float, ...]) -> None:
    frame = frame_of()
    grey = pixels_of(frame) @ np.array([0.3, 0.59, 0.11], np.float32)
    noisy = grey[..., None] * np.array(toned) + np.random.default_rng(1).normal(
        0, 1.0, frame.pixels.shape
    )
    report = judge(changed(frame, noisy))
    assert first_fault(report) == "COLOUR_MISSING"
    assert not codes(report, "fail") & {"NOT_A_SMEAR", "NUCLEATED_RED_CELLS", "STAIN_COLOUR"}
    assert "COLOUR_MISSING" not in codes(judge(frame), "fail")


def test_a_grey_picture_of_something_else_is_still_no_smear() -> None:
    rows, columns = np.mgrid[:360, :480]
    stripes = np.where((rows + columns) // 40 % 2, 60.0, 220.0)[..., None].repeat(3, axis=2)
    report = judge(changed(frame_of(), stripes))
    assert first_fault(report) in {"NOT_A_SMEAR", "NO_CELLS"}


def test_a_stain_of_another_colour_is_no_question_of_a_smear(cases_root: Path) -> None:
    blue = read_frame(cases_root / "slate_blue_red_cells_sim.jpg")
    mild = read_frame(cases_root / "slate_blue_mild_control.jpg")
    assert codes(judge(blue, None), "fail") == {"STAIN_COLOUR"}
    assert judge(mild, None).accepted
    assert "STAIN_COLOUR" in codes(judge(mild, None), "warn")
