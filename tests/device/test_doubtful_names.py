"""Cells unlike all that was learnt from, samples of another microscope, names that alarm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.bundle.manifest import FamiliarityRule, KindOperatingPoint, ScoreCalibration
from edgehemo.cells.cell import UNCERTAIN, Cell, CellKind, CountInterval, FieldCells
from edgehemo.cells.shares import TypeShare
from edgehemo.cells.typing import ALARMING_TYPES, PLATELET, CellClassifier, CellTyper
from edgehemo.estimate.network import ANAEMIA_LOG_ODDS, FieldNetwork, FieldNetworks
from edgehemo.quality.check import QualityReport
from edgehemo.report.pictures import CELL_PX, cell_picture
from edgehemo.screening.cell_types import sample_types
from edgehemo.screening.doubtful_names import (
    ALARMING_CELLS,
    ALARMING_SCORE,
    borne_out,
    strange_kinds,
)
from edgehemo.screening.field import FieldReader, FieldReading
from edgehemo.screening.findings import CODE_OF_TYPE, findings_of
from edgehemo.screening.sample import Screening
from tests.support.analyser_samples import indices
from tests.support.classifiers import SIDE, entry

RULE = FamiliarityRule(
    cell_from=0.5, sample_from=0.55, sample_cells=5, strange_cell_from=0.7, cells=500
)
WHITE = ["neutrophil", "myeloblast", PLATELET, "other"]


class FamiliarityRunner:
    """Calls every crop the first class; how familiar it is, its first pixel says in per cent."""

    name, version = "familiarity", "1"

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        known = codes[:, 0, 0, 0].astype(np.float32)[:, None] / 100
        sure = np.tile(np.array([[0.97, 0.01, 0.01, 0.01]], np.float32), (len(codes), 1))
        return np.concatenate([sure, known], axis=1)


def classifier() -> CellClassifier:
    return CellClassifier(FamiliarityRunner(), entry(familiarity=RULE, classes=WHITE))


TYPER = CellTyper({"nucleated": classifier()})


def crops(*per_cent: int) -> NDArray[np.uint8]:
    return np.stack([np.full((SIDE, SIDE, 3), value, np.uint8) for value in per_cent])


def reading(*cells: Cell, image: str = "a.png") -> FieldReading:
    found = FieldCells(cells, {}, {}, 0.1)
    return FieldReading(image, 640, 480, 0.25, "given", QualityReport(()), found, None)


def cell(
    number: int,
    type_: str = "neutrophil",
    *,
    kind: CellKind = "wbc",
    familiarity: float | None = 0.8,
    score: float = 0.9,
) -> Cell:
    x, y = 60 + 60 * (number % 9), 60 + 60 * (number // 9)
    return Cell(kind, x, y, x + 40, y + 40, 0.9, type_, score, familiarity=familiarity)


def test_a_cell_unlike_all_that_was_learnt_from_is_not_named() -> None:
    model = classifier()
    answers = model.answers(crops(80, 50, 49, 0))
    assert answers.shape == (4, 5) and model.probabilities(crops(80)).shape == (1, 4)
    naming = model.named(answers)
    assert naming.names == ("neutrophil", "neutrophil", UNCERTAIN, UNCERTAIN)
    assert naming.familiarity is not None
    np.testing.assert_allclose(naming.familiarity, [0.8, 0.5, 0.49, 0.0])
    known, strange = (model.verdict(row) for row in answers[[0, 2]])
    assert known.certain and not known.unlike and known.familiarity == pytest.approx(0.8)
    assert strange.unlike and not strange.certain and strange.type == "neutrophil"
    # What is none of the types is told as before.
    assert model.rejected(answers).tolist() == pytest.approx([0.01] * 4)


def test_a_sample_of_another_microscope_is_known_by_its_median() -> None:
    home = reading(*(cell(n) for n in range(5)))
    abroad = reading(*(cell(n, familiarity=0.4 if n < 3 else 0.9) for n in range(5)))
    few = reading(*(cell(n, familiarity=0.1) for n in range(4)))
    assert strange_kinds([home], TYPER) == {}
    assert strange_kinds([abroad], TYPER) == {"wbc": RULE}
    assert strange_kinds([few], TYPER) == {}, "too few to tell"
    assert strange_kinds([home, *[abroad] * 6], TYPER) == {"wbc": RULE}
    # An older bundle tells no familiarity.
    assert strange_kinds([abroad], CellTyper({"nucleated": _without_rule()})) == {}
    assert strange_kinds([abroad], None) == {}


def _without_rule() -> CellClassifier:
    return CellClassifier(FamiliarityRunner(), entry(classes=WHITE))


def test_abroad_only_what_looks_alike_keeps_its_name_and_no_share_is_given() -> None:
    field = reading(
        cell(0, familiarity=0.9),
        cell(1, familiarity=0.6),
        cell(2, "myeloblast", familiarity=0.9, score=0.99),
        cell(3, "normal", kind="rbc", familiarity=0.1),
    )
    changed = borne_out([field], {"wbc": RULE})
    names = [one.type for one in _cells(changed[0])]
    assert names == ["neutrophil", UNCERTAIN, UNCERTAIN, "normal"]
    types, _ = sample_types([changed[0]], TYPER, ("wbc", "rbc"))
    assert types is not None and types.white_cells is None and types.red_cells is None
    for said in (types.white_cells_reason, types.red_cells_reason):
        assert said == "this microscope or stain differs from those the types were learnt on"


@pytest.mark.parametrize(("familiarity", "silent"), [(0.9, False), (0.2, True)])
def test_the_anaemia_screen_is_silent_abroad(familiarity: float, silent: bool) -> None:
    """It learnt from fewer sets than the classifiers: whose cells they do not know it does not."""
    measured = replace(indices(0.4, 0.4), model={ANAEMIA_LOG_ODDS: 6.0})
    found = _cells(reading(*(cell(n, familiarity=familiarity) for n in range(6))))
    none = CountInterval(0.0, 0.0, 3.7)
    cells = FieldCells(found, {}, dict.fromkeys(("rbc", "wbc", "platelet"), none), 0.1)
    field = replace(reading(), cells=cells, indices=measured)
    networks = FieldNetworks(
        screen=FieldNetwork(FamiliarityRunner(), None),
        screen_point=KindOperatingPoint(
            threshold=0.5,
            calibration=ScoreCalibration(slope=1.0, intercept=0.0),
            count_relative_sd=0.0,
        ),
    )
    reader = FieldReader(None, typer=TYPER, networks=networks)
    made = Screening(reader, images=[field]).finish()
    assert (made.anaemia_screen is None) == silent
    assert made.anaemia_screen_reason == (
        "the fields are unlike those the anaemia screen was trained on" if silent else ""
    )


def _cells(field: FieldReading) -> tuple[Cell, ...]:
    assert field.cells is not None
    return field.cells.cells


def test_one_blast_is_no_blast_unless_it_is_certain() -> None:
    one = reading(cell(0, "myeloblast"), cell(1))
    assert [c.type for c in _cells(borne_out([one], {})[0])] == [UNCERTAIN, "neutrophil"]
    assert borne_out([one] * ALARMING_CELLS, {}) == {}
    certain = reading(cell(0, "myeloblast", score=ALARMING_SCORE), cell(1))
    assert borne_out([certain], {}) == {}
    assert borne_out([reading(cell(1)), replace(one, cells=None)], {}) == {}


def test_platelets_are_not_counted_among_white_cells() -> None:
    types, _ = sample_types([reading(cell(0), cell(1, PLATELET, kind="platelet"))], TYPER)
    assert types is not None and types.white_cells is not None
    assert set(types.white_cells) == {"neutrophil", "myeloblast", UNCERTAIN}
    assert types.white_cells["neutrophil"].value == 1


@pytest.mark.parametrize(
    ("type_", "kind", "count", "code"),
    [
        ("myeloblast", "wbc", 2, "BLASTS_SEEN"),
        ("erythroblast", "wbc", 2, "ERYTHROBLASTS_SEEN"),
        ("immature_granulocyte", "wbc", 3, "IMMATURE_GRANULOCYTES_SEEN"),
        ("schistocyte", "rbc", 5, "SCHISTOCYTES_SEEN"),
        ("sickle_cell", "rbc", 3, "SICKLE_CELLS_SEEN"),
    ],
)
def test_what_a_person_must_see_is_a_finding_with_its_cells(
    type_: str, kind: CellKind, count: int, code: str
) -> None:
    plain = [cell(n, "normal", kind="rbc") for n in range(20)]
    marked = [cell(30 + n, type_, kind=kind) for n in range(count)]
    images: list[Any] = [reading(*plain), object(), reading(*marked)]
    (found,) = findings_of(images)
    assert found.code == code and str(count) in found.reason
    assert [(c.image, c.x0) for c in found.cells] == [(2, c.x0) for c in marked]


def test_few_fragments_are_no_finding() -> None:
    plain = [cell(n % 50, "normal", kind="rbc") for n in range(400)]
    few = [cell(n, "schistocyte", kind="rbc") for n in range(4)]
    assert findings_of([reading(*plain, *few)]) == ()
    # Five of 405 are more than one in a hundred, but by their interval may be fewer.
    assert findings_of([reading(*plain, *few, cell(5, "schistocyte", kind="rbc"))]) == ()


def test_names_that_the_shares_explain_by_other_types_are_no_finding() -> None:
    """35 of 817 cells named fragments, as many as are named so where there are none."""
    plain = [cell(n % 50, "normal", kind="rbc") for n in range(782)]
    named = [cell(n, "schistocyte", kind="rbc") for n in range(35)]
    images = [reading(*plain, *named)]
    mistaken = TypeShare("schistocyte", 35, 0.002, 0.0, 0.083)
    real = TypeShare("schistocyte", 35, 0.04, 0.01, 0.083)
    assert findings_of(images, [mistaken]) == ()
    for shares in ([real], None):
        (found,) = findings_of(images, shares)
        assert found.code == "SCHISTOCYTES_SEEN"


def test_a_found_cell_is_cut_from_its_field_even_at_the_corner(tmp_path: Path) -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:40, 30:50] = 200
    middle = cell_picture(picture, (30, 20, 50, 40))
    assert middle.shape == (CELL_PX, CELL_PX, 3)
    assert middle[CELL_PX // 2, CELL_PX // 2].tolist() == [200, 200, 200]
    assert middle[2, 2].tolist() == [0, 0, 0]
    assert cell_picture(picture, (-3.0, -2.0, 6.0, 5.0)).shape == (CELL_PX, CELL_PX, 3)


def test_a_type_that_alarms_asks_for_more_familiarity() -> None:
    class Blasts(FamiliarityRunner):
        def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
            answers = super().run(codes)
            answers[:, [0, 1]] = answers[:, [1, 0]]
            return answers

    model = CellClassifier(Blasts(), entry(familiarity=RULE, classes=WHITE))
    naming = model.named(model.answers(crops(60, 71)))
    assert naming.names == (UNCERTAIN, "myeloblast")


def test_every_type_that_alarms_is_a_finding() -> None:
    assert set(CODE_OF_TYPE) == set(ALARMING_TYPES)
