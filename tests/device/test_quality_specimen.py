"""What lies on the slide: cells enough, not too many, human, at the right scale, no artefacts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.capture.simulated import SimulatedMicroscope
from edgehemo.cells.cell import Cell, CountInterval, FieldCells
from edgehemo.field.canonical import canonical_field
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.quality import QualityReport, artefact_mask, check_field
from edgehemo.simulation.parameters import SmearParameters
from tests.support.quality_frames import (
    SCALE,
    changed,
    codes,
    empty_frame,
    frame_of,
    judge,
    named,
    pixels_of,
    profile_with,
    scale_of,
)


@pytest.fixture(scope="module")
def good() -> Frame:
    return frame_of()


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


@pytest.mark.parametrize("stain", [2.9, 3.3, 3.8])
def test_a_smear_that_was_stained_too_long_is_said_to_be_too_dark(stain: float) -> None:
    with SimulatedMicroscope.from_spec(f"simulated:?seed=14&hgb=120&stain={stain}") as camera:
        report = judge(camera.frame(10.0))
    assert not report.accepted
    assert first_fault(report) == "STAIN_DARK"
    assert "NOT_A_SMEAR" not in codes(report, "fail")
