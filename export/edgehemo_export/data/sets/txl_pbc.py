"""TXL-PBC (Gan and Li 2024, MIT): YOLO boxes of all cells on pictures of other sets."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from edgehemo.cells.cell import CELL_KINDS, CellKind
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.images.header import read_header
from edgehemo_export.data.sets.picture import (
    PBC_WIDTH_UM,
    BoxLabels,
    CellBoxes,
    Labels,
    ScaleKnown,
    SetPicture,
    first_folder,
    pbc_group,
    picture_named,
    without_twins,
)

SOURCE = "txl_pbc"
FOLDERS = ("txl_pbc", "TXL-PBC_Dataset", "TXL-PBC_Dataset-main", "TXL-PBC-Dataset", "TXL_PBC")
LICENCE = "MIT (TXL-PBC)"
PBC_LICENCE = "MIT (TXL-PBC) on CC BY 4.0 (PBC Barcelona)"
# Of Raabin's platelets hardly one is labelled: 31 beside 508 white cells, where PBC has 323 beside
# 474; most of what a finder adds in the tune part are platelets to the eye (8 of 13).
LABELLED_COMPLETELY: Mapping[str, tuple[CellKind, ...]] = {"raabin": ("rbc", "wbc")}
# YOLO's class numbers are the index.
_ORDER: tuple[CellKind, ...] = ("wbc", "rbc", "platelet")
# The picture size tells where a picture comes from when no table does.
_RAABIN_SIDE_PX = 575
_PBC_SIDES_PX = range(358, 372)


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """Takes flat ``images/ labels/`` with ``sources.csv`` and the published
    ``TXL_PBC/images/{train,val,test}`` with ``labels/``, whose names tell nothing.

    Raabin's slides are told by the date (and number) that begins the original name: pictures of
    one day are one group. Without the table the slide is unknown and every picture is a group of
    its own, united with its duplicates.
    """
    inner = folder / "TXL_PBC" if (folder / "TXL_PBC").is_dir() else folder
    images = first_folder(inner, ("images",))
    labels = first_folder(inner, ("labels",))
    if images is None or labels is None:
        return
    table = _origins(inner / "sources.csv")
    for label in sorted(labels.rglob("*.txt")):
        part = label.parent.name if label.parent != labels else None
        path = picture_named(images if part is None else images / part, label.stem)
        if path is None:
            continue
        origin, original = table.get(path.name) or (_origin_by_size(path), path.stem)
        width_um, known = _scale(origin)
        yield SetPicture(
            path=path,
            set_name=SOURCE,
            source=f"txl_{origin}",
            kind="field",
            group=_group(origin, original) if path.name in table else f"txl-{path.stem}",
            original=original,
            licence=PBC_LICENCE if origin == "pbc" else LICENCE,
            labels=Labels(
                boxes=BoxLabels(file=label.relative_to(root).as_posix(), counts=box_counts(label))
            ),
            width_um=width_um,
            scale_known=known,
            complete=LABELLED_COMPLETELY.get(origin, CELL_KINDS),
            published_part=part,
            read_boxes=partial(yolo_boxes, label, path),
        )


def box_counts(path: Path) -> dict[CellKind, int]:
    """How many boxes of each kind a YOLO file holds; UsageError for a line that is no box."""
    counts = Counter(kind for kind, _ in _lines(path))
    return {kind: counts[kind] for kind in CELL_KINDS if counts[kind]}


def yolo_boxes(path: Path, picture: Path) -> CellBoxes:
    """The boxes of a YOLO file in px of its picture; empty ones and boxes drawn twice left out.

    Raises ImageError where the picture's size cannot be read.
    """
    header = read_header(picture.read_bytes())
    width, height = header.width, header.height
    boxes: list[tuple[float, float, float, float]] = []
    kinds: list[int] = []
    for kind, (x, y, w, h) in _lines(path):
        if w * width < 2 or h * height < 2:
            continue
        left, right = (x - w / 2) * width, (x + w / 2) * width
        boxes.append((left, (y - h / 2) * height, right, (y + h / 2) * height))
        kinds.append(CELL_KINDS.index(kind))
    found = CellBoxes(np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.intp))
    return without_twins(found)


def _lines(path: Path) -> Iterator[tuple[CellKind, tuple[float, float, float, float]]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        try:
            if len(parts) != 5 or parts[0] not in ("0", "1", "2"):
                raise ValueError
            x, y, w, h = (float(part) for part in parts[1:])
        except ValueError:
            raise UsageError(f"{path.name} line {number}: not `class x y width height`") from None
        yield _ORDER[int(parts[0])], (x, y, w, h)


def raabin_group(original: str) -> str:
    """The slide of a Raabin name: ``95-8-10-1_1053_5`` or, by its day, ``20190527_114537_0``."""
    slide = re.match(r"\d+-\d+-\d+-\d+|\d{8}(?=_)", original)
    return f"raabin-{slide.group() if slide else original}"


def _group(origin: str, original: str) -> str:
    return pbc_group(original) if origin == "pbc" else raabin_group(original)


def _origins(table: Path) -> dict[str, tuple[str, str]]:
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {
            row["image"]: (
                "raabin" if row["source"].startswith("Raabin") else "pbc",
                Path(row["original_name"]).stem,
            )
            for row in csv.DictReader(file)
        }


def _origin_by_size(path: Path) -> str:
    try:
        header = read_header(path.read_bytes())
    except EdgeHemoError:
        return "other"
    if header.width == header.height == _RAABIN_SIDE_PX:
        return "raabin"
    return "pbc" if header.width in _PBC_SIDES_PX and header.height in _PBC_SIDES_PX else "other"


def _scale(origin: str) -> tuple[float | None, ScaleKnown]:
    return (PBC_WIDTH_UM, "estimated") if origin == "pbc" else (None, "none")
