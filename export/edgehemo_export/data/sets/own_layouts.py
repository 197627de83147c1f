"""Fields of a laboratory's own with their cells: boxes as YOLO, VOC and COCO write them, points.

One table of layouts; each is read whole, and what is wrong in it is told at once, with the file,
the line and what to do.
"""

from __future__ import annotations

import csv
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.images.header import read_header
from edgehemo.images.reading import IMAGE_SUFFIXES, natural_key
from edgehemo.records.exports.dataset import DATASET_FILE, IMAGES_FOLDER, DatasetFile, Layout

LABELS_FOLDER, CLASSES_FILE = "labels", "classes.txt"
ANNOTATIONS_FOLDER, ANNOTATIONS_FILE = "annotations", "annotations.json"
POINTS_TABLE = "points.csv"
# A box may reach so many pixels beyond its picture: tools round.
BORDER_PX = 1.5
# A box is at least so wide and high, px: smaller ones are slips of the hand.
LEAST_BOX_PX = 2.0
# Faults that one error lists.
LISTED = 5


@dataclass(frozen=True)
class FieldCells:
    """A field with its cells. labels: as the file has them, one a cell. boxes: float32 (n, 4), x0
    y0 x1 y1, px of the picture; a point has no extent. places: file and line of each cell, for
    errors.
    """

    path: Path
    labels: tuple[str, ...]
    boxes: NDArray[np.float32]
    places: tuple[str, ...]

    @property
    def centres(self) -> NDArray[np.float32]:
        """Float32 (n, 2), x y, px of the picture."""
        return np.asarray((self.boxes[:, :2] + self.boxes[:, 2:]) / 2, np.float32)


class Faults:
    """Collects what is wrong, so that all of it is told at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, fault: str) -> None:
        self._found.append(fault)

    def tell(self) -> None:
        """UsageError with the first faults and how many there are."""
        if not self._found:
            return
        more = len(self._found) - LISTED
        said = "; ".join(self._found[:LISTED])
        raise UsageError(f"{said}; and {more} more" if more > 0 else said)


@dataclass
class _Collected:
    """Cells by picture, in the order in which they are told."""

    told: DatasetFile
    folder: Path
    faults: Faults
    cells: dict[Path, list[tuple[str, tuple[float, float, float, float], str]]]

    def look_at(self, path: Path) -> None:
        """A picture somebody looked through: it may hold no cell."""
        self.cells.setdefault(path, [])

    def add(
        self, path: Path, label: str, box: tuple[float, float, float, float], place: str
    ) -> None:
        self.cells.setdefault(path, []).append((label, box, place))


@dataclass(frozen=True)
class LayoutReader:
    """says: where its labels lie, for documentation and errors. read: collects the cells. boxed:
    whether cells have an extent.
    """

    says: str
    read: Callable[[_Collected, Mapping[str, Path]], None]
    boxed: bool = True


def read_fields(folder: Path, told: DatasetFile) -> list[FieldCells]:
    """The fields of a set with their cells, in the order of the pictures' names.

    Pictures without a label file are left out: nobody says what is in them. UsageError names each
    file that is wrong, and what to do.
    """
    pictures = field_pictures(folder)
    if not pictures:
        raise UsageError(
            f"{folder / IMAGES_FOLDER}: holds no picture; {DATASET_FILE} says layout = "
            f'"{told.layout}", whose fields lie there'
        )
    collected = _Collected(told, folder, Faults(), {})
    LAYOUTS[told.layout].read(collected, _by_name(pictures, folder, collected.faults))
    found = []
    for path, cells in sorted(collected.cells.items(), key=lambda item: natural_key(item[0])):
        size = _size_of(path, collected.faults)
        if size is None:
            continue
        for _, box, place in cells:
            fault = _outside(box, size)
            if fault:
                collected.faults.add(f"{place}: {fault}")
        found.append(
            FieldCells(
                path,
                tuple(label for label, _, _ in cells),
                np.array([box for _, box, _ in cells], np.float32).reshape(-1, 4),
                tuple(place for _, _, place in cells),
            )
        )
    collected.faults.tell()
    return found


def field_pictures(folder: Path) -> list[Path]:
    """The pictures below images/, at any depth, in natural order."""
    images = folder / IMAGES_FOLDER
    return sorted(
        (
            path
            for path in images.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES
            and not path.name.startswith(".")
            and path.is_file()
        ),
        key=natural_key,
    )


def _by_name(pictures: Sequence[Path], folder: Path, faults: Faults) -> dict[str, Path]:
    """Pictures by their path below images/ without the suffix."""
    found: dict[str, Path] = {}
    for path in pictures:
        name = path.relative_to(folder / IMAGES_FOLDER).with_suffix("").as_posix()
        if name in found:
            faults.add(
                f"{path}: {found[name].name} bears the same name, by which labels are found; "
                "rename one"
            )
        found.setdefault(name, path)
    return found


def _size_of(path: Path, faults: Faults) -> tuple[int, int] | None:
    """Width and height; None where the file is no picture, which is told."""
    try:
        header = read_header(path.read_bytes())
    except (OSError, EdgeHemoError, ValueError) as error:
        faults.add(f"{path}: cannot be read as a picture ({error}); mend it or take it out")
        return None
    return header.width, header.height


def _outside(box: tuple[float, float, float, float], size: tuple[int, int]) -> str:
    """What is wrong with a box, or a point, in a picture of this size; empty where nothing is."""
    x0, y0, x1, y1 = box
    what = "point" if (x0, y0) == (x1, y1) else "box"
    if min(x0, y0) < -BORDER_PX or x1 > size[0] + BORDER_PX or y1 > size[1] + BORDER_PX:
        where = f"{x0:g},{y0:g}" if what == "point" else f"{x0:g},{y0:g} to {x1:g},{y1:g}"
        return (
            f"the {what} {where} lies outside its picture of {size[0]}x{size[1]} px; were the "
            "labels made on the picture in another size?"
        )
    if what == "box" and min(x1 - x0, y1 - y0) < LEAST_BOX_PX:
        return f"the box {x0:g},{y0:g} to {x1:g},{y1:g} is empty; draw it again or remove it"
    return ""


def _numbers(texts: Sequence[str | None]) -> list[float] | None:
    """The numbers of some texts; None where one is none."""
    try:
        found = [float(text) for text in texts if text is not None]
    except ValueError:
        return None
    return found if len(found) == len(texts) and all(map(math.isfinite, found)) else None


def _read_yolo(collected: _Collected, pictures: Mapping[str, Path]) -> None:
    """labels/NAME.txt: a line a cell: number of its class, centre x, y, width, height, as shares of
    the picture's width and height.
    """
    names = _yolo_names(collected)
    labels = collected.folder / LABELS_FOLDER
    for file in _files(labels, ".txt", collected):
        name = file.relative_to(labels).with_suffix("").as_posix()
        if name == Path(CLASSES_FILE).stem:
            continue
        path = pictures.get(name)
        if path is None:
            collected.faults.add(_no_picture(file, name))
            continue
        size = _size_of(path, collected.faults)
        if size is None:
            continue
        collected.look_at(path)
        for place, parts in _lines(file, collected.faults):
            values = _numbers(parts)
            if values is None or len(values) != 5 or values[0] != int(values[0]):
                collected.faults.add(
                    f"{place}: five numbers are needed, `class x y width height`; here stands "
                    f"{' '.join(parts)[:40]!r}"
                )
                continue
            number, (x, y, wide, tall) = int(values[0]), values[1:]
            if not 0 <= number < len(names):
                collected.faults.add(
                    f"{place}: class {number}, but {len(names)} are named, from 0 on; name it "
                    f"under labels in {DATASET_FILE}, or in {CLASSES_FILE}"
                )
                continue
            if max(x, y, wide, tall) > 1.0 + BORDER_PX / min(size):
                collected.faults.add(
                    f"{place}: the box lies outside its picture: x, y, width and height are shares "
                    "of the picture's, from 0 to 1"
                )
                continue
            half_wide, half_tall = wide / 2, tall / 2
            box = (
                (x - half_wide) * size[0],
                (y - half_tall) * size[1],
                (x + half_wide) * size[0],
                (y + half_tall) * size[1],
            )
            collected.add(path, names[number], box, place)


def _yolo_names(collected: _Collected) -> list[str]:
    """What the numbers of classes mean, in dataset.toml or in classes.txt."""
    if collected.told.labels:
        return list(collected.told.labels)
    for file in (
        collected.folder / CLASSES_FILE,
        collected.folder / LABELS_FOLDER / CLASSES_FILE,
    ):
        if file.is_file():
            text = _text(file, collected.faults)
            return [line.strip() for line in text.splitlines() if line.strip()]
    raise UsageError(
        f"{collected.folder / DATASET_FILE}: says not what the numbers of the classes mean; write "
        f'labels = ["first", "second"], or a line each in {CLASSES_FILE}'
    )


def _read_voc(collected: _Collected, pictures: Mapping[str, Path]) -> None:
    """annotations/NAME.xml: objects with a name and a bndbox, px."""
    folder = collected.folder / ANNOTATIONS_FOLDER
    for file in _files(folder, ".xml", collected):
        name = file.relative_to(folder).with_suffix("").as_posix()
        path = pictures.get(name)
        if path is None:
            collected.faults.add(_no_picture(file, name))
            continue
        try:
            root = ElementTree.fromstring(file.read_bytes())
        except (OSError, ElementTree.ParseError) as error:
            collected.faults.add(f"{file}: no readable XML ({error}); write it again")
            continue
        stated = _numbers([root.findtext("size/width"), root.findtext("size/height")])
        size = _size_of(path, collected.faults)
        if size is None:
            continue
        if stated is not None and all(stated) and tuple(map(int, stated)) != size:
            collected.faults.add(
                f"{file}: its boxes are of a picture of {stated[0]:g}x{stated[1]:g} px, "
                f"{path.name} has {size[0]}x{size[1]}; give the picture that was labelled"
            )
            continue
        collected.look_at(path)
        for number, item in enumerate(root.iter("object"), start=1):
            place = f"{file}: object {number}"
            label = (item.findtext("name") or "").strip()
            keys = ("xmin", "ymin", "xmax", "ymax")
            values = _numbers([item.findtext(f"bndbox/{key}") for key in keys])
            if not label or values is None:
                collected.faults.add(f"{place}: needs a name and a bndbox of {', '.join(keys)}")
                continue
            collected.add(path, label, (values[0], values[1], values[2], values[3]), place)


def _read_coco(collected: _Collected, pictures: Mapping[str, Path]) -> None:
    """annotations.json: images, annotations with a bbox (x, y, width, height, px), categories."""
    file = collected.folder / ANNOTATIONS_FILE
    try:
        document = json.loads(file.read_text("utf-8"))
        images = {row["id"]: str(row["file_name"]) for row in document["images"]}
        names = {row["id"]: str(row["name"]) for row in document["categories"]}
        rows = list(document["annotations"])
    except FileNotFoundError:
        raise UsageError(
            f'{file}: is not there; {DATASET_FILE} says layout = "coco", which has its boxes there'
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{file}: no COCO annotations ({type(error).__name__}: {error}); it needs images, "
            "annotations and categories"
        ) from None
    of_image: dict[Any, Path] = {}
    for number, name in images.items():
        found = pictures.get(Path(name).with_suffix("").as_posix()) or pictures.get(Path(name).stem)
        if found is None:
            collected.faults.add(_no_picture(file, name))
            continue
        of_image[number] = found
        collected.look_at(found)
    for row in rows:
        place = f"{file}: annotation {row.get('id', '?') if isinstance(row, dict) else '?'}"
        try:
            number, label = row["image_id"], names[row["category_id"]]
            x, y, wide, tall = (float(value) for value in row["bbox"])
        except (KeyError, TypeError, ValueError):
            collected.faults.add(
                f"{place}: needs an image_id, a category_id that categories has, and a bbox of "
                "four numbers"
            )
            continue
        if number in of_image:
            collected.add(of_image[number], label, (x, y, x + wide, y + tall), place)
        elif number not in images:
            collected.faults.add(f"{place}: images has no id {number}")


def _read_points(collected: _Collected, pictures: Mapping[str, Path]) -> None:
    """points.csv: a row a cell: image, x, y (px of the picture), class."""
    file = collected.folder / POINTS_TABLE
    columns = ("image", "x", "y", "class")
    text = _text(file, collected.faults)
    table = csv.DictReader(text.splitlines())
    lacking = [name for name in columns if name not in (table.fieldnames or ())]
    if lacking:
        collected.faults.add(
            f"{file}: lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}; the "
            f"first line is {','.join(columns)}"
        )
        return
    for number, row in enumerate(table, start=2):
        place = f"{file}: line {number}"
        name = str(row["image"] or "").strip()
        path = pictures.get(Path(name).with_suffix("").as_posix())
        if path is None:
            collected.faults.add(_no_picture(file, name, place))
            continue
        values = _numbers([row["x"], row["y"]])
        label = (row["class"] or "").strip()
        if values is None or not label:
            collected.faults.add(f"{place}: needs the numbers x and y, and a class")
            continue
        x, y = values
        collected.add(path, label, (x, y, x, y), place)


LAYOUTS: Mapping[Layout, LayoutReader] = {
    "yolo": LayoutReader(f"{LABELS_FOLDER}/NAME.txt", _read_yolo),
    "voc": LayoutReader(f"{ANNOTATIONS_FOLDER}/NAME.xml", _read_voc),
    "coco": LayoutReader(ANNOTATIONS_FILE, _read_coco),
    "points": LayoutReader(POINTS_TABLE, _read_points, boxed=False),
}


def _files(folder: Path, suffix: str, collected: _Collected) -> Iterator[Path]:
    """The label files of a folder, at any depth; none is a fault."""
    found = sorted(folder.rglob(f"*{suffix}"), key=natural_key) if folder.is_dir() else []
    if not found:
        collected.faults.add(
            f"{folder}: holds no {suffix} file; {DATASET_FILE} says layout = "
            f'"{collected.told.layout}", whose labels lie in '
            f"{LAYOUTS[collected.told.layout].says}"
        )
    yield from found


def _lines(file: Path, faults: Faults) -> Iterator[tuple[str, list[str]]]:
    """The lines that hold something, with where each stands."""
    for number, line in enumerate(_text(file, faults).splitlines(), start=1):
        if line.strip():
            yield f"{file}: line {number}", line.split()


def _text(file: Path, faults: Faults) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        faults.add(f"{file}: cannot be read ({reason})")
        return ""


def _no_picture(file: Path, name: str, place: str = "") -> str:
    return (
        f"{place or file}: there is no picture {name!r} below {IMAGES_FOLDER}/; put it there, or "
        "take its labels out"
    )
