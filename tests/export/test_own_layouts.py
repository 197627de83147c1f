"""Fields of a laboratory's own: boxes as YOLO, VOC and COCO write them, points; what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from edgehemo.errors import UsageError
from edgehemo.records.exports.dataset import Layout
from edgehemo_export.data.cell_crops import CropOptions
from edgehemo_export.data.relabels import labelled_images
from edgehemo_export.data.sets.own import boxed_pictures, own_fields, own_sets
from edgehemo_export.data.sets.own_layouts import LAYOUTS
from edgehemo_export.data.splits import PARTS, hashed_part
from edgehemo_export.models.classifiers.morphology.data import morphology_crops
from edgehemo_export.models.classifiers.nucleated.data import nucleated_crops
from edgehemo_export.models.finder.training import OWN_SHARE, read_config, shares_with_own

pytestmark = pytest.mark.host
OPTIONS = CropOptions(side_px=48, margin_px=4)
WIDTH, HEIGHT = 320, 240
# Of each field: label, middle, half a side.
CELLS = (("neutrophil", (80, 60), 20), ("Mono", (240, 60), 24), ("normal", (160, 180), 15))
FIELDS = 6
TOML = (
    'name = "own_lab"\npixels = "canonical"\num_per_px = 0.25\nlayout = "{layout}"\n'
    'complete = ["wbc"]\nlabels = ["neutrophil", "Mono", "normal"]\n{more}'
    '[classes]\n"Mono" = "monocyte"\n'
)


def field(number: int) -> np.ndarray:
    """A canonical field with three discs, no two alike."""
    picture = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    for index, (_, middle, half) in enumerate(CELLS):
        cv2.circle(picture, middle, half - 3, (150 - 7 * number, 90 + 20 * index, 140), -1)
    return picture


def write_labels(folder: Path, layout: Layout, names: list[str]) -> None:
    """The cells of each field in the words of a layout."""
    if layout == "coco":
        labels = [label for label, _, _ in CELLS]
        document = {
            "images": [{"id": i, "file_name": f"{n}.png"} for i, n in enumerate(names)],
            "categories": [{"id": 7 + i, "name": label} for i, label in enumerate(labels)],
            "annotations": [
                {
                    "id": 100 * i + k,
                    "image_id": i,
                    "category_id": 7 + k,
                    "bbox": [x - half, y - half, 2 * half, 2 * half],
                }
                for i in range(len(names))
                for k, (_, (x, y), half) in enumerate(CELLS)
            ],
        }
        (folder / "annotations.json").write_text(json.dumps(document))
    elif layout == "points":
        rows = [f"{n}.png,{x},{y},{label}" for n in names for label, (x, y), _ in CELLS]
        (folder / "points.csv").write_text("\n".join(["image,x,y,class", *rows]))
    elif layout == "yolo":
        for name in names:
            lines = [
                f"{k} {x / WIDTH} {y / HEIGHT} {2 * half / WIDTH} {2 * half / HEIGHT}"
                for k, (_, (x, y), half) in enumerate(CELLS)
            ]
            target = folder / "labels" / f"{name}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("\n".join(lines))
    else:
        for name in names:
            objects = "".join(
                f"<object><name>{label}</name><bndbox><xmin>{x - half}</xmin><ymin>{y - half}"
                f"</ymin><xmax>{x + half}</xmax><ymax>{y + half}</ymax></bndbox></object>"
                for label, (x, y), half in CELLS
            )
            target = folder / "annotations" / f"{name}.xml"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(
                f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
                f"{objects}</annotation>"
            )


def own_set(folder: Path, layout: Layout, more: str = "") -> Path:
    """A set of `FIELDS` fields, each of its own sample."""
    (folder / "images").mkdir(parents=True)
    names = [f"s{number}_1" for number in range(FIELDS)]
    for number, name in enumerate(names):
        path = folder / "images" / f"{name}.png"
        assert cv2.imwrite(str(path), field(number)[..., ::-1])
    write_labels(folder, layout, names)
    (folder / "dataset.toml").write_text(TOML.format(layout=layout, more=more))
    return folder


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_layout_gives_the_same_cells_cut_where_they_lie(
    tmp_path: Path, layout: Layout
) -> None:
    folder = own_set(tmp_path / "set", layout)
    white = nucleated_crops(folder, OPTIONS, tmp_path / "cache")
    assert white.counts() == {"own_lab": {"monocyte": FIELDS, "neutrophil": FIELDS}}
    assert morphology_crops(folder, OPTIONS, None).counts() == {"own_lab": {"normal": FIELDS}}
    side, middle = OPTIONS.stored_px, CELLS[0][1]
    left, top = middle[0] - side // 2, middle[1] - side // 2
    cut = field(0)[top : top + side, left : left + side]
    assert np.array_equal(white.codes[0], cut)
    parts = {hashed_part(group) for group in white.groups.tolist()}
    assert parts == set(PARTS) and len(set(white.groups.tolist())) == FIELDS
    again = nucleated_crops(folder, OPTIONS, tmp_path / "cache")
    assert np.array_equal(again.codes, white.codes)


@pytest.mark.parametrize("layout", [name for name, reader in LAYOUTS.items() if reader.boxed])
def test_the_finder_takes_the_boxes_as_kinds_of_cells(tmp_path: Path, layout: Layout) -> None:
    root = tmp_path / "root"
    own_set(root / "mine", layout)
    images = labelled_images(root)
    assert len(images) == FIELDS
    assert images[0].kinds.tolist() == [1, 1, 0] and images[0].complete == {"wbc"}
    (x, y), half = CELLS[2][1], CELLS[2][2]
    assert np.allclose(images[0].boxes[2], [x - half, y - half, x + half, y + half], atol=0.01)
    # Alone its share is all that is not simulated, beside public sets a quarter.
    config = read_config()
    alone = shares_with_own(config, root).source_shares
    assert alone["own_lab"] == pytest.approx(
        sum(config.source_shares.values()) - alone["simulated"]
    )
    (root / "bccd").mkdir()
    beside = shares_with_own(config, root).source_shares
    assert beside["own_lab"] / sum(beside.values()) == pytest.approx(OWN_SHARE)
    said = config.model_copy(update={"source_shares": {"own_lab": 1.0}})
    assert shares_with_own(said, root) is said


def test_points_are_no_boxes_and_nothing_for_the_finder(tmp_path: Path) -> None:
    folder = own_set(tmp_path / "set", "points")
    assert boxed_pictures(folder) == []
    with pytest.raises(UsageError, match="holds none of the sets with boxes"):
        labelled_images(folder)


def test_a_class_of_ones_own_says_which_kind_it_is(tmp_path: Path) -> None:
    more = 'own_classes = ["neutrophil", "monocyte", "normal", "band"]\n'
    folder = own_set(tmp_path / "set", "voc", more)
    file = folder / "annotations" / "s0_1.xml"
    file.write_text(file.read_text().replace("neutrophil", "band"))
    with pytest.raises(UsageError, match=r'which kind of cell is .band.\? .* "band" = "rbc"'):
        labelled_images(folder)
    toml = folder / "dataset.toml"
    toml.write_text(toml.read_text() + '[kinds]\nband = "wbc"\n')
    assert labelled_images(folder)[0].kinds.tolist() == [1, 1, 0]


def test_samples_are_told_by_folders_or_by_a_table(tmp_path: Path) -> None:
    folder = own_set(tmp_path / "set", "points", 'groups = "folder"\n')
    with pytest.raises(UsageError, match=r"s0_1.png: lies in no folder of its sample"):
        nucleated_crops(folder, OPTIONS, None)
    rows = (folder / "points.csv").read_text().splitlines()
    for number in range(FIELDS):
        target = folder / "images" / f"P{number % 3}"
        target.mkdir(exist_ok=True)
        (folder / "images" / f"s{number}_1.png").rename(target / f"s{number}_1.png")
    named = [rows[0], *(f"P{int(row[1]) % 3}/{row}" for row in rows[1:])]
    (folder / "points.csv").write_text("\n".join(named))
    assert len(set(nucleated_crops(folder, OPTIONS, None).groups.tolist())) == 3
    toml = folder / "dataset.toml"
    toml.write_text(toml.read_text().replace('"folder"', '"table"'))
    with pytest.raises(UsageError, match=r"cells.csv: cannot be read"):
        nucleated_crops(folder, OPTIONS, None)
    table = [f"images/P{n % 3}/s{n}_1.png,slide {n}" for n in range(FIELDS)]
    (folder / "cells.csv").write_text("\n".join(["file,group", *table]))
    assert len(set(nucleated_crops(folder, OPTIONS, None).groups.tolist())) == FIELDS


def test_a_picture_without_labels_is_left_out_and_one_looked_through_is_not(tmp_path: Path) -> None:
    folder = own_set(tmp_path / "set", "yolo")
    (folder / "labels" / "s0_1.txt").unlink()
    (folder / "labels" / "s1_1.txt").write_text("")
    (own,) = own_sets(folder)
    found = own_fields(own)
    assert [item.cells.path.stem for item in found] == [f"s{n}_1" for n in range(1, FIELDS)]
    assert found[0].cells.labels == () and found[0].cells.boxes.shape == (0, 4)


def _replaced(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return change


def _gone(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def _copied(folder: Path) -> None:
    (folder / "images" / "s5_1.png").write_bytes((folder / "images" / "s0_1.png").read_bytes())


@pytest.mark.parametrize(
    ("layout", "change", "said"),
    [
        ("yolo", _replaced("labels/s0_1.txt", "0.25", "1.7"), "s0_1.txt: line 1: the box lies out"),
        ("yolo", _replaced("labels/s0_1.txt", "0 ", "9 "), "line 1: class 9, but 3 are named"),
        ("yolo", _replaced("labels/s0_1.txt", "0 ", ""), "line 1: five numbers are needed"),
        (
            "yolo",
            _replaced("dataset.toml", "labels", "# labels"),
            "what the numbers of the classes",
        ),
        ("yolo", _gone("images/s0_1.png"), "s0_1.txt: there is no picture 's0_1' below images/"),
        ("voc", _replaced("annotations/s2_1.xml", "<xmax>100", "<xmax>900"), "900,80 lies outside"),
        ("voc", _replaced("annotations/s2_1.xml", "<xmax>100", "<xmax>60"), "is empty; draw it"),
        (
            "voc",
            _replaced("annotations/s2_1.xml", "<xmax>100", "<xmax>x"),
            "object 1: needs a name",
        ),
        ("voc", _replaced("annotations/s2_1.xml", "<width>320", "<width>640"), "640x240 px, s2_1"),
        ("voc", _replaced("annotations/s2_1.xml", "</annotation>", ""), "no readable XML"),
        (
            "voc",
            _replaced("annotations/s2_1.xml", "neutrophil", "neutrofil"),
            "did you mean neutro",
        ),
        ("coco", _gone("annotations.json"), "annotations.json: is not there"),
        ("coco", _replaced("annotations.json", "annotations", "x"), "no COCO annotations"),
        ("coco", _replaced("annotations.json", '"image_id": 0', '"image_id": 77'), "has no id 77"),
        ("coco", _replaced("annotations.json", "s3_1.png", "s33_1.png"), "no picture 's33_1.png'"),
        ("coco", _replaced("annotations.json", "[60, 40", "[60, 400"), "lies outside its picture"),
        ("points", _replaced("points.csv", "80,60", "80,6o"), "line 2: needs the numbers x and y"),
        ("points", _replaced("points.csv", "80,60", "80,600"), "line 2: the point 80,600 lies out"),
        ("points", _replaced("points.csv", ",class", ",type"), "lacks the column class"),
        ("points", _copied, "the same picture as .*s0_1.png, of another sample"),
        ("points", _replaced("dataset.toml", "own_lab", "Own Lab"), "dataset.toml: name"),
        ("points", _replaced("dataset.toml", "um_per_px", "um_per_pix"), "did you mean um_per_px"),
        ("points", _replaced("dataset.toml", '"points"', '"point"'), "dataset.toml: layout"),
        ("points", _replaced("dataset.toml", "name = ", "name : "), "no readable TOML"),
    ],
)
def test_what_is_wrong_names_the_file_the_line_and_what_to_do(
    tmp_path: Path, layout: Layout, change: Callable[[Path], None], said: str
) -> None:
    folder = own_set(tmp_path / "set", layout)
    assert len(nucleated_crops(folder, OPTIONS, None)) == 2 * FIELDS
    change(folder)
    with pytest.raises(UsageError, match=said):
        nucleated_crops(folder, OPTIONS, None)


def test_a_broken_picture_is_told_and_many_faults_are_counted(tmp_path: Path) -> None:
    folder = own_set(tmp_path / "set", "voc")
    (folder / "images" / "s4_1.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"s4_1.png: cannot be read as a picture"):
        nucleated_crops(folder, OPTIONS, None)
    for path in (folder / "images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"; and \d+ more$"):
        nucleated_crops(folder, OPTIONS, None)
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="images: holds no picture"):
        nucleated_crops(folder, OPTIONS, None)
