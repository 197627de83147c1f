"""What the cell finder learns from: boxes of the public sets, its parts, relabelled ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.cells.cell import CELL_KINDS, CellKind
from edgehemo.errors import UsageError

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')

from edgehemo_export.data.canonical_set import CUT, DOUBTFUL, KNOWN, UNKNOWN, prepare
from edgehemo_export.data.relabels import LabelledImage, completed, labelled_images, relabelled
from edgehemo_export.data.splits import part_of
from edgehemo_export.models.finder.data import CUT_WEIGHT, judged, targets, without
from edgehemo_export.models.finder.matching import box_iou


@pytest.mark.real
def test_readers_find_every_box(data_root: Path) -> None:
    images = labelled_images(data_root)
    by_source = {
        source: [image for image in images if image.source == source]
        for source in {image.source for image in images}
    }
    assert len(by_source["bccd"]) == 292
    assert len(by_source["txl_pbc"]) + len(by_source["txl_raabin"]) == 955
    for image in images:
        assert image.boxes.shape == (len(image.kinds), 4)
        assert (image.boxes[:, 2:] > image.boxes[:, :2]).all()
    assert all("rbc" not in image.complete for image in by_source["bccd"])
    assert all("rbc" in image.complete for image in by_source["txl_pbc"])
    # Every published point of a thin-smear field has a box of ours, or the field says otherwise.
    whole = [image for image in by_source["chula_rbc12"] if image.complete]
    assert len(whole) > 80 and len(by_source["chula_rbc12"]) > len(whole)
    for image in whole:
        label = data_root / "chula_rbc12" / "labels" / f"{image.path.stem}.txt"
        points = np.array([line.split()[:2] for line in label.read_text().splitlines()], float)
        inside = np.all(
            (points[:, None] > image.boxes[None, :, :2] - 1)
            & (points[:, None] < image.boxes[None, :, 2:] + 1),
            axis=2,
        )
        assert inside.any(axis=1).mean() > 0.97


@pytest.mark.real
def test_the_split_keeps_groups_whole_and_is_shared_by_no_file(data_root: Path) -> None:
    images = labelled_images(data_root)
    parts: dict[str, set[str]] = {}
    for image in images:
        parts.setdefault(image.group, set()).add(part_of(image.group))
    assert all(len(found) == 1 for found in parts.values())
    contents: dict[bytes, set[str]] = {}
    for image in images:
        contents.setdefault(image.path.read_bytes(), set()).add(part_of(image.group))
    assert all(len(found) == 1 for found in contents.values())
    share = sum(part_of(image.group) == "test" for image in images) / len(images)
    assert 0.08 < share < 0.25


@pytest.mark.real
def test_unlabelled_red_cells_are_doubtful_not_background(data_root: Path) -> None:
    image = next(i for i in labelled_images(data_root) if i.source == "bccd" and len(i.boxes) > 8)
    example = prepare(image)
    doubtful = example.doubt == DOUBTFUL
    assert doubtful.any() and example.complete == {"wbc", "platelet"}
    for x0, y0, x1, y1 in example.boxes:
        cx, cy = int((x0 + x1) / 2), int((y0 + y1) / 2)
        if 0 <= cy < doubtful.shape[0] and 0 <= cx < doubtful.shape[1]:
            assert example.doubt[cy, cx] == KNOWN
    clear = example.codes[..., 1] > 196
    assert not (doubtful & clear).sum() > 0.5 * doubtful.sum()


def test_doubtful_stain_weighs_by_kind_and_configuration() -> None:
    doubt = np.zeros((64, 64), np.uint8)
    doubt[:, 16:32] = DOUBTFUL
    doubt[:, 32:48] = CUT
    doubt[:, 48:] = UNKNOWN
    boxes, kinds = np.empty((0, 4), np.float32), np.empty(0, np.intp)
    _, known, _, _ = targets(boxes, kinds, doubt, frozenset(("wbc",)), 0.25)
    red, white = known[CELL_KINDS.index("rbc")], known[CELL_KINDS.index("wbc")]
    assert (red[:, 4:8] == 0.25).all() and (white[:, 4:8] == 1).all()
    assert (red[:, 8:12] == 0).all() and (white[:, 8:12] == CUT_WEIGHT).all()
    for of_kind in (red, white):
        assert (of_kind[:, :4] == 1).all() and (of_kind[:, 12:] == 0).all()


def test_an_empty_data_root_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds none of the sets"):
        labelled_images(tmp_path)


def labelled(source: str, *complete: CellKind) -> LabelledImage:
    return LabelledImage(
        path=Path(f"{source}.png"),
        source=source,
        group=source,
        boxes=np.array([[0, 0, 10, 10]], np.float32),
        kinds=np.array([0], np.intp),
        complete=frozenset(complete),
    )


def test_a_source_left_out_is_gone_and_must_exist() -> None:
    images = [labelled("bccd", "wbc"), labelled("txl_pbc", "rbc"), labelled("chula_rbc12")]
    assert [image.source for image in without(images, "bccd")] == ["txl_pbc", "chula_rbc12"]
    assert without(images, None) == images
    with pytest.raises(UsageError, match="no such source here; there are bccd, chula_rbc12"):
        without(images, "bcd")
    # A partly labelled field can teach, but not judge.
    assert [image.source for image in judged(images)] == ["bccd", "txl_pbc"]


@pytest.mark.real
def test_relabelled_images_keep_the_published_boxes_and_add_ours(data_root: Path) -> None:
    published = [image for image in labelled_images(data_root) if image.source == "bccd"]
    ours = relabelled(published)
    assert len(ours) == 82
    by_name = {image.path: image for image in published}
    for image in ours:
        before = by_name[image.path]
        assert part_of(image.group) != "train" and image.complete == set(CELL_KINDS)
        assert (image.boxes[: len(before.boxes)] == before.boxes).all()
        added = image.boxes[len(before.boxes) :]
        assert (added >= 0).all() and (added[:, 2] <= 640).all() and (added[:, 3] <= 480).all()
        assert (added[:, 2:] > added[:, :2]).all()
        kinds = image.kinds[: len(before.boxes)]
        wrong = np.flatnonzero(kinds != before.kinds)
        if image.path.stem == "BloodImage_00113":
            assert [(before.kinds[i], kinds[i]) for i in wrong] == [(1, 2)]
        else:
            assert len(wrong) == 0
    assert sum(len(i.boxes) for i in ours) > 1.3 * sum(len(by_name[i.path].boxes) for i in ours)


@pytest.mark.real
def test_boxes_added_for_training_are_of_the_training_part_alone(data_root: Path) -> None:
    images = [image for image in labelled_images(data_root) if image.source == "bccd"]
    pairs = list(zip(images, completed(images), strict=True))
    changed = [(before, after) for before, after in pairs if after is not before]
    assert len(changed) > 200
    for before, after in changed:
        assert part_of(before.group) == "train" and after.complete == before.complete
        assert (after.boxes[: len(before.boxes)] == before.boxes).all()
        assert (after.boxes[:, 2:] > after.boxes[:, :2]).all() and (after.boxes >= 0).all()
        # None of ours stands on a box that was published.
        assert box_iou(after.boxes[len(before.boxes) :], before.boxes).max(initial=0) < 0.4
    added = sum(len(after.boxes) - len(before.boxes) for before, after in changed)
    assert added > 0.6 * sum(len(before.boxes) for before, _ in changed)


@pytest.mark.real
def test_fields_by_diagnosis_bear_boxes_in_the_training_part_alone(data_root: Path) -> None:
    images = labelled_images(data_root, ["chula_disease"])
    assert len(images) == 71
    white = CELL_KINDS.index("wbc")
    assert sum(int((image.kinds == white).sum()) for image in images) == 6
    for image in images:
        assert part_of(image.group) == "train" and image.complete == {"wbc", "platelet"}
        assert (image.boxes[:, 2:] > image.boxes[:, :2]).all()


@pytest.mark.real
def test_boxes_by_diagnosis_follow_the_size_of_the_picture(data_root: Path, tmp_path: Path) -> None:
    image = labelled_images(data_root, ["chula_disease"])[0]
    folder = tmp_path / "chula_disease" / image.path.parent.name
    folder.mkdir(parents=True)
    pixels = cv2.imread(str(image.path))
    assert pixels is not None
    half = cv2.resize(pixels, (pixels.shape[1] // 2, pixels.shape[0] // 2))
    cv2.imwrite(str(folder / image.path.name), half)
    (smaller,) = labelled_images(tmp_path, ["chula_disease"])
    assert smaller.boxes == pytest.approx(image.boxes / 2, rel=1e-3)
