"""The red-cell classifier's data, network and run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.host
pytest.importorskip("torch")

import torch

from edgehemo.errors import UsageError
from edgehemo.field.canonical import CLEAR_FIELD_CODE
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops, CropOptions
from edgehemo_export.data.sets.chula_rbc12 import TYPES
from edgehemo_export.data.splits import PARTS, part_of
from edgehemo_export.models.classifiers.conformal import marginal_rule
from edgehemo_export.models.classifiers.morphology.data import (
    MORPHOLOGY_CLASSES,
    SOURCE,
    morphology_crops,
    read_labelled_fields,
)
from edgehemo_export.models.classifiers.morphology.evaluation import (
    accuracy_by_block,
    macro_metrics,
    misread_scale,
)
from edgehemo_export.models.classifiers.morphology.export import kept_out_confusion
from edgehemo_export.models.classifiers.morphology.run import read_config
from edgehemo_export.models.classifiers.predictions import Predicted
from edgehemo_export.nets.morphology_net import RedCellNet

DISC_PX = 38
KINDS = len(MORPHOLOGY_CLASSES)


def write_field(folder: Path, number: int, lines: list[str]) -> None:
    """A field of 640x480 with dark discs at the labelled places."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    picture = np.full((480, 640, 3), 210, np.uint8)
    for line in lines:
        x, y, _ = (int(v) for v in line.split())
        cv2.circle(picture, (x, y), DISC_PX // 2, (90, 60, 150), -1)
    cv2.imwrite(str(folder / "images" / f"{number}.jpg"), picture)
    (folder / "labels" / f"{number}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    folder = tmp_path / SOURCE
    write_field(folder, 7, ["100 120 0", "300 240 12", "500 400 8"])
    write_field(folder, 41, ["80 90 3", "400 200 3"])
    (folder / "labels" / "50.txt").write_text("", encoding="utf-8")
    return tmp_path


def test_cells_are_cut_from_the_middle_at_the_canonical_scale(small_set: Path) -> None:
    crops = morphology_crops(small_set, CropOptions(side_px=64, margin_px=8), None)
    assert crops.labels.tolist() == [0, 12, 8, 3, 3]
    assert [str(g) for g in crops.groups] == [f"{SOURCE}-000"] * 3 + [f"{SOURCE}-004"] * 2
    for code in crops.middle(64):
        rows, columns = np.nonzero(code[..., 1] < 150)
        # 0.20 um/px becomes 0.25: the disc shrinks by a fifth and stays in the middle.
        assert abs(np.ptp(columns) + 1 - DISC_PX * 0.8) < 2.5
        assert abs(rows.mean() - 31.5) < 1.0 and abs(columns.mean() - 31.5) < 1.0


def test_crops_come_from_the_cache_and_follow_their_labels(small_set: Path) -> None:
    options, cache = CropOptions(side_px=64, margin_px=8), small_set / "cache"
    first = morphology_crops(small_set, options, cache)
    again = morphology_crops(small_set, options, cache)
    assert np.array_equal(first.codes, again.codes)
    write_labels = small_set / SOURCE / "labels" / "41.txt"
    write_labels.write_text("80 90 3\n", encoding="utf-8")
    fewer = morphology_crops(small_set, options, cache)
    assert fewer.labels.tolist() == [0, 12, 8, 3]
    assert np.array_equal(fewer.codes, first.codes[:4])
    write_labels.write_text("400 200 3\n80 90 3\n", encoding="utf-8")
    moved = morphology_crops(small_set, options, cache)
    assert np.array_equal(moved.codes[3:], first.codes[[4, 3]])


@pytest.mark.parametrize("line", ["12 20", "12 20 x", "12 20 13", "12 20 -1"])
def test_a_label_file_of_another_kind_is_refused(small_set: Path, line: str) -> None:
    (small_set / SOURCE / "labels" / "7.txt").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match="x y type"):
        read_labelled_fields(small_set)


def test_a_root_without_the_set_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=SOURCE):
        morphology_crops(tmp_path, CropOptions(), None)


@pytest.mark.real
def test_the_published_cells_are_read_and_every_type_is_on_each_side(data_root: Path) -> None:
    fields = read_labelled_fields(data_root)
    counts = Counter(MORPHOLOGY_CLASSES[t] for field in fields for t in field.types.tolist())
    assert sum(counts.values()) == 17645
    assert counts["normal"] == 5551 and counts["uncategorised"] == 164
    # Elliptocytes lie in three blocks, one of which shows pictures of the set by diagnosis again.
    missing = {"train": set(), "tune": set(), "test": {MORPHOLOGY_CLASSES.index("elliptocyte")}}
    for part in PARTS:
        absent = missing[part]
        present = {t for f in fields if part_of(f.group) == part for t in f.types.tolist()}
        assert present == set(range(KINDS - 1)) - absent, part
    assert MORPHOLOGY_CLASSES[-1] == "sickle_cell" and MORPHOLOGY_CLASSES[:-1] == TYPES


def test_the_place_map_tells_the_middle_from_the_rest() -> None:
    torch.manual_seed(0)
    net = RedCellNet(KINDS).eval()
    light = torch.rand(1, 3, net.SIDE_PX, net.SIDE_PX)
    before = net(light)
    with torch.no_grad():
        net.place[:, :, 6:10, 6:10] += 1.0
    assert not torch.allclose(before, net(light))


def test_the_shipped_configuration_reads_and_fits_the_network() -> None:
    config = read_config()
    assert config.model.architecture == "red_cell_light"
    assert config.familiarity and config.drawn_share > 0 and config.unnamed_share > 0
    assert config.crop.side_px == RedCellNet.SIDE_PX
    # A crop turned by 45 degrees and zoomed must find picture in its corners, not padding.
    assert config.crop.stored_px >= config.crop.side_px * 2**0.5 * config.augment.zoom
    with pytest.raises(UsageError, match="no_such_key"):
        read_config(None, {"no_such_key": 1})


@pytest.mark.parametrize("factor", [0.92, 1.08])
def test_a_misread_scale_changes_the_width_and_keeps_the_middle(factor: float) -> None:
    code = np.full((1, 104, 104, 3), CLEAR_FIELD_CODE, np.uint8)
    yy, xx = np.mgrid[:104, :104] - 51.5
    code[0, np.hypot(yy, xx) < 20] = 90
    seen = misread_scale(code, factor, 64)[0, ..., 1] < 145
    rows, columns = np.nonzero(seen)
    assert seen.sum() == pytest.approx(np.pi * (20 * factor) ** 2, rel=0.03)
    assert rows.mean() == pytest.approx(31.5, abs=0.2)
    assert columns.mean() == pytest.approx(31.5, abs=0.2)


def predicted(labels: list[int], names: list[int], groups: list[str]) -> Predicted:
    probabilities = np.full((len(labels), KINDS), 0.01, np.float32)
    probabilities[np.arange(len(labels)), names] = 0.88
    crops = CellCrops(
        classes=MORPHOLOGY_CLASSES,
        codes=np.zeros((len(labels), 8, 8, 3), np.uint8),
        labels=np.array(labels, np.intp),
        sources=np.full(len(labels), SOURCE),
        groups=np.array(groups),
        names=np.array([str(i) for i in range(len(labels))]),
        um_per_px=0.25,
    )
    return Predicted(crops, probabilities)


def test_macro_f1_of_common_types_leaves_rare_ones_out() -> None:
    labels = [0] * 60 + [1] * 60 + [2] * 5
    names = [0] * 60 + [1] * 60 + [0] * 5
    (metric,) = macro_metrics(predicted(labels, names, ["a"] * 125), SOURCE)
    # Five microcytes taken for normal cost the normal cells precision, and nothing else.
    assert metric.value == pytest.approx((120 / 125 + 1.0) / 2)
    assert metric.images == 120
    assert macro_metrics(predicted([0] * 3, [0] * 3, ["a"] * 3), SOURCE) == []


def test_each_block_is_measured_by_itself() -> None:
    rows = accuracy_by_block(predicted([0, 0, 3, 3], [0, 1, 3, 3], ["a", "a", "b", "b"]))
    assert [(r["block"], r["cells"], r["accuracy"]) for r in rows] == [("a", 2, 0.5), ("b", 2, 1.0)]
    assert rows[1]["commonest"] == "spherocyte"


def test_shares_are_corrected_by_all_kept_out_cells() -> None:
    tune = np.zeros((KINDS, KINDS + 1), int)
    test = np.zeros((KINDS, KINDS + 1), int)
    tune[0, 0], test[0, 1] = 5, 7
    record: dict[str, Any] = {"tune_confusion": {"counts": tune.tolist()}}
    before = kept_out_confusion(Checkpoint("morphology", {}, record))
    assert before.counts == tune.tolist()
    record["tables"] = {"confusion": {SOURCE: test.tolist()}}
    both = kept_out_confusion(Checkpoint("morphology", {}, record))
    assert both.counts == (tune + test).tolist()


def test_the_marginal_rule_covers_what_it_says() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, KINDS, 999)
    p = rng.dirichlet(np.ones(KINDS), 999).astype(np.float32)
    rule = marginal_rule(p, labels, MORPHOLOGY_CLASSES, 0.8)
    reached = p[np.arange(999), labels] >= rule.thresholds["normal"]
    assert reached.mean() == pytest.approx(0.8, abs=0.002)
    assert len(set(rule.thresholds.values())) == 1 and set(rule.thresholds) == set(
        MORPHOLOGY_CLASSES
    )
    assert rule.cells == 999


def test_too_few_tune_cells_keep_every_type_in_the_set() -> None:
    p = np.full((2, KINDS), 1 / KINDS, np.float32)
    rule = marginal_rule(p, np.array([0, 1], np.intp), MORPHOLOGY_CLASSES, 0.8)
    assert set(rule.thresholds.values()) == {0.0}
