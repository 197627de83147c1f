"""Crops of cells cut from the sets of fields, as the device cuts them from its canonical fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS, CellKind
from edgehemo.cells.crops import crops_at
from edgehemo.errors import EdgeHemoError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, canonical_field
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.canonical_set import scale_from_boxes
from edgehemo_export.data.cell_crops import CellCrops, CropOptions
from edgehemo_export.data.relabels import LabelledImage
from edgehemo_export.data.sets import chula_disease, chula_rbc12

# One microscope and camera took every field of Chula RBC-12 (Nikon DS-Fi2, 1000x), stored at
# 640x480: one scale, from the width of the normal red cells. Estimating it field by field would
# make every slide's median cell 7.5 um wide and macrocytosis invisible.
CHULA_UM_PER_PX = 0.20

# An image, its boxes in canonical px, float32 (n, 4), and its canonical codes to the centres of the
# crops, canonical px, float32 (k, 2).
CentreChooser = Callable[
    [LabelledImage, NDArray[np.float32], NDArray[np.uint8]], NDArray[np.float32]
]


def rng_of(image: LabelledImage) -> np.random.Generator:
    """Draws from an image by its name: the same at every call."""
    return np.random.default_rng(int.from_bytes(image.path.stem.encode()[-6:], "big"))


def centres_of(kind: CellKind) -> CentreChooser:
    """Chooses every cell of one kind."""

    def choose(
        image: LabelledImage, boxes: NDArray[np.float32], codes: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        of_kind = boxes[image.kinds == CELL_KINDS.index(kind)]
        return np.asarray((of_kind[:, :2] + of_kind[:, 2:]) / 2, np.float32)

    return choose


def field_crops(
    key: str,
    images: Sequence[LabelledImage],
    choose: CentreChooser,
    options: CropOptions,
    cache: Path | None,
    classes: tuple[str, ...],
    label: int,
    *,
    estimated_scale: bool = False,
) -> CellCrops:
    """Crops cut from canonical fields; their number a field is kept beside the codes.

    key: names the images and the choice in the cache and the crops. classes: of the crops, which
    all bear ``label``. estimated_scale: by the device's own estimate; else the set's, or by its
    boxes. No images give no crops; a field that cannot be made canonical has none.
    """
    side = options.stored_px
    zoom = options.um_per_px / CANONICAL_UM_PER_PX

    def make() -> dict[str, NDArray[Any]]:
        owners: list[int] = []
        kept: list[NDArray[np.uint8]] = []
        for index, image in enumerate(images):
            try:
                cut = _cut(image, choose, side, zoom, estimated_scale)
            except EdgeHemoError:
                continue
            kept.extend(cut)
            owners.extend([index] * len(cut))
        codes = np.stack(kept) if kept else np.zeros((0, side, side, 3), np.uint8)
        return {"codes": codes, "owners": np.array(owners, np.intp)}

    # What is chosen follows the picture's name, too (`rng_of`): other labels or names, other crops.
    depends_on = {
        "choice": key,
        "pictures": [(image.source, image.path.name, content_of(image.path)) for image in images],
        "boxes": [image.boxes for image in images],
        "kinds": [image.kinds for image in images],
        "side_px": side,
        "um_per_px": options.um_per_px,
        "estimated_scale": estimated_scale,
        "scales": (CHULA_UM_PER_PX, chula_disease.WIDTH_UM),
    }
    stored = prepared(cache, "cell-crops", depends_on, make)
    owner = stored["owners"].tolist()
    return CellCrops(
        classes=classes,
        codes=stored["codes"],
        labels=np.full(len(owner), label, np.intp),
        sources=np.array([images[i].source for i in owner], np.str_),
        groups=np.array([images[i].group for i in owner], np.str_),
        names=np.array([f"{key}/{images[i].path.name}#{n}" for n, i in enumerate(owner)], np.str_),
        um_per_px=options.um_per_px,
        files=tuple(images[i].path for i in owner),
        keys=tuple(images[i].key for i in owner),
    )


def _cut(
    image: LabelledImage, choose: CentreChooser, side_px: int, zoom: float, estimated_scale: bool
) -> list[NDArray[np.uint8]]:
    frame = read_frame(image.path)
    scale = None if estimated_scale else _scale_of_set(image, frame)
    field = canonical_field(frame, um_per_px=scale)
    across, down = field.frame_px_per_canonical_px
    boxes = (image.boxes / np.array([across, down, across, down])).astype(np.float32)
    codes = field.to_uint8()
    return list(crops_at(codes, choose(image, boxes, codes), side_px, field_px_per_crop_px=zoom))


def _scale_of_set(image: LabelledImage, frame: Frame) -> float | None:
    """um/px of an image; None where its boxes cannot tell."""
    if image.source == chula_rbc12.SOURCE:
        return CHULA_UM_PER_PX
    if image.source == chula_disease.SOURCE:
        return chula_disease.WIDTH_UM / frame.width
    return scale_from_boxes(image.boxes, image.kinds)
