"""BCCD (Shenggan/BCCD_Dataset, MIT): fields with VOC boxes."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from edgehemo.cells.cell import CELL_KINDS, CellKind
from edgehemo.errors import UsageError
from edgehemo_export.data.sets.picture import (
    FIELDS_PER_BLOCK,
    BoxLabels,
    CellBoxes,
    Labels,
    SetPicture,
    first_folder,
    pictures_in,
    trailing_number,
    without_twins,
)

SOURCE = "bccd"
FOLDERS = ("bccd", "BCCD_Dataset", "BCCD_Dataset-master", "BCCD")
LICENCE = "MIT (Shenggan/BCCD_Dataset)"
WIDTH_UM = 51.2
_KINDS: dict[str, CellKind] = {"rbc": "rbc", "wbc": "wbc", "platelets": "platelet"}


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """Takes ``images/ boxes/`` as well as the published ``BCCD/JPEGImages Annotations ImageSets``.

    Red cells in clumps and at borders have no box, so red cells are not complete. Neighbouring
    numbers may come from one slide: groups are blocks of ten. Types of white cells are those of
    ``white_cell_types.csv`` where it lies beside (named by hand, some wrongly, not by place).
    """
    inner = folder / "BCCD" if (folder / "BCCD").is_dir() else folder
    images = first_folder(inner, ("images", "JPEGImages"))
    boxes = first_folder(inner, ("boxes", "Annotations"))
    if images is None:
        return
    parts = _published_parts(inner / "ImageSets" / "Main")
    types = _white_cell_types(inner / "white_cell_types.csv")
    for path in pictures_in(images):
        label = None if boxes is None else boxes / f"{path.stem}.xml"
        known = None
        if label is not None and label.is_file():
            known = BoxLabels(file=label.relative_to(root).as_posix(), counts=box_counts(label))
        labels = Labels(boxes=known, cell_types=types.get(path.stem, []))
        yield SetPicture(
            path=path,
            set_name=SOURCE,
            source=SOURCE,
            kind="field",
            group=f"{SOURCE}-{trailing_number(path.stem) // FIELDS_PER_BLOCK:03d}",
            original=path.stem,
            licence=LICENCE,
            labels=labels,
            width_um=WIDTH_UM,
            scale_known="estimated",
            complete=("wbc", "platelet") if labels.boxes else (),
            published_part=parts.get(path.stem),
            read_boxes=None if known is None or label is None else partial(voc_boxes, label),
        )


def box_counts(path: Path) -> dict[CellKind, int]:
    """How many boxes of each kind a VOC file holds; UsageError where it is no XML."""
    names = Counter((item.findtext("name") or "").strip().lower() for item in _objects(path))
    return {kind: names[name] for name, kind in _KINDS.items() if names[name]}


def voc_boxes(path: Path) -> CellBoxes:
    """The boxes of a VOC file; empty ones and boxes drawn twice are left out."""
    boxes: list[list[float]] = []
    kinds: list[int] = []
    for item in _objects(path):
        kind = _KINDS.get((item.findtext("name") or "").strip().lower())
        frame = item.find("bndbox")
        if kind is None or frame is None:
            continue
        box = [float(frame.findtext(key) or "nan") for key in ("xmin", "ymin", "xmax", "ymax")]
        if not np.isfinite(box).all() or box[2] - box[0] < 2 or box[3] - box[1] < 2:
            continue  # the published file has a few empty boxes
        boxes.append(box)
        kinds.append(CELL_KINDS.index(kind))
    found = CellBoxes(np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.intp))
    return without_twins(found)


def _objects(path: Path) -> list[ElementTree.Element]:
    try:
        return list(ElementTree.parse(path).getroot().iter("object"))
    except ElementTree.ParseError as error:
        raise UsageError(f"{path}: not a readable VOC label ({error})") from None


def _white_cell_types(table: Path) -> dict[str, list[str]]:
    """Types by picture name; several of one picture stand in one cell, apart by semicolons."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {
            row["image"]: [name.strip() for name in row["types"].split(";") if name.strip()]
            for row in csv.DictReader(file)
        }


def _published_parts(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in ("train", "val", "test"):
        file = folder / f"{part}.txt"
        if file.is_file():
            found.update(dict.fromkeys(file.read_text(encoding="utf-8").split(), part))
    return found
