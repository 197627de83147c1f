"""What a reader tells of one picture, and the small tools all readers share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edgehemo.cells.cell import CellKind
from edgehemo.images.reading import IMAGE_SUFFIXES, natural_key

# "published": stated by who made the set. "estimated": by us, from the width of normal red cells
# (about 7.5 um). "none": to be read from the picture itself.
ScaleKnown = Literal["published", "estimated", "none"]
PictureKind = Literal["field", "crop"]
# Neighbouring file numbers often come from one slide: how many of them make one group.
FIELDS_PER_BLOCK = 10
DISEASE_FIELDS_PER_BLOCK = 5
# PBC's numbers run to a million over its 17,092 pictures, LMU's run on by class. Neither shows
# any likeness of background between neighbours, so a block bounds a group, it knows no patient.
PBC_NUMBERS_PER_BLOCK = 200
LMU_NUMBERS_PER_BLOCK = 50
# um across a whole published picture, from the width of normal red cells.
PBC_WIDTH_UM = 36.8
LMU_WIDTH_UM = 30.0


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BoxLabels(_Strict):
    """A file of boxes, relative to the data root, and how many cells of each kind it holds."""

    file: str
    counts: dict[CellKind, int]


class PointLabels(_Strict):
    """A file of points, relative to the data root, and how many cells of each type it holds."""

    file: str
    counts: dict[str, int]


class BloodCount(_Strict):
    """A complete blood count of an analyser; None where the report lacks the value."""

    hgb_g_per_l: float | None = None
    hct_l_per_l: float | None = None
    rbc_1e12_per_l: float | None = None
    mcv_fl: float | None = None
    mch_pg: float | None = None
    mchc_g_per_dl: float | None = None
    wbc_1e9_per_l: float | None = None
    plt_1e9_per_l: float | None = None

    @property
    def panel(self) -> str | None:
        """What tells one patient's panel from another's; None where a main value is missing."""
        if self.hgb_g_per_l is None or self.hct_l_per_l is None or self.rbc_1e12_per_l is None:
            return None
        return f"{self.hgb_g_per_l:.1f}-{self.hct_l_per_l:.3f}-{self.rbc_1e12_per_l:.2f}"


class Labels(_Strict):
    """Everything that is known of a picture beside its pixels.

    class_name: in the words of the contract where it names the class, else of the set. code: the
    set's own finer name. opinions: further annotators' codes. cell_types: of its white cells, by
    hand, not by place. mask: file of a binary cell mask, relative to the data root.
    """

    boxes: BoxLabels | None = None
    points: PointLabels | None = None
    class_name: str | None = None
    code: str | None = None
    opinions: list[str] = Field(default_factory=list)
    cell_types: list[str] = Field(default_factory=list)
    mask: str | None = None
    blood_count: BloodCount | None = None

    def kinds(self) -> list[str]:
        """Names of the label kinds this picture has."""
        have = {
            "boxes": self.boxes,
            "points": self.points,
            "class": self.class_name,
            "types": self.cell_types or None,
            "mask": self.mask,
            "cbc": self.blood_count,
        }
        return [name for name, value in have.items() if value is not None]


@dataclass(frozen=True)
class CellBoxes:
    """Boxed cells. boxes: float32 (n, 4), x0 y0 x1 y1, px of the picture's file. kinds: intp (n,),
    index into CELL_KINDS.
    """

    boxes: NDArray[np.float32]
    kinds: NDArray[np.intp]


@dataclass(frozen=True)
class CellPoints:
    """Cells marked by a point. centres: float32 (n, 2), x y, px of the picture's file. types: intp
    (n,), index into the set's types.
    """

    centres: NDArray[np.float32]
    types: NDArray[np.intp]


@dataclass(frozen=True)
class SetPicture:
    """One picture of a public set, its labels read, its pixels not.

    set_name: the set. source: the same, with the microscope where a set has several. original:
    name in the set it first came from, without suffix. group: what must stay on one side of a
    split. width_um: across the whole picture, None where unknown. complete: kinds of which every
    cell is labelled. published_part: the split its makers published, if any. read_boxes,
    read_points: the labels of `labels.boxes` and `labels.points` with their places; both raise
    UsageError where the file holds something else.
    """

    path: Path
    set_name: str
    source: str
    kind: PictureKind
    group: str
    original: str
    licence: str
    labels: Labels
    width_um: float | None = None
    scale_known: ScaleKnown = "none"
    complete: tuple[CellKind, ...] = ()
    published_part: str | None = None
    read_boxes: Callable[[], CellBoxes] | None = field(default=None, repr=False, compare=False)
    read_points: Callable[[], CellPoints] | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> str:
        """What it is called by wherever it lies and in whatever size: its set and original name."""
        return f"{self.set_name}/{self.original}"


def without_twins(cells: CellBoxes) -> CellBoxes:
    """Without boxes drawn twice around one cell (overlap over 0.85), which some sets have."""
    boxes = cells.boxes
    keep: list[int] = []
    for i in range(len(boxes)):
        twin = False
        for j in keep:
            wide = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            tall = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            if wide <= 0 or tall <= 0:
                continue
            shared = wide * tall
            union = (
                np.prod(boxes[i, 2:] - boxes[i, :2]) + np.prod(boxes[j, 2:] - boxes[j, :2]) - shared
            )
            if shared / union > 0.85:
                twin = True
                break
        if not twin:
            keep.append(i)
    return CellBoxes(boxes[keep], cells.kinds[keep])


def first_folder(root: Path, names: Iterable[str]) -> Path | None:
    """The first of the named folders that exists below ``root``."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder, hidden ones left out, in natural order."""
    if not folder.is_dir():
        return []
    return sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        ),
        key=natural_key,
    )


def picture_named(folder: Path, stem: str) -> Path | None:
    """The picture of a given stem in a folder, whatever its suffix."""
    candidates = (folder / f"{stem}{suffix}" for suffix in sorted(IMAGE_SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)


def class_folders(root: Path, wanted: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Folders of the wanted names, at any depth; spaces, hyphens and case do not matter."""
    names = set(wanted)
    for folder in sorted((root, *root.rglob("*"))):
        name = re.sub(r"[\s-]+", "_", folder.name.strip().lower())
        if name in names and folder.is_dir():
            yield name, folder


def trailing_number(text: str) -> int:
    """The last number in a name, 0 where there is none."""
    digits = re.findall(r"\d+", text)
    return int(digits[-1]) if digits else 0


def prefix_and_number(stem: str) -> tuple[str, int]:
    """``MMY_115214`` is ``("mmy", 115214)``."""
    prefix, _, rest = stem.partition("_")
    digits = re.findall(r"\d+", rest)
    return prefix.lower(), int(digits[0]) if digits else 0


def pbc_group(stem: str) -> str:
    """Block of a PBC name, the same in every set that publishes the picture again."""
    prefix, number = prefix_and_number(stem)
    return f"pbc-{prefix}-{number // PBC_NUMBERS_PER_BLOCK:03d}"


def lmu_group(stem: str) -> str:
    """Block of an LMU name such as ``NGS_0064``."""
    prefix, number = prefix_and_number(stem)
    return f"lmu-{prefix}-{number // LMU_NUMBERS_PER_BLOCK:03d}"
