"""Readers of the public sets: every set becomes rows of one kind, `LabelledImage`.

A data root holds the sets side by side, each in the layout it is published in. Readers are
listed in `READERS`; a root may hold any of them.
"""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS, CellKind
from edgehemo.errors import UsageError
from edgehemo_export.data.readers import chula_disease, txl_pbc
from edgehemo_export.data.readers.records import first_folder, picture_named, trailing_number

# Our own labels of public images, by image name: see the README beside them.
RELABELS = Path(__file__).with_name("relabels")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class LabelledImage:
    """One image with boxes.

    source: the set. group: what must stay on one side of a split (slide, patient or a block of
    neighbouring files). boxes: float32 (n, 4), x0 y0 x1 y1, px of the image. kinds: intp (n,),
    index into CELL_KINDS. complete: kinds of which every cell is labelled; of the others only
    the labelled ones are known, and the rest is masked in training.
    """

    path: Path
    source: str
    group: str
    boxes: NDArray[np.float32]
    kinds: NDArray[np.intp]
    complete: frozenset[CellKind]

    @property
    def name(self) -> str:
        return f"{self.source}/{self.path.name}"


def read_bccd(folder: Path) -> Iterator[LabelledImage]:
    """BCCD (Shenggan/BCCD_Dataset, MIT): VOC boxes; red cells in clumps and at edges lack boxes.

    Takes the layout ``images/ boxes/`` as well as the published ``JPEGImages/ Annotations/``.
    Neighbouring numbers may come from one slide: groups are blocks of ten.
    """
    root = folder / "BCCD" if (folder / "BCCD").is_dir() else folder
    images = first_folder(root, ("images", "JPEGImages"))
    boxes = first_folder(root, ("boxes", "Annotations"))
    if images is None or boxes is None:
        return
    for label in sorted(boxes.glob("*.xml")):
        image = picture_named(images, label.stem)
        if image is None:
            continue
        found, kinds = _voc_boxes(label)
        block = trailing_number(label.stem) // 10
        yield LabelledImage(
            path=image,
            source="bccd",
            group=f"bccd-{block:03d}",
            boxes=found,
            kinds=kinds,
            complete=frozenset(("wbc", "platelet")),
        )


def read_txl_pbc(folder: Path) -> Iterator[LabelledImage]:
    """TXL-PBC (MIT): YOLO boxes of all cells, but for Raabin's platelets, on crops of PBC and
    Raabin-WBC.

    Raabin names begin with the slide (date and number); PBC names with class and a running
    number, taken in blocks of 200.
    """
    labels = first_folder(folder, ("labels",))
    images = first_folder(folder, ("images",))
    table = folder / "sources.csv"
    if labels is None or images is None:
        return
    origin: dict[str, tuple[str, str]] = {}
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                origin[row["image"]] = (row["source"], row["original_name"])
    yolo_kinds: tuple[CellKind, ...] = ("wbc", "rbc", "platelet")
    for label in sorted(labels.rglob("*.txt")):
        image = picture_named(images, label.stem) or picture_named(
            images / label.parent.name, label.stem
        )
        if image is None:
            continue
        source, original = origin.get(image.name, ("unknown", image.name))
        if source.startswith("Raabin"):
            slide = re.match(r"(\d+-\d+-\d+-\d+)", original)
            group = f"raabin-{slide.group(1) if slide else original}"
        else:
            prefix = original.split("_")[0].lower()
            group = f"pbc-{prefix}-{trailing_number(Path(original).stem) // 200}"
        size = _image_size(image)
        found, kinds = _yolo_boxes(label, size, yolo_kinds)
        short = "raabin" if source.startswith("Raabin") else "pbc"
        yield LabelledImage(
            path=image,
            source=f"txl_{short}",
            group=group,
            boxes=found,
            kinds=kinds,
            complete=frozenset(txl_pbc.LABELLED_COMPLETELY.get(short, CELL_KINDS)),
        )


def read_chula(folder: Path) -> Iterator[LabelledImage]:
    """Chula RBC-12 (MIT): red cells of thin smears, published as points in part of the fields.

    The boxes at the points are ours (``relabels/chula_rbc12.json``), which also says in which
    fields every red cell has one. Takes ``images/`` as well as the published ``Dataset/``.
    Neighbouring numbers may come from one slide: groups are blocks of ten.
    """
    images = first_folder(folder, ("images", "Dataset"))
    if images is None:
        return
    known = _our_labels("chula_rbc12")
    for stem, label in known.items():
        image = picture_named(images, stem)
        if image is None:
            continue
        boxes = np.array(label["boxes"], np.float32).reshape(-1, 4)
        yield LabelledImage(
            path=image,
            source="chula_rbc12",
            group=f"chula_rbc12-{int(stem) // 10:03d}",
            boxes=boxes,
            kinds=np.zeros(len(boxes), np.intp),
            complete=frozenset(("rbc",)) if label["complete"] else frozenset(),
        )


def read_chula_disease(folder: Path) -> Iterator[LabelledImage]:
    """Chula's fields by diagnosis (MIT), published without cells: boxes and kinds are ours.

    Only fields of the training part have any (``relabels/chula_disease.json``). Every white cell
    and platelet of them is labelled; of the red cells those that are plain to see.
    """
    known = _our_labels("chula_disease")
    for image in chula_disease.read(folder.parent, folder):
        label = known.get(image.path.stem)
        if label is None:
            continue
        boxes, kinds = _rows(label["boxes"])
        # The boxes' pixels are of the width they were drawn at; the full download is larger.
        yield LabelledImage(
            path=image.path,
            source=chula_disease.SOURCE,
            group=image.group,
            boxes=boxes * np.float32(_image_size(image.path)[0] / label["width"]),
            kinds=kinds,
            complete=frozenset(("wbc", "platelet")),
        )


READERS: dict[str, Callable[[Path], Iterator[LabelledImage]]] = {
    "bccd": read_bccd,
    "txl_pbc": read_txl_pbc,
    "chula_rbc12": read_chula,
    chula_disease.SOURCE: read_chula_disease,
}


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


def read_data_root(root: Path) -> list[LabelledImage]:
    """All labelled images of the sets that a data root holds; UsageError where it holds none."""
    found = [
        image
        for name, reader in READERS.items()
        if (root / name).is_dir()
        for image in reader(root / name)
    ]
    if not found:
        known = ", ".join(READERS)
        raise UsageError(f"{root} holds none of the sets with boxes ({known}), each in its folder")
    return found


def _voc_boxes(path: Path) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    names: dict[str, CellKind] = {"rbc": "rbc", "wbc": "wbc", "platelets": "platelet"}
    boxes: list[list[float]] = []
    kinds: list[int] = []
    for item in ElementTree.parse(path).getroot().iter("object"):
        kind = names.get((item.findtext("name") or "").strip().lower())
        frame = item.find("bndbox")
        if kind is None or frame is None:
            continue
        box = [float(frame.findtext(key) or "nan") for key in ("xmin", "ymin", "xmax", "ymax")]
        if not np.isfinite(box).all() or box[2] - box[0] < 2 or box[3] - box[1] < 2:
            continue  # the published file has a few empty boxes
        boxes.append(box)
        kinds.append(CELL_KINDS.index(kind))
    return _without_twins(np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.intp))


def _yolo_boxes(
    path: Path, size: tuple[int, int], order: tuple[CellKind, ...]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    width, height = size
    boxes: list[list[float]] = []
    kinds: list[int] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        parts = line.split()
        if len(parts) != 5:
            continue
        x, y, w, h = (float(v) for v in parts[1:])
        box = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
        if w * width < 2 or h * height < 2:
            continue
        boxes.append(box)
        kinds.append(CELL_KINDS.index(order[int(parts[0])]))
    return _without_twins(np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.intp))


def _without_twins(
    boxes: NDArray[np.float32], kinds: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Drop boxes drawn twice around one cell (overlap over 0.85), which some sets have."""
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
    return boxes[keep], kinds[keep]


def _image_size(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise UsageError(f"{path.name}: cannot be read as an image")
    return int(image.shape[1]), int(image.shape[0])
