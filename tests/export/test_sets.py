"""The one reader a public set, on the real sets: what each tells, and that all models agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgehemo.cells.cell import CELL_KINDS
from edgehemo.images.header import read_header
from edgehemo_export.data.cache import content_of
from edgehemo_export.data.relabels import LabelledImage, labelled_images
from edgehemo_export.data.sets import (
    READERS,
    chula_rbc12,
    read_data_root,
    read_set,
    redtell,
    set_folder,
    txl_pbc,
)
from edgehemo_export.data.sets.picture import SetPicture, pbc_group
from edgehemo_export.data.smears import ANAEMIA, CONTROL, smear_images
from edgehemo_export.data.splits import (
    SHORT_DIGEST,
    is_recorded,
    part_of,
    read_recorded_moves,
    read_recorded_splits,
)

pytestmark = pytest.mark.real

FIELD_LABELS = {"bccd": "boxes", "txl_pbc": "boxes", "anerbc": "mask"}


@pytest.fixture(scope="module")
def pictures(data_root: Path) -> list[SetPicture]:
    return list(read_data_root(data_root))


# RedTell's pictures are had by download alone.
@pytest.mark.parametrize("name", [name for name in READERS if name != redtell.SOURCE])
def test_every_picture_of_a_set_is_there_with_sane_fields(data_root: Path, name: str) -> None:
    pictures = read_set(data_root, name)
    assert pictures, "the set lies here"
    assert len({picture.key for picture in pictures}) == len(pictures)
    assert len({picture.path for picture in pictures}) == len(pictures)
    for picture in pictures:
        assert picture.path.is_file() and picture.set_name == name
        assert picture.source.split("/")[0] in (name, "txl_raabin")
        assert picture.group and picture.original and picture.licence
        assert (picture.width_um is None) == (picture.scale_known == "none")
        assert picture.kind == ("crop" if name in ("pbc", "lmu", "three_class") else "field")
        assert set(picture.complete) <= set(CELL_KINDS)
        labels = picture.labels
        assert (picture.read_boxes is None) == (labels.boxes is None)
        assert (picture.read_points is None) == (labels.points is None)
        for file in (labels.boxes, labels.points):
            assert file is None or (data_root / file.file).is_file()
        assert labels.mask is None or (data_root / labels.mask).is_file()
        if name in FIELD_LABELS:
            assert FIELD_LABELS[name] in labels.kinds()
        elif name != "chula_rbc12":
            assert labels.class_name
    for picture in pictures[:: max(1, len(pictures) // 20)]:
        header = read_header(picture.path.read_bytes())
        scale = None if picture.width_um is None else picture.width_um / header.width
        assert scale is None or 0.05 < scale < 0.5


def test_boxes_and_points_lie_in_their_pictures(pictures: list[SetPicture]) -> None:
    some = [p for p in pictures if p.read_boxes or p.read_points][::11]
    assert len(some) > 100
    for picture in some:
        header = read_header(picture.path.read_bytes())
        edge = np.array([header.width, header.height], np.float32)
        if picture.read_boxes is not None:
            cells = picture.read_boxes()
            assert cells.boxes.dtype == np.float32 and cells.boxes.shape == (len(cells.kinds), 4)
            assert (cells.boxes[:, 2:] > cells.boxes[:, :2]).all()
            assert (cells.boxes[:, :2] > -2).all() and (cells.boxes[:, 2:] < edge + 2).all()
        if picture.read_points is not None:
            points = picture.read_points()
            assert points.centres.shape == (len(points.types), 2)
            assert (points.centres >= 0).all() and (points.centres <= edge).all()
            assert set(points.types) <= set(range(len(chula_rbc12.TYPES)))
            assert picture.labels.points is not None
            assert sum(picture.labels.points.counts.values()) == len(points.types)


def test_bccd_tells_the_types_of_its_white_cells(data_root: Path) -> None:
    read = read_set(data_root, "bccd")
    typed = [picture for picture in read if picture.labels.cell_types]
    assert len(typed) == 291
    assert {name for picture in typed for name in picture.labels.cell_types} == {
        "neutrophil",
        "eosinophil",
        "lymphocyte",
        "monocyte",
        "basophil",
    }


def test_a_set_that_is_not_there_has_no_pictures(tmp_path: Path) -> None:
    assert set_folder(tmp_path, "pbc") is None and read_set(tmp_path, "pbc") == []


# --- the split on real pictures ------------------------------------------------------------------


def test_every_picture_and_its_copies_lie_in_the_recorded_part(
    pictures: list[SetPicture],
) -> None:
    """By group and by content the record says the same, so that copies agree, exact or not."""
    record = read_recorded_splits()
    by_content = record.part_of_content()
    for picture in pictures:
        assert is_recorded(picture.group)
        assert by_content[content_of(picture.path)[:SHORT_DIGEST]] == part_of(picture.group)


def test_blocks_patients_and_copies_are_not_divided(
    data_root: Path, pictures: list[SetPicture]
) -> None:
    by_group: dict[str, set[str]] = defaultdict(set)
    for picture in pictures:
        by_group[picture.group].add(part_of(picture.group))
    assert all(len(parts) == 1 for parts in by_group.values())
    groups = {p.original: p.group for p in read_set(data_root, "anerbc")}
    assert groups["001_h"] == groups["004_h"]
    numbered = sorted(
        (int(p.original), part_of(p.group)) for p in read_set(data_root, "chula_rbc12")
    )
    for (one, part), (other, next_part) in pairwise(numbered):
        assert one // 10 != other // 10 or part == next_part
    originals = {p.original: part_of(p.group) for p in read_set(data_root, "pbc")}
    copies = [
        picture
        for name in ("three_class", "txl_pbc")
        for picture in read_set(data_root, name)
        if picture.original in originals
    ]
    assert len(copies) > 650
    assert all(originals[p.original] == part_of(p.group) for p in copies)


def test_what_the_finder_trains_on_no_other_model_keeps_out(data_root: Path) -> None:
    """39 pictures of TXL-PBC that the finder trained on were kept out by the manifest: under the
    earlier split its blocks of PBC's numbers were not the manifest's.
    """
    pbc = {p.original: p for p in read_set(data_root, "pbc")}
    images = [i for i in labelled_images(data_root, [txl_pbc.SOURCE]) if i.source == "txl_pbc"]
    trained = [image for image in images if part_of(image.group) == "train"]
    assert len(trained) == 345
    for image in trained:
        original = image.key.partition("/")[2]
        assert image.group == pbc_group(original)
        assert original not in pbc or part_of(pbc[original].group) == "train"
    # The finder keeps every part it had there; in `nucleated` the originals followed.
    moves = read_recorded_moves()
    assert moves.table["cell_finder"]["txl_pbc"] == {"pictures": 455}
    before = moves.part_before("nucleated")
    assert sum(before.get(image.key) == "test" for image in trained) == 38


@pytest.mark.host
def test_no_two_models_put_the_same_content_on_different_sides(data_root: Path) -> None:
    pytest.importorskip("torch")
    from edgehemo_export.models.anaemia_screen.data import screen_images
    from edgehemo_export.models.classifiers.morphology.data import read_labelled_fields

    def shown(items: Iterable[object]) -> Iterator[tuple[Path, str]]:
        for item in items:
            yield item.path, item.group  # type: ignore[attr-defined]

    single_cells = [p for name in ("pbc", "lmu", "three_class") for p in read_set(data_root, name)]
    models = {
        "cell_finder": shown(labelled_images(data_root)),
        "nucleated": shown(single_cells),
        "morphology": shown(read_labelled_fields(data_root)),
        "field_estimator": shown(smear_images(data_root)),
        "anaemia_screen": shown(screen_images(data_root)),
    }
    record = read_recorded_splits()
    one_of = {digest: same[0] for same in record.duplicates for digest in same}
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    for model, items in models.items():
        for path, group in items:
            digest = content_of(path)[:SHORT_DIGEST]
            content = one_of.get(digest, digest)
            assert sides[content].setdefault(model, part_of(group)) == part_of(group)
    assert all(len(set(parts.values())) == 1 for parts in sides.values())
    assert sum(len(parts) > 1 for parts in sides.values()) > 1500


def test_smears_know_what_their_sets_say_of_the_blood(data_root: Path) -> None:
    images = smear_images(data_root)
    labels = defaultdict(set)
    for image in images:
        labels[image.source.partition("/")[0]].add(image.label)
    assert labels["anerbc"] == labels["uganda_phone"] == {CONTROL, ANAEMIA}
    assert labels["chula_disease"] == {ANAEMIA}
    assert labels["bccd"] == labels["chula_rbc12"] == labels["txl_pbc"] == {None}


def test_labels_of_our_own_stand_beside_the_published_ones(data_root: Path) -> None:
    images = labelled_images(data_root)
    assert all(isinstance(image, LabelledImage) and image.key for image in images)
    by_source = {i.source for i in images}
    assert by_source == {"bccd", "txl_pbc", "txl_raabin", "chula_rbc12", "chula_disease"}
