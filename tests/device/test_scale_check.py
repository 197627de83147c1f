"""A scale read from the cells is held against the cells found at it, and a given one as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgehemo.cells.cell import Cell, FieldCells
from edgehemo.cells.widths import BOX_OVER_CELL, MIN_BOXES, cell_widths
from edgehemo.cli import run
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.field.scale import RED_CELL_DIAMETER_UM, ScaleEstimate
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.quality.check import Check, QualityReport
from edgehemo.quality.focus import focus_check
from edgehemo.quality.regions import field_regions
from edgehemo.quality.scale import cell_widths_check, scale_agreement_check
from edgehemo.screening.field import FieldReader, FieldReading
from edgehemo.screening.scale_check import MAX_ROUNDS, as_its_slide, settled
from edgehemo.screening.slide_scale import slide_scale

TRUE_UM_PER_PX = 0.170


@pytest.fixture(scope="module")
def reader() -> FieldReader:
    """As `edgehemo cells` reads, with the shipped bundle."""
    from edgehemo.device.equipment import open_equipment

    return open_equipment(None, None).cells_reader()


@pytest.mark.parametrize(
    ("name", "white", "per_mm2"),
    [
        ("agglutinated_650_red.jpg", 0, None),
        ("leukaemia_650_red_35_white.jpg", 35, 12_100),
        ("control_650_red_single.jpg", 0, 12_130),
    ],
)
def test_clumps_and_white_cells_do_not_set_the_scale(
    cases_root: Path, reader: FieldReader, name: str, white: int, per_mm2: float | None
) -> None:
    reading = reader.read(read_frame(cases_root / name))
    assert reading.accepted, reading.quality.faults
    assert reading.scale_source == "red_cells"
    assert reading.um_per_px == pytest.approx(TRUE_UM_PER_PX, rel=0.10)
    assert reading.cells is not None
    assert reading.cells.counts["rbc"] == pytest.approx(650, rel=0.05)
    assert reading.cells.counts["wbc"] == pytest.approx(white, abs=4)
    if per_mm2 is not None:
        found = reading.cells.interior_counts["rbc"].value / reading.cells.interior_area_mm2
        assert found == pytest.approx(per_mm2, rel=0.06)


def test_a_given_scale_is_weighed_by_the_cells_not_by_the_clumps(
    cases_root: Path, reader: FieldReader
) -> None:
    frame = read_frame(cases_root / "agglutinated_650_red.jpg")

    def at(um_per_px: float) -> tuple[str, float | None]:
        reading = replace(reader, um_per_px=um_per_px).read(frame)
        assert reading.um_per_px == um_per_px, "a given scale is never changed"
        (check,) = [c for c in reading.quality.checks if c.name == "scale_agreement"]
        return check.verdict, check.value

    assert at(TRUE_UM_PER_PX)[0] == "pass"
    for wrong in (TRUE_UM_PER_PX / 2.2, TRUE_UM_PER_PX * 2.2):
        assert at(wrong)[0] == "fail", wrong


def test_quality_says_the_scale_and_where_it_is_from(cases_root: Path, tmp_path: Path) -> None:
    picture = str(cases_root / "control_650_red_single.jpg")
    for options, source in (([], "red_cells"), (["--um-per-px", "0.17"], "given")):
        out = tmp_path / f"{source}.json"
        assert run(["quality", picture, "--json", str(out), *options]) == 0
        (entry,) = json.loads(out.read_text())["images"]
        assert entry["scale_source"] == source
        assert entry["um_per_px"] == pytest.approx(TRUE_UM_PER_PX, rel=0.02)


# -- without a model: cells of a width that the test decides -----------------------------------


def field_at(um_per_px: float, source: str = "red_cells", side: int = 400) -> CanonicalField:
    pixels = np.full((side, side, 3), 220, np.uint8)
    field = canonical_field(Frame(pixels, "plain"), um_per_px=um_per_px)
    estimate = ScaleEstimate(um_per_px, 40, 0.1) if source == "red_cells" else None
    return replace(field, scale_source=source, scale_estimate=estimate)  # type: ignore[arg-type]


def cells_of(width_px: float, count: int = 40, kind: str = "rbc") -> FieldCells:
    cells = tuple(
        Cell(kind, 10 + n, 10, 10 + n + width_px, 10 + width_px, 0.9)  # type: ignore[arg-type]
        for n in range(count)
    )
    return FieldCells(cells, {"rbc": count, "wbc": 0, "platelet": 0}, {}, 1.0)


def looker(true_um_per_px: float, least_um: float = 0.0) -> tuple[Callable[..., Any], list[float]]:
    """Looks again at any scale; boxes are never narrower than ``least_um`` at it."""
    asked: list[float] = []

    def look(at: ScaleEstimate) -> tuple[CanonicalField, FieldCells]:
        asked.append(at.um_per_px)
        field = replace(field_at(at.um_per_px), scale_estimate=at)
        box_um = RED_CELL_DIAMETER_UM * BOX_OVER_CELL * at.um_per_px / true_um_per_px
        return field, cells_of(max(box_um, least_um) / at.um_per_px)

    return look, asked


def test_nothing_is_looked_at_again_where_the_measures_agree() -> None:
    for scale in (0.185, 0.20, 0.22):
        look, asked = looker(0.20)
        field, cells = look(ScaleEstimate(scale, 40, 0.1))
        asked.clear()
        assert settled(field, cells, look, not_made_again) == (field, cells)
        assert asked == []


@pytest.mark.parametrize("scale", [0.16, 0.17, 0.23, 0.25])
def test_where_the_same_cells_would_be_found_again_the_boxes_are_believed(scale: float) -> None:
    look, asked = looker(0.20)
    field, cells = look(ScaleEstimate(scale, 40, 0.1))
    asked.clear()
    again, same = settled(field, cells, look, lambda at: look(at)[0])
    assert again.frame_um_per_px == pytest.approx(0.20)
    assert same.cells == cells.cells, "boxes are the frame's"
    # As many pixels of the frame, of another size on the slide.
    assert same.interior_area_mm2 == pytest.approx((0.20 / scale) ** 2)
    assert again.scale_estimate is not None
    assert again.scale_estimate.coarsest_um_per_px == pytest.approx(max(scale, 0.20))


def not_made_again(_: ScaleEstimate) -> Any:
    raise AssertionError("made again")


def test_a_field_misread_alone_is_read_at_its_slides_scale() -> None:
    """Its own two measures agree with one another, and not with the slide."""
    look, asked = looker(0.20)
    slide = ScaleEstimate(0.20, 300, 0.05)
    misread, cells = field_at(0.08), cells_of(RED_CELL_DIAMETER_UM * BOX_OVER_CELL / 0.08)
    assert settled(misread, cells, look, not_made_again) == (misread, cells)
    field, found = as_its_slide(misread, cells, slide, look)
    assert asked == [0.20]
    assert field.frame_um_per_px == pytest.approx(0.20)
    assert found.cells != cells.cells
    # One that could not be read at all has what its slide has.
    unread = replace(field_at(0.1, "assumed"), scale_estimate=None)
    assert as_its_slide(unread, cells, slide, look)[0].frame_um_per_px == pytest.approx(0.20)


def test_another_magnification_and_a_known_scale_are_left_as_they_are() -> None:
    slide = ScaleEstimate(0.20, 300, 0.05)
    look, _ = looker(0.50)  # whose cells are not found at 0.20 as wide as they should be
    for source in ("red_cells", "given", "profile"):
        field, cells = field_at(0.50, source), cells_of(16.0)
        assert as_its_slide(field, cells, slide, look) == (field, cells)
    near = field_at(0.23)
    cells = cells_of(34.0)
    assert as_its_slide(near, cells, slide, not_made_again) == (near, cells)


def test_a_slides_scale_is_the_median_of_its_accepted_fields_of_one_size() -> None:
    scales = (0.19, 0.20, 0.21)
    fields = [reading_of(scale) for scale in scales]
    pooled = slide_scale(fields, 640, 480)
    assert pooled is not None
    assert pooled.um_per_px == pytest.approx(0.20)
    assert pooled.cells == 120
    assert slide_scale(fields[:2], 640, 480) is None
    assert slide_scale(fields[:1], 640, 480, min_fields=1) is not None
    assert slide_scale(fields, 1280, 960) is None
    given = [replace(field, scale_source="given") for field in fields]
    assert slide_scale(given, 640, 480) is None
    refused = replace(fields[0], quality=QualityReport((Check("focus", 1.0, 2.4, "fail"),)))
    assert slide_scale([*fields[:2], refused], 640, 480) is None


def reading_of(um_per_px: float) -> FieldReading:
    quality = QualityReport((Check("scale_cells", 40.0, 4.0, "pass"),))
    return FieldReading("a.png", 640, 480, um_per_px, "red_cells", quality, None, None)


@pytest.mark.parametrize("factor", [0.25, 0.4, 0.6, 1.6, 2.5])
def test_a_wrong_scale_is_begun_again_until_it_agrees(factor: float) -> None:
    look, asked = looker(0.20, least_um=3.8)
    field, cells = look(ScaleEstimate(0.20 * factor, 12, 0.2))
    asked.clear()
    settled_field, _ = settled(field, cells, look, not_made_again)
    assert 1 <= len(asked) <= MAX_ROUNDS
    assert settled_field.frame_um_per_px == pytest.approx(0.20, rel=0.06)
    assert settled_field.scale_source == "red_cells"


def test_where_they_never_agree_the_first_stands_and_is_refused() -> None:
    asked: list[float] = []

    def look(at: ScaleEstimate) -> tuple[CanonicalField, FieldCells]:
        asked.append(at.um_per_px)
        return field_at(at.um_per_px), cells_of(4.5 / at.um_per_px)

    field, cells = look(ScaleEstimate(0.2, 12, 0.2))
    asked.clear()
    assert settled(field, cells, look, not_made_again)[0] is field
    assert len(asked) == MAX_ROUNDS
    # Boxes of 4.5 um at every scale.
    check = cell_widths_check(cell_widths(cells, field))
    assert (check.verdict, check.code) == ("fail", "SCALE_CONTRADICTED")
    assert check.action


@pytest.mark.parametrize("source", ["given", "profile"])
def test_a_known_scale_is_judged_and_never_changed(source: str) -> None:
    field = field_at(0.2, source)
    cells = cells_of(3.5 * RED_CELL_DIAMETER_UM / 0.2)

    def look(_: ScaleEstimate) -> Any:
        raise AssertionError("looked again")

    assert settled(field, cells, look, look) == (field, cells)
    check = scale_agreement_check(field_regions(field), cell_widths(cells, field))
    assert (check.verdict, check.code) == ("fail", "SCALE_MISMATCH")


def test_few_cells_and_cells_at_the_border_say_nothing() -> None:
    field = field_at(0.2)
    assert cell_widths(cells_of(80.0, MIN_BOXES - 1), field) is None
    assert cell_widths(cells_of(80.0, MIN_BOXES), field) is not None
    cut = tuple(replace(cell, x0=0.0) for cell in cells_of(80.0).cells)
    assert cell_widths(replace(cells_of(80.0), cells=cut), field) is None
    assert cell_widths_check(None).verdict == "pass"


def test_red_cells_taken_for_white_ones_are_measured_too() -> None:
    field = field_at(0.6)
    widths = cell_widths(cells_of(40.0, kind="wbc"), field)
    assert widths is not None and widths.kinds_in_doubt
    assert widths.ratio == pytest.approx(40 * 0.6 / RED_CELL_DIAMETER_UM / BOX_OVER_CELL)


def test_sharpness_is_judged_at_the_coarsest_scale_that_was_read(
    cases_root: Path, reader: FieldReader
) -> None:
    """A scale that grew finer when it was begun again does not make the field sharper."""
    frame = read_frame(cases_root / "control_650_red_single.jpg")
    field = reader.read_canonical(frame)[1]
    regions = field_regions(field)
    plain = focus_check(field, regions)
    assert field.scale_estimate is not None
    doubtful = replace(
        field,
        scale_estimate=replace(field.scale_estimate, coarsest_um_per_px=2 * field.frame_um_per_px),
    )
    assert plain.value is not None and plain.verdict == "pass"
    judged = focus_check(doubtful, regions)
    assert (judged.verdict, judged.code) == ("fail", "OUT_OF_FOCUS")
    assert judged.value == pytest.approx(plain.value / 2)
    finer = replace(field, scale_estimate=replace(field.scale_estimate, coarsest_um_per_px=0.01))
    assert focus_check(finer, regions) == plain
