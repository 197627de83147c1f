"""A laboratory's own cells: read by `dataset.toml`, split by sample, alone or beside others."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from edgehemo.cells.crops import canonical_crop
from edgehemo.errors import EdgeHemoWarning, UsageError
from edgehemo_export.data.cell_crops import CellCrops, CropOptions, joined
from edgehemo_export.data.sets.own import (
    assured_groups,
    own_alone,
    own_licences,
    own_pictures,
    own_sets,
)
from edgehemo_export.data.splits import PARTS, ModelSplit, hashed_part, part_of
from edgehemo_export.models.classifiers.conformal import conformal_rule
from edgehemo_export.models.classifiers.morphology.data import MORPHOLOGY_CLASSES, morphology_crops
from edgehemo_export.models.classifiers.morphology.run import read_config
from edgehemo_export.models.classifiers.nucleated.data import NUCLEATED_CLASSES, nucleated_crops
from edgehemo_export.models.classifiers.own_cells import (
    KNOWN,
    OWN_SHARE,
    for_own_alone,
    own_crops,
    weighted_for_own,
)
from edgehemo_export.models.classifiers.run import warn_of_few
from edgehemo_export.models.classifiers.training import crop_chances

pytestmark = pytest.mark.host
OPTIONS = CropOptions(side_px=48, margin_px=4)


def cell(seed: int, side: int = 160, level: int = 200) -> np.ndarray:
    """A dark disc on clear background, RGB."""
    picture = np.full((side, side, 3), level, np.uint8)
    colour = (150 - seed % 40, 90 + seed % 30, 140)
    cv2.circle(picture, (side // 2, side // 2), 13 + seed % 5, colour, -1)
    return picture


def own_set(
    folder: Path,
    classes: dict[str, int],
    toml: str = 'name = "own_lab"\npixels = "canonical"\num_per_px = 0.25\n',
    *,
    samples: int = 6,
    table: bool = False,
) -> Path:
    """A set with so many cells of each class, in turn of each sample."""
    rows = []
    for place, (name, count) in enumerate(classes.items()):
        (folder / "cells" / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            file = f"cells/{name}/s{number % samples}_{number}.png"
            picture = cell(number)
            picture[0, 0, 0] -= place  # no picture is of two classes
            assert cv2.imwrite(str(folder / file), picture[..., ::-1])
            rows.append({"file": file, "group": f"sample {number % samples}"})
    if table:
        with (folder / "cells.csv").open("w", newline="", encoding="utf-8") as target:
            writer = csv.DictWriter(target, ("file", "group"))
            writer.writeheader()
            writer.writerows(rows)
    (folder / "dataset.toml").write_text(toml, "utf-8")
    return folder


def test_the_root_itself_or_folders_in_it_are_own_sets(tmp_path: Path) -> None:
    one = own_set(tmp_path / "root" / "one", {"monocyte": 6})
    own_set(tmp_path / "root" / "two", {"normal": 6}, 'name = "own_two"\n')
    assert [item.told.name for item in own_sets(tmp_path / "root")] == ["own_lab", "own_two"]
    assert [item.folder for item in own_sets(one)] == [one]
    assert own_alone(one) and own_alone(tmp_path / "root")
    (tmp_path / "root" / "bccd").mkdir()
    assert not own_alone(tmp_path / "root")
    assert own_sets(tmp_path / "root" / "bccd") == [] and not own_alone(tmp_path / "root" / "bccd")
    assert "licence not stated" in own_licences(one)["own_lab"]
    (one / "dataset.toml").write_text('name = "own_two"\nsimulated = true\nlicence = "ours"\n')
    assert own_licences(one)["own_two"] == "own_two: own cells, SIMULATED, ours"
    with pytest.raises(UsageError, match="is called own_two, too"):
        own_sets(tmp_path / "root")
    (one / "dataset.toml").write_text('name = "bccd"\n')
    with pytest.raises(UsageError, match="name of a public set"):
        own_sets(one)


def test_canonical_cells_are_taken_as_they_are_and_photographs_are_made_so(tmp_path: Path) -> None:
    names = {"monocyte": "monocyte"}
    canonical = own_set(tmp_path / "canonical", {"monocyte": 6})
    (crops,) = own_crops(canonical, OPTIONS, tmp_path / "cache", NUCLEATED_CLASSES, names)
    side = OPTIONS.stored_px
    start = (160 - side) // 2
    assert np.array_equal(crops.codes[0], cell(0)[start : start + side, start : start + side])
    again = own_crops(canonical, OPTIONS, tmp_path / "cache", NUCLEATED_CLASSES, names)[0]
    assert np.array_equal(again.codes, crops.codes)
    assert set(crops.sources) == {"own_lab"} and len(crops.files) == len(crops.keys) == 6
    photograph = own_set(
        tmp_path / "photograph", {"monocyte": 6}, 'name = "own_lab"\num_per_px = 0.2\n'
    )
    (crops,) = own_crops(photograph, OPTIONS, None, NUCLEATED_CLASSES, names)
    wanted = canonical_crop(cell(0), 0.2, side, crop_um_per_px=0.25)
    assert np.array_equal(crops.codes[0], wanted)


def test_folders_are_called_as_the_file_says_and_unknown_ones_are_told(tmp_path: Path) -> None:
    folder = own_set(tmp_path, {"Mono": 6, "dirt": 6, "not_a_cell": 6, "normal": 6})
    with pytest.raises(UsageError, match=r"cells/Mono: no model learns a class 'Mono'"):
        nucleated_crops(folder, OPTIONS, None)
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text(text + '[classes]\nMono = "monocyte"\ndirt = ""\n')
    crops = nucleated_crops(folder, OPTIONS, None)
    assert crops.counts() == {"own_lab": {"monocyte": 6, "other": 6}}
    red = morphology_crops(folder, OPTIONS, None)
    assert red.counts() == {"own_lab": {"normal": 6}} and red.classes == MORPHOLOGY_CLASSES
    (folder / "dataset.toml").write_text(text + '[classes]\nMono = "monocyt"\ndirt = ""\n')
    with pytest.raises(UsageError, match="did you mean monocyte"):
        nucleated_crops(folder, OPTIONS, None)


def test_cells_of_one_sample_stay_on_one_side(tmp_path: Path) -> None:
    folder = own_set(tmp_path / "a", {"monocyte": 30, "neutrophil": 30})
    crops = nucleated_crops(folder, OPTIONS, None)
    parts = crops.parts()
    assert set(parts.tolist()) == set(PARTS)
    by_sample: dict[str, set[str]] = {}
    for name, part in zip(crops.names.tolist(), parts.tolist(), strict=True):
        by_sample.setdefault(name.rpartition("/")[2].partition("_")[0], set()).add(part)
    assert len(by_sample) == 6 and all(len(found) == 1 for found in by_sample.values())
    # Weights of an earlier split were not trained on own cells.
    assert np.array_equal(crops.parts(ModelSplit(("nucleated",))), parts)
    table = own_set(
        tmp_path / "b", {"monocyte": 30}, 'name = "own_b"\ngroups = "table"\n', table=True
    )
    assert len(set(nucleated_crops(table, OPTIONS, None).groups.tolist())) == 6
    each = own_set(tmp_path / "c", {"monocyte": 30}, 'name = "own_c"\ngroups = "picture"\n')
    assert len(set(nucleated_crops(each, OPTIONS, None).groups.tolist())) == 30


@given(st.sets(st.text("abcdef0123456789", min_size=1, max_size=8), min_size=3, max_size=40))
@settings(max_examples=60, deadline=None)
def test_each_part_has_a_group_and_most_lie_where_their_hash_says(groups: set[str]) -> None:
    called = assured_groups("own_x", groups)
    assert set(called) == groups and len(set(called.values())) == len(groups)
    parts = Counter(hashed_part(name) for name in called.values())
    assert set(parts) == set(PARTS)
    moved = [name for name in called.values() if "#" in name]
    assert len(moved) <= 2
    assert called == assured_groups("own_x", sorted(groups, reverse=True))
    assert all(part_of(name) == hashed_part(name) for name in called.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "cells.csv").unlink(), "cells.csv: cannot be read"),
        (
            lambda folder: (folder / "cells.csv").write_text("file,group\nx,y\n"),
            "no group for cells/monocyte/",
        ),
        (
            lambda folder: (folder / "cells" / "monocyte" / "s0_0.png").write_bytes(b"no picture"),
            "s0_0.png: cannot be read",
        ),
        (
            lambda folder: (folder / "dataset.toml").write_text(
                'name = "own_lab"\npixels = "canonical"\n'
            ),
            "need their scale",
        ),
    ],
)
def test_what_is_wrong_names_the_file_and_what_to_do(
    tmp_path: Path, change: object, said: str
) -> None:
    toml = 'name = "own_lab"\npixels = "canonical"\num_per_px = 0.25\ngroups = "table"\n'
    folder = own_set(tmp_path, {"monocyte": 9}, toml, table=True)
    nucleated_crops(folder, OPTIONS, None)
    assert callable(change)
    change(folder)
    with pytest.raises(UsageError, match=said):
        nucleated_crops(folder, OPTIONS, None)


def test_too_few_samples_or_no_cell_of_a_kind_are_told(tmp_path: Path) -> None:
    few = own_set(tmp_path / "few", {"monocyte": 20}, samples=2)
    with pytest.raises(UsageError, match="come from 2 samples"):
        nucleated_crops(few, OPTIONS, None)
    with pytest.raises(UsageError, match="holds no cell of"):
        morphology_crops(few, OPTIONS, None)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "dataset.toml").write_text('name = "own_lab"\n')
    with pytest.raises(UsageError, match="has no folder cells"):
        nucleated_crops(empty, OPTIONS, None)
    (own,) = own_sets(few)
    assert own_pictures(own, {"normal": "normal"}, KNOWN) == []


def test_own_cells_beside_many_others_are_a_quarter_of_what_is_drawn(tmp_path: Path) -> None:
    root = tmp_path / "root"
    own_set(root / "mine", {"normal": 12})
    config = read_config()
    (own,) = own_crops(root, config.crop, None, MORPHOLOGY_CLASSES, {"normal": "normal"})
    many = CellCrops(
        classes=own.classes,
        codes=np.repeat(own.codes[:1], 400, axis=0),
        labels=np.zeros(400, np.intp),
        sources=np.full(400, "chula_rbc12"),
        groups=np.full(400, "g"),
        names=np.full(400, "n"),
        um_per_px=own.um_per_px,
    )
    both = joined([many, own])
    weighted = weighted_for_own(config, root, both)
    chances = crop_chances(both, 0.0, weighted.source_weights)
    assert chances[both.sources == "own_lab"].sum() == pytest.approx(OWN_SHARE)
    # What a configuration says itself holds, and alone there is nothing to be weighed against.
    said = config.model_copy(update={"source_weights": {"own_lab": 2.0}})
    assert weighted_for_own(said, root, both) is said
    assert weighted_for_own(config, root, own) is config
    assert (
        for_own_alone(config, root).drawn_share == 0.0 == for_own_alone(config, root).unnamed_share
    )
    (root / "chula_rbc12").mkdir()
    assert for_own_alone(config, root) is config


@pytest.mark.parametrize(("coverage", "needed"), [(0.98, 49), (0.8, 4)])
def test_so_few_kept_out_cells_that_none_could_be_named_are_warned_of(
    coverage: float, needed: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_few(needed, coverage)
    with pytest.warns(EdgeHemoWarning, match="leave every cell uncertain"):
        warn_of_few(needed - 1, coverage)
    # The rule itself agrees.
    for cells, certain in ((needed, True), (needed - 1, False)):
        answers = np.full((cells, 2), 0.5, np.float32)
        answers[:, 0] = 0.9
        answers[:, 1] = 0.1
        rule = conformal_rule(answers, np.zeros(cells, np.intp), ("a", "b"), coverage)
        assert (rule.thresholds["b"] > 0.1) == certain


@pytest.mark.real
def test_own_cells_lie_beside_a_public_set(data_root: Path, tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        target = tmp_path / "chula_rbc12" / kind
        target.mkdir(parents=True)
        for path in sorted((data_root / "chula_rbc12" / kind).iterdir()):
            if path.stem in ("1", "10", "11"):
                (target / path.name).symlink_to(path)
    own_set(tmp_path / "mine", {"normal": 6, "teardrop": 3, "not_a_cell": 2})
    crops = morphology_crops(tmp_path, OPTIONS, None)
    counts = crops.counts()
    assert counts["own_lab"] == {"normal": 6, "teardrop": 3} and counts["chula_rbc12"]
    others = nucleated_crops(tmp_path, OPTIONS, None).counts()
    assert others["own_lab"] == {"other": 2} and set(others["chula_rbc12"]) == {"other"}
