"""What the classifiers learn from: groups, copies, labels, sets joined and left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edgehemo.errors import UsageError
from edgehemo_export.data.cell_crops import CellCrops, CropOptions, joined
from edgehemo_export.data.relabels import LabelledImage
from edgehemo_export.data.sets.picture import lmu_group, pbc_group
from edgehemo_export.data.splits import Part, part_of
from edgehemo_export.models.classifiers.data import centres_of, field_crops
from edgehemo_export.models.classifiers.nucleated.data import (
    NUCLEATED_CLASSES,
    WHITE_CELL_TYPES,
    nucleated_crops,
    unnamed_white_cells,
    without_kept_out_copies,
)

pytestmark = pytest.mark.host
from tests.support.classifier_crops import CLASSES, SIDE, discs


def test_groups_are_blocks_of_neighbouring_numbers() -> None:
    assert pbc_group("MMY_115214") == pbc_group("MMY_115215") != pbc_group("IG_115214")
    assert lmu_group("NGS_0064") == lmu_group("NGS_0065") != lmu_group("NGS_0164")


def test_what_shows_a_kept_out_picture_again_is_not_trained_on(rng: np.random.Generator) -> None:
    parts = {part_of(f"block-{i}"): f"block-{i}" for i in range(40)}
    rough = np.kron(rng.normal(0, 40, (4, 12, 12, 3)), np.ones((1, 8, 8, 1)))
    codes = np.clip(170 + rough, 0, 255).astype(np.uint8)
    again = np.clip(codes[[0, 1]].astype(int) + rng.integers(-2, 3, (2, 96, 96, 3)), 0, 255)
    # The first picture is shown again in training, the second one among those trained on as well.
    groups: list[Part] = ["test", "train", "tune", "train", "train", "train"]
    crops = CellCrops(
        classes=CLASSES,
        codes=np.concatenate([codes, again.astype(np.uint8)]),
        labels=np.zeros(6, np.intp),
        sources=np.array(["pbc"] * 6),
        groups=np.array([parts[part] for part in groups]),
        names=np.array([str(i) for i in range(6)]),
        um_per_px=0.25,
    )
    assert without_kept_out_copies(crops).names.tolist() == ["0", "1", "2", "3", "5"]


def test_sets_are_joined_parted_and_left_out() -> None:
    crops = discs(60)
    both = joined([crops, crops.only("odd")])
    assert len(both) == 90 and set(both.without("odd").sources) == {"even"}
    parts = [crops.part(part) for part in ("train", "tune", "test")]
    assert sum(len(part) for part in parts) == 60
    assert not set(parts[0].groups) & set(parts[2].groups)
    assert crops.middle(SIDE).shape == (60, SIDE, SIDE, 3)
    other = CellCrops(**{**vars(crops), "um_per_px": 0.1})
    with pytest.raises(UsageError, match="cannot be joined"):
        joined([crops, other])


def test_other_labels_of_the_same_picture_are_other_crops(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    picture = write_image(tmp_path / "a.png", np.full((200, 260, 3), 210, np.uint8))
    boxes = np.array([[20, 20, 60, 60], [100, 80, 140, 120], [180, 90, 220, 130]], np.float32)

    def crops_of(count: int) -> int:
        image = LabelledImage(
            picture, "chula_rbc12", "g", boxes[:count], np.zeros(count, np.intp), frozenset()
        )
        options = CropOptions(side_px=32, margin_px=0)
        cache = tmp_path / "cache"
        return len(field_crops("k", [image], centres_of("rbc"), options, cache, ("a",), 0))

    assert [crops_of(3), crops_of(2), crops_of(3)] == [3, 2, 3]


@pytest.mark.real
def test_nucleated_set_of_a_real_root(data_root: Path, tmp_path: Path) -> None:
    """A small root linked to a few real pictures of each set: every kind of reader."""
    for folder in ("basophil", "ig", "platelet"):
        target = tmp_path / "pbc" / folder
        target.mkdir(parents=True)
        for path in sorted((data_root / "pbc" / folder).glob("*.jpg"))[:4]:
            (target / path.name).symlink_to(path)
    for kind in ("images", "labels"):
        target = tmp_path / "chula_rbc12" / kind
        target.mkdir(parents=True)
        for path in sorted((data_root / "chula_rbc12" / kind).iterdir()):
            if path.stem in ("1", "10", "11"):
                (target / path.name).symlink_to(path)
    crops = nucleated_crops(tmp_path, CropOptions(side_px=64, margin_px=8), None)
    counts = crops.counts()
    assert counts["pbc"] == {"basophil": 4, "immature_granulocyte": 4, "platelet": 4}
    assert set(counts["chula_rbc12"]) == {"other"} and counts["chula_rbc12"]["other"] >= 6
    cells = crops.where(crops.labels != NUCLEATED_CLASSES.index("other"))
    middle = cells.codes[:, 30:50, 30:50, 0].mean(axis=(1, 2))
    corner = np.median(cells.codes[:, :, :, 1], axis=(1, 2))
    assert (middle < 170).all(), "a nucleus darkens red light"
    assert (corner > 120).all()
    with pytest.raises(UsageError, match="no set 'nope'"):
        nucleated_crops(tmp_path, CropOptions(), None, ("nope",))
    with pytest.raises(UsageError, match="holds none"):
        nucleated_crops(tmp_path / "pbc", CropOptions(), None)


@pytest.mark.real
def test_white_cells_without_types_are_cut_at_the_devices_scale(
    data_root: Path, tmp_path: Path
) -> None:
    for kind, ending in (("images", ".jpg"), ("boxes", ".xml")):
        folder = tmp_path / "bccd" / kind
        folder.mkdir(parents=True)
        for path in sorted((data_root / "bccd" / kind).glob(f"*{ending}"))[:6]:
            (folder / path.name).symlink_to(path.resolve())
    options = CropOptions(side_px=64, margin_px=8)
    crops = unnamed_white_cells(tmp_path, options, None)
    assert 4 <= len(crops) <= 12 and set(crops.sources.tolist()) == {"bccd"}
    # A nucleus takes more of red light than of blue; red cells take less.
    red, blue = (crops.middle(40)[..., channel].astype(float) for channel in (0, 2))
    assert ((blue - red > 30).mean(axis=(1, 2)) > 0.15).all()
    assert set(WHITE_CELL_TYPES) < set(NUCLEATED_CLASSES) and "other" not in WHITE_CELL_TYPES
    assert not len(unnamed_white_cells(tmp_path / "nothing", options, None))
