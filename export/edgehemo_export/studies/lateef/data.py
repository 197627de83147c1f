"""The study's pictures: those of the three classes, and cells of other scanners and other kinds.

A picture is shown in four ways: as it is; with the cell hidden; made alike (a clear background
divided out, one scale, one resolution); and made alike with the cell hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS
from edgehemo.cells.crops import canonical_crop
from edgehemo.errors import UsageError
from edgehemo.images.reading import read_frame
from edgehemo_export.data.sets import bccd, lmu, pbc, read_set, three_class, txl_pbc
from edgehemo_export.data.sets.picture import SetPicture, class_folders, pictures_in
from edgehemo_export.studies.lateef.configuration import (
    BackgroundOptions,
    DataOptions,
    EqualOptions,
)

Way = Literal["as they are", "cell hidden", "made alike", "made alike, cell hidden"]
WAYS: tuple[Way, ...] = ("as they are", "cell hidden", "made alike", "made alike, cell hidden")
HIDDEN: tuple[Way, ...] = ("cell hidden", "made alike, cell hidden")
# What a hidden cell is covered with, and its rim is softened over so many px, lest the rim's own
# wave be a feature: the same in every picture.
COVER_CODE = 128
RIM_PX = 6.0
# Of a set of fields, the part of it around the white cell, um across: as wide as the others.
FIELD_CROP_UM = 33.0
# Its groups tell no scanner.
OWN = "own"


@dataclass(frozen=True)
class CellPicture:
    """A picture of one cell. class_name: one of the study's classes or what else it is. width_um:
    across the picture. box: x0 y0 x1 y1 of the part of the file that is shown, None for all of it.
    """

    path: Path
    class_name: str
    source: str
    group: str
    width_um: float | None
    original: str
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class OtherSet:
    """Pictures that no method is trained on. answer: the class that is right, None where none of
    the classes is. says: why it is looked at.
    """

    name: str
    answer: str | None
    pictures: tuple[CellPicture, ...]
    says: str


@dataclass(frozen=True)
class StudyData:
    """classes: their names; pictures: of each class, in natural order. others: further sets."""

    classes: tuple[str, ...]
    pictures: dict[str, tuple[CellPicture, ...]]
    others: tuple[OtherSet, ...]

    def all(self) -> list[CellPicture]:
        """Every picture, those of the classes first."""
        own = [picture for name in self.classes for picture in self.pictures[name]]
        return own + [picture for other in self.others for picture in other.pictures]

    def files(self) -> list[Path]:
        return [picture.path for picture in self.all()]


def find_data(root: Path, options: DataOptions) -> StudyData:
    """The study's pictures below a data root or a folder of one's own.

    Raises UsageError where a class has no folder or fewer than ten pictures.
    """
    known = read_set(root, three_class.SOURCE)
    pictures = {
        name: tuple(_of_set(p) for p in known if p.labels.class_name == name)
        for name in options.classes
    }
    if not any(pictures.values()):
        pictures = {name: _own(root, name) for name in options.classes}
    lacking = {name: len(found) for name, found in pictures.items() if len(found) < 10}
    if lacking:
        told = ", ".join(f"{name} {count}" for name, count in lacking.items())
        raise UsageError(
            f"{root}: the study needs at least 10 pictures of each class in a folder of its name, "
            f"below it or below {root / three_class.FOLDERS[0]}; found of {told}"
        )
    used = {p.original for found in pictures.values() for p in found}
    return StudyData(options.classes, pictures, tuple(_others(root, options, used)))


def _own(root: Path, name: str) -> tuple[CellPicture, ...]:
    return tuple(
        CellPicture(path, name, OWN, f"{OWN}/{name}/{path.stem}", None, path.stem)
        for _, folder in class_folders(root, [name])
        for path in pictures_in(folder)
    )


def _of_set(picture: SetPicture, name: str | None = None) -> CellPicture:
    return CellPicture(
        picture.path,
        name or picture.labels.class_name or "",
        picture.source,
        picture.group,
        picture.width_um,
        picture.original,
    )


def _others(root: Path, options: DataOptions, used: set[str]) -> Iterable[OtherSet]:
    """Every further set that the root holds, evenly drawn; none for a folder of one's own."""
    single = [
        (pbc.SOURCE, "basophil", "basophil", "other pictures of a class, same scanner"),
        (pbc.SOURCE, "erythroblast", "erythroblast", "other pictures of a class, same scanner"),
        (lmu.SOURCE, "myeloblast", "myeloblast", "other pictures of a class, same scanner"),
        (pbc.SOURCE, "neutrophil", None, "a kind of cell that both scanners saw"),
        (lmu.SOURCE, "neutrophil", None, "a kind of cell that both scanners saw"),
        (pbc.SOURCE, "lymphocyte", None, "a round cell with a large nucleus, as a blast has"),
    ]
    for source, kind, answer, says in single:
        found = [
            p
            for p in read_set(root, source)
            if p.labels.class_name == kind and p.original not in used
        ]
        if found:
            right = answer if answer in options.classes else None
            chosen = tuple(_of_set(p) for p in _evenly(found, options.others))
            yield OtherSet(f"{source.upper()} {kind}", right, chosen, says)
    third = "a third microscope; its cells are none of the classes"
    fields = [p for p in read_set(root, bccd.SOURCE) if len(p.labels.cell_types) == 1]
    for wanted, answer in (("basophil", "basophil"), (None, None)):
        chosen_fields = [
            p
            for p in fields
            if (
                p.labels.cell_types[0] == wanted
                if wanted
                else "basophil" not in p.labels.cell_types
            )
        ]
        cells = [c for c in map(_white_cell, _evenly(chosen_fields, options.others)) if c]
        if cells:
            right = answer if answer in options.classes else None
            says = "the one class that a third microscope shows" if right else third
            yield OtherSet(f"BCCD {wanted or 'white cells'}", right, tuple(cells), says)
    raabin = [p for p in read_set(root, txl_pbc.SOURCE) if p.source.endswith("raabin")]
    if raabin:
        chosen = tuple(_of_set(p, "white cell") for p in _evenly(raabin, options.others))
        yield OtherSet("Raabin white cells", None, chosen, third)


def _white_cell(picture: SetPicture) -> CellPicture | None:
    """The surroundings of a field's one white cell; None where not one of them is boxed."""
    if picture.read_boxes is None or picture.width_um is None:
        return None
    found = picture.read_boxes()
    boxes = found.boxes[found.kinds == CELL_KINDS.index("wbc")]
    if len(boxes) != 1:
        return None
    x, y = (float(boxes[0][i] + boxes[0][i + 2]) / 2 for i in (0, 1))
    half = FIELD_CROP_UM / picture.width_um * read_frame(picture.path).pixels.shape[1] / 2
    box = tuple(round(v) for v in (x - half, y - half, x + half, y + half))
    return CellPicture(
        picture.path,
        picture.labels.cell_types[0],
        picture.source,
        picture.group,
        FIELD_CROP_UM,
        picture.original,
        (box[0], box[1], box[2], box[3]),
    )


def _evenly(items: Sequence[SetPicture], most: int) -> list[SetPicture]:
    """At most so many of them, spread over their order."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).astype(int)]


@dataclass(frozen=True)
class Split:
    """Pictures by index into `StudyData.all`, with their labels (index into the classes)."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]
    labels: NDArray[np.intp]

    @property
    def train_labels(self) -> NDArray[np.intp]:
        return self.labels[self.train]

    @property
    def test_labels(self) -> NDArray[np.intp]:
        return self.labels[self.test]


def split_of(data: StudyData, options: DataOptions, seed: int) -> Split:
    """As many of each class as are wanted (or the smallest class has), split within each class."""
    rng = np.random.default_rng(seed)
    sizes = [len(data.pictures[name]) for name in data.classes]
    count = min(options.pictures_a_class, *sizes)
    kept = round(options.train_share * count)
    starts = np.cumsum([0, *sizes])
    train, test = [], []
    for start, size in zip(starts, sizes, strict=False):
        drawn = start + rng.permutation(size)[:count]
        train.append(np.sort(drawn[:kept]))
        test.append(np.sort(drawn[kept:]))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return Split(np.concatenate(train), np.concatenate(test), labels)


def picture_reader(
    way: Way, side_px: int, background: BackgroundOptions, equal: EqualOptions
) -> Callable[[CellPicture], NDArray[np.uint8]]:
    """Reads a picture in one of the ways: uint8 RGB (side, side, 3)."""

    def read(picture: CellPicture) -> NDArray[np.uint8]:
        pixels = _part(read_frame(picture.path).pixels, picture.box)
        if way.startswith("made alike"):
            width_um = equal.width_um if picture.width_um is None else picture.width_um
            pixels = canonical_crop(
                pixels,
                width_um / pixels.shape[1],
                equal.side_px,
                crop_um_per_px=equal.width_um / equal.side_px,
            )
        shown = resized(pixels, side_px)
        return with_disc(shown, background.disc_share) if way in HIDDEN else shown

    return read


def _part(pixels: NDArray[np.uint8], box: tuple[int, int, int, int] | None) -> NDArray[np.uint8]:
    """A part of a picture; what lies beyond its border is the border's mirror image."""
    if box is None:
        return pixels
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box
    before = (max(0, -y0), max(0, y1 - height), max(0, -x0), max(0, x1 - width))
    grown = cv2.copyMakeBorder(pixels, *before, borderType=cv2.BORDER_REFLECT_101)
    top, left = y0 + before[0], x0 + before[2]
    return np.ascontiguousarray(grown[top : top + y1 - y0, left : left + x1 - x0], np.uint8)


def resized(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """The whole picture at side x side, whatever its proportions, as the paper resizes."""
    smaller = min(pixels.shape[:2]) > side_px
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (side_px, side_px), interpolation=way), np.uint8)


def with_disc(pixels: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """A picture whose middle is covered by a disc of ``share`` of the side, uint8 alike."""
    side = pixels.shape[0]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    outside = np.clip((np.hypot(y, x) - share * side / 2) / RIM_PX + 1, 0, 1)[..., None]
    return np.asarray(np.rint(outside * pixels + (1 - outside) * COVER_CODE), np.uint8)


def corners(pixels: NDArray[np.uint8], share: float) -> NDArray[np.float64]:
    """Mean and standard deviation of each channel outside the disc, float64 (6,)."""
    side = pixels.shape[0]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    outside = pixels[np.hypot(y, x) > share * side / 2].astype(np.float64)
    return np.concatenate([outside.mean(axis=0), outside.std(axis=0)])
