"""Red cells that hold inclusions: told from white ones, never lost, and a finding when many."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.cells.cell import Cell, CountInterval, DoubtfulCell, FieldCells
from edgehemo.cells.inclusions import with_inclusions
from edgehemo.cells.maps import rival_scores
from edgehemo.cli import run
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.guidance.catalogue import guidance
from edgehemo.images.frame import Frame
from edgehemo.quality.check import QualityReport
from edgehemo.screening.field import FieldReading
from edgehemo.screening.findings import findings_of, inclusions_stand_out
from edgehemo.simulation.field import SimulatedField, simulate_field
from edgehemo.simulation.panels import draw_panel
from edgehemo.simulation.parameters import SmearParameters
from edgehemo.statistics.poisson import poisson_interval

SCALE = 0.25
CLEAR = (235, 225, 190)
RED = (200, 150, 120)
DARK = (50, 40, 70)
# A drawn red cell of 7.5 um.
RADIUS_PX = 15
COLUMNS, ROWS, PITCH = 6, 4, 44


def picture(drawn: str = "dots", colour: tuple[int, int, int] = DARK) -> Frame:
    """Cells on a grid, 24 in all; in the first one what ``drawn`` says."""
    pixels = np.full((ROWS * PITCH, COLUMNS * PITCH, 3), CLEAR, np.uint8)
    for row in range(ROWS):
        for column in range(COLUMNS):
            cv2.circle(pixels, centre(row * COLUMNS + column), RADIUS_PX, RED, -1, cv2.LINE_AA)
    x, y = centre(0)
    if drawn == "dots":
        for dx, dy in ((-5, -3), (4, 2), (0, 6)):
            cv2.circle(pixels, (x + dx, y + dy), 2, colour, -1, cv2.LINE_AA)
    elif drawn == "ring":
        cv2.circle(pixels, (x + 2, y - 2), 5, colour, 2, cv2.LINE_AA)
    elif drawn == "nucleus":
        cv2.circle(pixels, (x, y), 8, colour, -1, cv2.LINE_AA)
    elif drawn == "pointer":
        cv2.line(pixels, (x - 40, y), (x + 6, y), colour, 3)
    return Frame(cv2.GaussianBlur(pixels, (0, 0), 0.8).astype(np.uint8), "drawn")


def centre(number: int) -> tuple[int, int]:
    row, column = divmod(number, COLUMNS)
    return column * PITCH + PITCH // 2, row * PITCH + PITCH // 2


def box(number: int, kind: str = "rbc", reach: int = RADIUS_PX + 1) -> Cell:
    x, y = centre(number)
    return Cell(kind, x - reach, y - reach, x + reach, y + reach, 0.8)  # type: ignore[arg-type]


def interval(value: float) -> CountInterval:
    return CountInterval(value, *poisson_interval(value))


def found(first: str = "rbc") -> FieldCells:
    cells = (box(0, first), *(box(number) for number in range(1, COLUMNS * ROWS)))
    white = sum(cell.kind == "wbc" for cell in cells)
    return FieldCells(
        cells,
        {"rbc": len(cells) - white, "wbc": white, "platelet": 0},
        {"rbc": interval(20.0), "wbc": interval(white * 0.8), "platelet": interval(0.0)},
        0.01,
    )


def field_of(frame: Frame) -> CanonicalField:
    return canonical_field(frame, um_per_px=SCALE)


@pytest.mark.parametrize("drawn", ["dots", "ring"])
def test_a_white_cell_that_is_a_red_one_with_dots_or_a_ring_is_red(drawn: str) -> None:
    after = with_inclusions(found("wbc"), field_of(picture(drawn)))
    assert after.counts == {"rbc": 24, "wbc": 0, "platelet": 0}
    assert [cell.inclusion for cell in after.cells] == [True, *[False] * 23]
    assert after.cells[0].kind == "rbc"
    assert after.interior_counts["rbc"].value > 20.0


@pytest.mark.parametrize("drawn", ["nucleus", "pointer", "nothing"])
@pytest.mark.parametrize("kind", ["rbc", "wbc"])
def test_a_nucleus_a_pointer_and_a_plain_cell_are_none(drawn: str, kind: str) -> None:
    before = found(kind)
    assert with_inclusions(before, field_of(picture(drawn))) == before


def test_a_platelet_on_a_cell_is_the_platelets() -> None:
    before = found()
    x, y = centre(0)
    platelet = Cell("platelet", x - 9, y - 9, x + 9, y + 10, 0.9)
    before = replace(
        before, cells=(*before.cells, platelet), counts=before.counts | {"platelet": 1}
    )
    assert with_inclusions(before, field_of(picture("dots"))) == before


def test_two_cells_one_on_the_other_and_a_grey_picture_hold_nothing() -> None:
    darker = tuple(round(value * value / clear) for value, clear in zip(RED, CLEAR, strict=True))
    lens = picture("dots", darker)  # type: ignore[arg-type]  # of three
    assert not any(cell.inclusion for cell in with_inclusions(found(), field_of(lens)).cells)
    grey = np.repeat(picture("dots").pixels[..., 1:2], 3, axis=2)
    without = with_inclusions(found("wbc"), field_of(Frame(np.ascontiguousarray(grey), "grey")))
    assert without == found("wbc")


def test_a_cell_that_the_finder_divided_between_two_kinds_is_not_lost() -> None:
    whole = found("wbc")
    doubtful = DoubtfulCell(box(0, "wbc"), 0.5)
    before = replace(
        whole,
        cells=whole.cells[1:],
        counts={"rbc": 23, "wbc": 0, "platelet": 0},
        interior_counts=whole.interior_counts | {"wbc": interval(0.5)},
        doubtful=(doubtful,),
    )
    after = with_inclusions(before, field_of(picture("dots")))
    assert after.counts["rbc"] == 24 and after.doubtful == ()
    assert after.cells[-1].inclusion and after.cells[-1].kind == "rbc"
    assert after.interior_counts["wbc"].value == pytest.approx(0.0)
    assert after.interior_counts["rbc"].value == pytest.approx(20.8)
    # What looks like no red cell stays what it was: not reported.
    plain = with_inclusions(before, field_of(picture("nucleus")))
    assert plain == replace(before, doubtful=())


def test_a_rival_is_the_other_kind_in_the_same_place() -> None:
    rows = np.array(
        [
            [0, 0, 30, 30, 0.44, 0],
            [1, 0, 31, 30, 0.40, 1],
            [1, 1, 30, 31, 0.35, 1],
            [0, 0, 30, 30, 0.60, 2],  # a platelet is no rival
            [100, 0, 130, 30, 0.9, 0],
            [118, 0, 148, 30, 0.8, 1],  # a neighbour
        ],
        np.float32,
    )
    assert rival_scores(rows, (0, 1)) == pytest.approx([0.40, 0.44, 0.44, 0, 0, 0])
    assert rival_scores(rows[:0], (0, 1)).shape == (0,)


def test_the_parasitised_picture_has_130_red_cells_and_no_white_one(
    cases_root: Path, tmp_path: Path
) -> None:
    picture = str(cases_root / "parasitised_130_red_no_white.jpg")
    out = tmp_path / "cells.json"
    assert run(["cells", picture, "--json", str(out)]) == 0
    (entry,) = json.loads(out.read_text())["images"]
    assert entry["counts"] == {"rbc": 130, "wbc": 0, "platelet": 0}
    assert 40 <= sum(cell["inclusion"] for cell in entry["cells"]) <= 50
    named = {cell["type"] for cell in entry["cells"]}
    assert not named & {"erythroblast", "neutrophil", "myeloblast", "target_cell"}


def test_many_inclusions_are_told_in_the_result_and_the_report(
    cases_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(cases_root / "parasitised_130_red_no_white.jpg")
    out = tmp_path / "out"
    assert run(["screen", picture, "--out", str(out)]) == 0
    (finding,) = json.loads((out / "result.json").read_text())["sample"]["findings"]
    assert finding["code"] == "RED_CELLS_WITH_INCLUSIONS"
    assert "Malaria parasites are possible" in finding["action"]
    report = (out / "report.html").read_text()
    assert "Many red cells hold inclusions" in report
    assert guidance("RED_CELLS_WITH_INCLUSIONS").action in report
    assert "many red cells hold inclusions" in capsys.readouterr().out


def test_few_inclusions_are_no_finding() -> None:
    assert not inclusions_stand_out(4, 20)
    assert not inclusions_stand_out(7, 1000), "stain deposits"
    assert inclusions_stand_out(10, 130)
    assert not inclusions_stand_out(0, 0)
    cells = tuple(replace(box(n), inclusion=n < 6) for n in range(COLUMNS * ROWS))
    reading = FieldReading(
        "a.png", 264, 176, SCALE, "given", QualityReport(()), replace(found(), cells=cells), None
    )
    (told,) = findings_of([reading])
    assert told.code == "RED_CELLS_WITH_INCLUSIONS" and "6 of 24 (25.0 %)" in told.reason
    none = replace(reading, cells=found())
    assert findings_of([none, replace(reading, cells=None)]) == ()


# -- drawn by the simulated microscope ----------------------------------------------------------


@lru_cache(maxsize=2)
def drawn_field(fraction: float) -> SimulatedField:
    smear = SmearParameters(inclusion_fraction=fraction, white_cell_factor=0.0)
    return simulate_field(
        draw_panel(np.random.default_rng(2), hgb_g_per_l=130.0),
        rng=np.random.default_rng(8),
        width_px=640,
        height_px=480,
        um_per_px=0.2,
        smear=smear,
    )


def test_the_simulator_knows_which_cells_hold_inclusions() -> None:
    plain, infected = drawn_field(0.0), drawn_field(0.4)
    assert not any(cell.inclusion for cell in plain.truth.cells)
    red = infected.truth.of_kind("rbc")
    assert 0.25 < np.mean([cell.inclusion for cell in red]) < 0.55
    assert not any(cell.inclusion for cell in infected.truth.of_kind("platelet"))


def test_inclusions_are_dark_in_red_light_and_inside_their_cells() -> None:
    drawn = drawn_field(0.4)
    darkest: dict[bool, list[float]] = {True: [], False: []}
    for cell in drawn.truth.of_kind("rbc"):
        x0, y0, x1, y1 = (round(value) for value in (cell.x0, cell.y0, cell.x1, cell.y1))
        part = drawn.truth.transmittance[max(0, y0) : y1, max(0, x0) : x1, 0]
        if not cell.overlapped and part.size and min(cell.x0, cell.y0) > 0:
            darkest[cell.inclusion].append(float(part.min()))
    assert np.median(darkest[True]) < np.median(darkest[False]) - 0.1
