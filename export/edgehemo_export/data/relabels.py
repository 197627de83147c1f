"""Pictures with boxed cells: as their sets publish them, and with the labels of our own.

Ours lie in ``relabels/``, by the pictures' names; the README beside them says how they were made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS, CellKind
from edgehemo.errors import UsageError
from edgehemo.images.header import read_header
from edgehemo_export.data.sets import bccd, chula_disease, chula_rbc12, read_set, txl_pbc
from edgehemo_export.data.sets.own import boxed_pictures
from edgehemo_export.data.sets.picture import SetPicture

RELABELS = Path(__file__).with_name("relabels")
# The sets that have boxes, their own or ours.
BOXED_SETS = (bccd.SOURCE, txl_pbc.SOURCE, chula_rbc12.SOURCE, chula_disease.SOURCE)


@dataclass(frozen=True)
class LabelledImage:
    """One image with boxes.

    source, group, key: see `SetPicture`. boxes: float32 (n, 4), x0 y0 x1 y1, px of the image.
    kinds: intp (n,), index into CELL_KINDS. complete: kinds of which every cell is labelled; of
    the others only the labelled ones are known, and the rest is masked in training.
    """

    path: Path
    source: str
    group: str
    boxes: NDArray[np.float32]
    kinds: NDArray[np.intp]
    complete: frozenset[CellKind]
    key: str = ""

    @property
    def name(self) -> str:
        return f"{self.source}/{self.path.name}"


def labelled_images(root: Path, sets: Iterable[str] = BOXED_SETS) -> list[LabelledImage]:
    """All images with boxes of the named sets that a data root holds, and of own sets.

    BCCD and TXL-PBC bear their own; Chula RBC-12 ours at its points, its fields by diagnosis ours.
    Raises UsageError where the root holds none.
    """
    names = list(sets)
    pictures = [picture for name in names for picture in read_set(root, name)]
    pictures += boxed_pictures(root)
    found = [image for picture in pictures if (image := labelled(picture)) is not None]
    if not found:
        known = ", ".join(names)
        raise UsageError(
            f"{root} holds none of the sets with boxes ({known}), each in its folder, and no set "
            "of one's own with boxes (dataset.toml)"
        )
    return found


def holds_boxes(root: Path) -> bool:
    """Whether a folder is a data root with images that have boxes."""
    try:
        return bool(labelled_images(root))
    except UsageError:
        return False


def labelled(picture: SetPicture) -> LabelledImage | None:
    """A picture with its boxes, its set's or ours; None where it has none."""
    if picture.read_boxes is not None:
        cells = picture.read_boxes()
        return _image(picture, cells.boxes, cells.kinds, picture.complete)
    if picture.set_name == chula_rbc12.SOURCE:
        return _with_boxes_at_points(picture)
    if picture.set_name == chula_disease.SOURCE:
        return _with_boxes_by_diagnosis(picture)
    return None


def _image(
    picture: SetPicture,
    boxes: NDArray[np.float32],
    kinds: NDArray[np.intp],
    complete: Iterable[CellKind],
) -> LabelledImage:
    return LabelledImage(
        path=picture.path,
        source=picture.source,
        group=picture.group,
        boxes=boxes,
        kinds=kinds,
        complete=frozenset(complete),
        key=picture.key,
    )


def _with_boxes_at_points(picture: SetPicture) -> LabelledImage | None:
    """A field of Chula RBC-12, whose red cells are published as points: the boxes there are ours,
    which also say in which fields every red cell has one.
    """
    label = _our_labels("chula_rbc12").get(picture.original)
    if label is None:
        return None
    boxes = np.array(label["boxes"], np.float32).reshape(-1, 4)
    complete: tuple[CellKind, ...] = ("rbc",) if label["complete"] else ()
    return _image(picture, boxes, np.zeros(len(boxes), np.intp), complete)


def _with_boxes_by_diagnosis(picture: SetPicture) -> LabelledImage | None:
    """A field by diagnosis, published without cells; fields of the training part alone have ours.

    Every white cell and platelet of them is labelled; of the red cells those plain to see.
    """
    label = _our_labels("chula_disease").get(picture.original)
    if label is None:
        return None
    boxes, kinds = _rows(label["boxes"])
    # The boxes' pixels are of the width they were drawn at; the full download is larger.
    scale = np.float32(read_header(picture.path.read_bytes()).width / label["width"])
    return _image(picture, boxes * scale, kinds, ("wbc", "platelet"))


def completed(images: Iterable[LabelledImage]) -> list[LabelledImage]:
    """The images, those of BCCD's training part with most of the boxes that its labels lack."""
    known = _our_labels("bccd_training")
    return [_with_added(image, known) or image for image in images]


def relabelled(images: Iterable[LabelledImage]) -> list[LabelledImage]:
    """The images of BCCD that we went through by hand, with the boxes its labels lack.

    Their source says so; an image that was not gone through is not among them.
    """
    known = _our_labels("bccd")
    return [
        replace(more, source="bccd, relabelled", complete=frozenset(CELL_KINDS))
        for image in images
        if (more := _with_added(image, known)) is not None
    ]


def with_right_kinds(image: LabelledImage) -> LabelledImage:
    """An image of BCCD with published boxes whose kind is plainly wrong given the right one."""
    wrong = _our_labels("bccd_kinds").get(image.path.stem) if image.source == "bccd" else None
    if wrong is None:
        return image
    kinds = image.kinds.copy()
    for box, kind in zip(*_rows(wrong), strict=True):
        kinds[(image.boxes == box).all(axis=1)] = kind
    return replace(image, kinds=kinds)


def _with_added(image: LabelledImage, known: Mapping[str, Any]) -> LabelledImage | None:
    """An image of BCCD put right, with the boxes added to it; None where it has none of ours."""
    added = known.get(image.path.stem) if image.source == "bccd" else None
    if added is None:
        return None
    boxes, kinds = _rows(added)
    published = with_right_kinds(image)
    return replace(
        image,
        boxes=np.concatenate([image.boxes, boxes]),
        kinds=np.concatenate([published.kinds, kinds]),
    )


@cache
def _our_labels(name: str) -> dict[str, Any]:
    labels: dict[str, Any] = json.loads((RELABELS / f"{name}.json").read_text(encoding="utf-8"))
    return labels


def _rows(rows: Sequence[Sequence[float]]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Boxes (n, 4) and kinds (n,) of rows ``[x0, y0, x1, y1, kind]``."""
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    return boxes, np.array([row[4] for row in rows], np.intp)
