"""Round cells drawn into other shapes, isolated cells of fields, and what their outline tells."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = pytest.mark.host
pytest.importorskip("torch")

from edgehemo.bundle.manifest import ConformalRule, FamiliarityRule
from edgehemo.cells.outline import Outline, outline_in_middle, outlines_of_field
from edgehemo.cells.shapes import allows
from edgehemo.field.canonical import CLEAR_FIELD_CODE
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops, CropOptions
from edgehemo_export.data.sets import bccd, chula_disease
from edgehemo_export.models.classifiers.morphology.by_outline import device_names, outline_metrics
from edgehemo_export.models.classifiers.morphology.card import card
from edgehemo_export.models.classifiers.morphology.data import MORPHOLOGY_CLASSES, SOURCE
from edgehemo_export.models.classifiers.morphology.drawn_cells import DRAWN_A_SOURCE, drawn_cells
from edgehemo_export.models.classifiers.morphology.drawn_shapes import DRAWN, CellShape, reshaped
from edgehemo_export.models.classifiers.morphology.export import kept_out_confusion
from edgehemo_export.models.classifiers.morphology.isolated_cells import (
    A_FIELD,
    LONG_TYPES,
    POINTED_TYPES,
    ROUND_TYPES,
    IsolatedCells,
    isolated_cells,
    partly_known,
    possible_types,
)
from edgehemo_export.models.classifiers.morphology.run import read_config
from edgehemo_export.models.classifiers.predictions import Predicted

SIDE = 88
RADIUS_PX = 14.5
KINDS = len(MORPHOLOGY_CLASSES)


def round_cell(neighbour: tuple[int, int] | None = None, seed: int = 0) -> NDArray[np.uint8]:
    """A crop of noisy clear field with a round, pale-centred cell in the middle."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(CLEAR_FIELD_CODE, 2.0, (SIDE, SIDE, 3))
    down, across = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    places = [(0, 0)] if neighbour is None else [(0, 0), neighbour]
    for x, y in places:
        away = np.hypot(across - x, down - y)
        inside = away < RADIUS_PX
        codes[inside] = np.array([150, 95, 110]) + 30 * np.exp(-((away[inside] / 5) ** 2))[:, None]
    return np.clip(codes, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("angle", [0.0, 0.6, 1.9])
@pytest.mark.parametrize("elongation", [1.4, 2.0, 2.8])
def test_an_ellipse_is_as_long_as_it_was_asked_to_be(elongation: float, angle: float) -> None:
    before = outline_in_middle(round_cell())
    drawn = reshaped(round_cell(), CellShape(elongation, angle=angle))
    assert before is not None and drawn is not None
    outline = outline_in_middle(drawn)
    assert outline is not None and before.elongation < 1.1
    assert outline.elongation == pytest.approx(elongation, abs=0.2)
    assert outline.area_um2 == pytest.approx(before.area_um2, rel=0.12)
    assert outline.solidity > 0.95 and min(outline.tips) > 0.55
    # The long axis lies where it was asked for.
    green = drawn[..., 1].astype(float)
    down, across = np.nonzero(green < 160)
    spread = np.cov(np.stack([across, down]))
    found = 0.5 * math.atan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1])
    assert abs(math.remainder(found - angle, math.pi)) < 0.1


@pytest.mark.parametrize("bend", [0.0, 0.7])
def test_a_sickle_cell_is_pointed_at_both_ends_and_allowed_as_one(bend: float) -> None:
    drawn = reshaped(round_cell(), CellShape(2.8, tips=(1.1, 1.2), bend=bend, angle=0.4))
    assert drawn is not None
    outline = outline_in_middle(drawn)
    assert outline is not None
    assert max(outline.tips) < 0.62
    assert allows("sickle_cell", outline) and not allows("normal", outline)


def test_a_teardrop_is_pointed_at_one_end() -> None:
    drawn = reshaped(round_cell(), CellShape(1.8, tips=(0.5, 2.2), angle=1.0))
    assert drawn is not None
    outline = outline_in_middle(drawn)
    assert outline is not None
    assert outline.tips[0] < 0.4 and outline.tips[1] > outline.tips[0] + 0.2


@pytest.mark.parametrize("name", list(DRAWN))
def test_what_is_drawn_is_of_its_type_and_the_same_from_the_same_chance(name: str) -> None:
    """Of thirty draws nearly all have an outline that their type allows."""
    shapes = [DRAWN[name].draw(np.random.default_rng(seed)) for seed in range(30)]
    assert shapes == [DRAWN[name].draw(np.random.default_rng(seed)) for seed in range(30)]
    found = [reshaped(round_cell(), shape) for shape in shapes]
    again = reshaped(round_cell(), shapes[0])
    first = found[0]
    assert first is not None and again is not None and np.array_equal(first, again)
    kept = [codes for codes in found if codes is not None]
    assert len(kept) >= 26
    allowed = [allows(name, outline_in_middle(codes)) for codes in kept]
    assert np.mean(allowed) > 0.9


def test_the_rest_of_the_crop_stays_as_it_was_and_the_cell_keeps_its_stain() -> None:
    before = round_cell(neighbour=(-34, 0))
    drawn = reshaped(before, CellShape(2.0, angle=math.pi / 2))
    assert drawn is not None
    down, across = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    far = (np.abs(across) > RADIUS_PX + 12) | (np.abs(down) > 1.5 * RADIUS_PX + 10)
    assert np.array_equal(drawn[far], before[far])
    was, now = before[..., 1] < 140, drawn[..., 1] < 140
    near = ~far
    assert np.median(drawn[now & near], axis=0) == pytest.approx(
        np.median(before[was & near], axis=0), abs=4
    )
    # Where the round cell was and the drawn one is not there is clear field.
    left = (np.abs(across) > 12) & (np.abs(across) < RADIUS_PX) & (np.abs(down) < 5)
    assert np.abs(drawn[left].astype(int) - CLEAR_FIELD_CODE).mean() < 8


def test_what_cannot_be_drawn_is_none() -> None:
    assert reshaped(round_cell(neighbour=(26, 0)), CellShape(1.5)) is None, "a touching pair"
    assert reshaped(round_cell(neighbour=(31, 0)), CellShape(3.0)) is None, "into its neighbour"
    assert reshaped(round_cell(neighbour=(31, 0)), CellShape(3.0, angle=math.pi / 2)) is not None
    assert reshaped(np.full((SIDE, SIDE, 3), CLEAR_FIELD_CODE, np.uint8), CellShape(2.0)) is None
    crowded = np.full((SIDE, SIDE, 3), 140, np.uint8)
    assert reshaped(crowded, CellShape(2.0)) is None


def test_every_outline_of_a_field_is_placed() -> None:
    field = np.full((120, 200, 3), CLEAR_FIELD_CODE, np.uint8)
    cv2.circle(field, (50, 60), 14, (150, 90, 100), -1)
    cv2.ellipse(field, (140, 60), (22, 10), 30, 0, 360, (150, 90, 100), -1)
    cv2.circle(field, (100, 2), 14, (150, 90, 100), -1)
    placed = sorted(outlines_of_field(field), key=lambda cell: cell.x)
    assert [(round(cell.x), round(cell.y)) for cell in placed] == [(50, 60), (140, 60)]
    assert placed[0].outline.elongation < 1.1 < 1.8 < placed[1].outline.elongation


ROUND = Outline(45.0, 1.04, 0.98, (0.65, 0.65), 0.9)
LONG = Outline(40.0, 2.2, 0.95, (0.65, 0.7), 0.6)
POINTED = Outline(35.0, 2.6, 0.9, (0.4, 0.5), 0.5)
BETWEEN = Outline(45.0, 1.35, 0.97, (0.6, 0.6), 0.85)
PAIR = Outline(70.0, 1.9, 0.85, (0.6, 0.7), 0.6)


def test_an_outline_leaves_the_types_of_its_shape() -> None:
    assert possible_types(ROUND) == ROUND_TYPES and "sickle_cell" not in ROUND_TYPES
    assert possible_types(LONG) == LONG_TYPES and "normal" not in LONG_TYPES
    assert possible_types(POINTED) == POINTED_TYPES == ("sickle_cell",)
    assert possible_types(BETWEEN) == possible_types(PAIR) == ()
    assert {*ROUND_TYPES, *LONG_TYPES} == set(MORPHOLOGY_CLASSES)
    # The device's own limits agree: what an outline leaves possible is allowed there.
    for outline in (ROUND, LONG, POINTED):
        assert any(allows(name, outline) for name in possible_types(outline))
    assert not any(allows(name, LONG) for name in ROUND_TYPES if name != "uncategorised")


def cells(outlines: list[Outline], source: str = "bccd") -> IsolatedCells:
    n = len(outlines)
    crops = CellCrops(
        classes=MORPHOLOGY_CLASSES,
        codes=np.stack([round_cell(seed=i) for i in range(n)]),
        labels=np.full(n, 10, np.intp),
        sources=np.full(n, source),
        groups=np.array([f"{source}-{i // 4:03d}" for i in range(n)]),
        names=np.array([f"cell {i}" for i in range(n)]),
        um_per_px=0.25,
        files=tuple(Path(f"{i}.png") for i in range(n)),
        keys=tuple(f"{source}/{i}" for i in range(n)),
    )
    return IsolatedCells(crops, tuple(outlines))


def test_cells_whose_outline_tells_nothing_are_not_learnt_from() -> None:
    known = partly_known(cells([ROUND, BETWEEN, LONG, PAIR, POINTED]))
    assert known.crops.names.tolist() == ["cell 0", "cell 2", "cell 4"]
    told = [[MORPHOLOGY_CLASSES[i] for i in np.flatnonzero(row)] for row in known.possible]
    assert [set(names) for names in told] == [set(ROUND_TYPES), set(LONG_TYPES), {"sickle_cell"}]
    assert not len(partly_known(cells([BETWEEN])).crops)


def test_drawn_cells_bear_what_the_round_cell_bore(tmp_path: Path) -> None:
    isolated = cells([ROUND, LONG, ROUND, ROUND, ROUND, ROUND])
    labelled = dataclasses.replace(
        cells([ROUND, ROUND, ROUND], SOURCE).crops, labels=np.array([0, 8, 3], np.intp)
    )
    drawn = drawn_cells(isolated, labelled, tmp_path)
    assert {MORPHOLOGY_CLASSES[i] for i in drawn.labels} == set(DRAWN)
    assert len(drawn) <= 4 * 7 <= DRAWN_A_SOURCE
    for name, key, group, source, file in zip(
        drawn.names, drawn.keys, drawn.groups, drawn.sources, drawn.files, strict=True
    ):
        base = isolated.crops if source == "bccd" else labelled
        at = base.names.tolist().index(str(name).split(" as ")[0])
        assert (base.keys[at], base.groups[at], base.files[at]) == (key, group, file)
        # Neither the long isolated cell nor the burr cell is drawn from.
        assert at != 1
    again = drawn_cells(isolated, labelled, tmp_path)
    assert np.array_equal(again.codes, drawn.codes) and len(list(tmp_path.rglob("*.npz"))) == 1
    fresh = drawn_cells(isolated, labelled, None)
    assert np.array_equal(fresh.codes, drawn.codes), "the same at every call"
    other = drawn_cells(isolated, labelled.where(labelled.labels != 3), tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) == 2 and len(other) < len(drawn)


def test_isolated_cells_are_taken_of_the_fields(data_root: Path, tmp_path: Path) -> None:
    options = CropOptions(side_px=56, margin_px=16)
    assert not len(isolated_cells(tmp_path, options, None)), "a root that has none of the sets"
    for name in ("images", "boxes"):
        folder = tmp_path / bccd.SOURCE / name
        folder.mkdir(parents=True)
        for path in sorted((data_root / bccd.SOURCE / name).iterdir())[:10]:
            (folder / path.name).symlink_to(path.resolve())
    disease = tmp_path / chula_disease.SOURCE / "hereditary_elliptocytosis"
    disease.mkdir(parents=True)
    for path in sorted((data_root / chula_disease.SOURCE / disease.name).iterdir())[:2]:
        (disease / path.name).symlink_to(path.resolve())
    found = isolated_cells(tmp_path, options, tmp_path / "cache")
    assert set(found.crops.sources.tolist()) == {bccd.SOURCE, chula_disease.SOURCE}
    for file in set(found.crops.files):
        own = found.where(np.array([path == file for path in found.crops.files]))
        most = A_FIELD[str(own.crops.sources[0])]
        assert own.round().sum() <= most and (~own.round()).sum() <= most
    # Each crop shows the very cell that the outline is of
    # (a crop has its own threshold, at which a few touch their neighbours).
    areas = np.array([outline.area_um2 for outline in found.outlines])
    seen = [outline_in_middle(codes) for codes in found.crops.codes]
    again = np.array([math.nan if outline is None else outline.area_um2 for outline in seen])
    assert np.mean(np.abs(again / areas - 1) < 0.15) > 0.85
    elliptocytes = found.only(chula_disease.SOURCE)
    assert (~elliptocytes.round()).sum() > 20
    same = isolated_cells(tmp_path, options, tmp_path / "cache")
    assert np.array_equal(same.crops.codes, found.crops.codes) and same.outlines == found.outlines
    one = isolated_cells(tmp_path, options, None, lambda picture: picture.source == bccd.SOURCE)
    assert one.outlines == found.only(bccd.SOURCE).outlines


RULE = ConformalRule(coverage=0.8, thresholds=dict.fromkeys(MORPHOLOGY_CLASSES, 0.5), cells=100)
FAMILIAR = FamiliarityRule(cell_from=0.5, sample_from=0.5, sample_cells=5, cells=100)


def told(isolated: IsolatedCells, types: list[str], familiar: list[float]) -> Predicted:
    p = np.full((len(types), KINDS), 0.02, np.float32)
    p[np.arange(len(types)), [MORPHOLOGY_CLASSES.index(name) for name in types]] = 0.74
    return Predicted(isolated.crops, p, np.array(familiar, np.float32))


def test_types_are_held_against_the_outlines() -> None:
    assert "uncategorised" in LONG_TYPES and "uncategorised" in ROUND_TYPES
    dumb = cells([LONG, ROUND])
    evaded = outline_metrics(dumb, told(dumb, ["uncategorised"] * 2, [0.9] * 2), RULE, None, "x")
    assert [m.value for m in evaded if m.name.startswith("named")] == [0.0, 0.0]
    isolated = cells([LONG, LONG, LONG, POINTED, ROUND, ROUND, BETWEEN])
    types = ["elliptocyte", "normal", "schistocyte", "sickle_cell", "normal", "teardrop", "normal"]
    predicted = told(isolated, types, [0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9])
    found = {m.name: m for m in outline_metrics(isolated, predicted, RULE, FAMILIAR, "somewhere")}
    assert {m.source for m in found.values()} == {"somewhere"}

    def value(name: str) -> tuple[float, int | None]:
        return round(found[name].value, 3), found[name].images

    assert value("long cells given a type that long cells have") == (0.75, 4)
    assert value("long cells given ovalocyte, elliptocyte, teardrop or sickle_cell") == (0.5, 4)
    assert value("cells pointed at both ends given sickle_cell") == (1.0, 1)
    assert value("round cells given a type that no round cell has") == (0.5, 2)
    assert value("round cells given sickle_cell") == (0.0, 2)
    # The long normal cell is against its outline, the schistocyte unlike all that was learnt.
    assert value("long cells named (not uncertain)") == (0.5, 4)
    assert value("named long cells with a type that long cells have") == (1.0, 2)
    assert value("round cells named (not uncertain)") == (0.5, 2)
    low, high = (
        found["long cells named (not uncertain)"].low,
        found["long cells named (not uncertain)"].high,
    )
    assert low is not None and high is not None and low < 0.2 < 0.8 < high
    names = device_names(isolated.outlines, predicted, RULE, FAMILIAR)
    assert (names == KINDS).tolist() == [False, True, True, False, False, True, False]
    rounds = cells([ROUND])
    alone = outline_metrics(rounds, told(rounds, ["normal"], [0.9]), RULE, None, "x")
    assert not any("long cells" in m.name and m.name.startswith("long") for m in alone)


def test_drawn_cells_stand_in_for_a_type_that_nobody_labelled() -> None:
    tune, test, drawn = (np.zeros((KINDS, KINDS + 1), int) for _ in range(3))
    tune[0, 0], tune[13, 13], test[0, 1], drawn[13, 12] = 5, 4, 7, 2
    record = {
        "tune_confusion": {"counts": tune.tolist()},
        "tables": {"confusion": {SOURCE: test.tolist()}, "drawn_confusion": drawn.tolist()},
    }
    both = kept_out_confusion(Checkpoint("morphology", {}, record))
    assert both.counts == (tune + test + drawn).tolist()


def test_the_card_leads_with_the_sources_left_out() -> None:
    metric = {"name": "accuracy", "value": 0.8, "low": 0.7, "high": 0.9, "images": 10}
    record = {
        "configuration": read_config().model_dump(),
        "classes": list(MORPHOLOGY_CLASSES),
        "conformal": RULE.model_dump(),
        "temperature": 1.0,
        "run": {"software_version": "0", "torch": "0"},
        "steps": 1,
        "seconds": 60.0,
        "best": {"step": 1, "score": 0.1},
        "split": "edgehemo-2",
        "drawn_alone": ["sickle_cell"],
        "metrics": [
            {**metric, "source": SOURCE},
            {**metric, "source": "uganda_phone, isolated cells, left out of training"},
        ],
    }
    text = card(Checkpoint("morphology", {}, record))
    first, second = text.index("## On sources left out whole"), text.index("## Kept-out test part")
    assert first < text.index("uganda_phone") < second < text.index(f"| {SOURCE} |")
    assert text.index("uganda_phone") == text.rindex("uganda_phone"), "told once"
    assert "drawn cells of kept-out groups stand for it" in text and "15% of every batch" in text
