"""Labelled images made canonical once, kept in memory for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS, CellKind
from edgehemo.commands.progress import tracked
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field.canonical import CELL_DIAMETER_PX, CanonicalField, canonical_field
from edgehemo.field.scale import RED_CELL_DIAMETER_UM, cell_mask
from edgehemo.images.reading import read_frame
from edgehemo.quality.artefacts import artefact_mask
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.relabels import LabelledImage

# Cells whose centre lies nearer to the border than this share of a diameter may lack a box in
# any set: unlabelled stain there is unknown, not background.
BORDER_DIAMETERS = 0.6
# Of an object this share must be inside the picture to be asked of the finder.
MIN_VISIBLE_SHARE = 0.35


# Codes of `CanonicalExample.doubt`: the labels say what is there; there is stain without a box;
# such stain cut by the border, or the sliver of a red cell; nothing is known.
KNOWN, DOUBTFUL, CUT, UNKNOWN = 0, 1, 2, 3


@dataclass(frozen=True)
class CanonicalExample:
    """A canonical field with boxes.

    codes: uint8 (h, w, 3), see `CanonicalField.to_uint8`. boxes: float32 (n, 4), canonical px.
    kinds: intp (n,). doubt: uint8 (h, w), `KNOWN`, `DOUBTFUL`, `CUT` or `UNKNOWN`. complete: the
    kinds of which doubtful stain is surely none.
    """

    name: str
    source: str
    group: str
    codes: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    kinds: NDArray[np.intp]
    doubt: NDArray[np.uint8]
    complete: frozenset[CellKind]


def prepare(image: LabelledImage, *, um_per_px: float | None = None) -> CanonicalExample:
    """Make a labelled image canonical, by the same function as on the device.

    The scale is estimated from the image as on the device, since the finder will meet its errors
    there; where the image shows none it comes from the labelled red cells.
    """
    frame = read_frame(image.path)
    field = canonical_field(frame, um_per_px=um_per_px)
    if field.scale_source == "assumed":
        scale = scale_from_boxes(image.boxes, image.kinds)
        if scale is not None:
            field = canonical_field(frame, um_per_px=scale)
    across, down = field.frame_px_per_canonical_px
    boxes = (image.boxes / np.array([across, down, across, down])).astype(np.float32)
    return CanonicalExample(
        name=image.name,
        source=image.source,
        group=image.group,
        codes=field.to_uint8(),
        boxes=boxes,
        kinds=image.kinds,
        doubt=_doubt(field, boxes, image.complete),
        complete=image.complete,
    )


def scale_from_boxes(boxes: NDArray[np.float32], kinds: NDArray[np.intp]) -> float | None:
    """um/px that makes the median labelled red cell 7.5 um wide, None below four cells."""
    red = boxes[kinds == CELL_KINDS.index("rbc")]
    if len(red) < 4:
        return None
    sides = red[:, 2:] - red[:, :2]
    aspect = sides.max(axis=1) / np.maximum(1.0, sides.min(axis=1))
    whole = sides[aspect < 1.35]
    chosen = whole if len(whole) >= 4 else sides
    return float(RED_CELL_DIAMETER_UM / np.median(np.sqrt(chosen.prod(axis=1))))


def prepare_all(
    images: Sequence[LabelledImage], cache: Path | None, *, progress: bool = False
) -> list[CanonicalExample]:
    """`prepare` for every image, through a cache folder; unusable images are left out by name."""
    out: list[CanonicalExample] = []
    failed: list[str] = []
    for image in tracked(images, "canonical fields", len(images), shown=progress):
        try:
            out.append(_cached(image, cache))
        except EdgeHemoError as error:
            failed.append(f"{image.name}: {error}")
    if not out:
        raise UsageError("no image could be made canonical: " + "; ".join(failed[:3]))
    return out


def _cached(image: LabelledImage, cache: Path | None) -> CanonicalExample:
    def make() -> dict[str, NDArray[Any]]:
        example = prepare(image)
        return {"codes": example.codes, "boxes": example.boxes, "doubt": example.doubt}

    depends_on = {
        "picture": content_of(image.path),
        "boxes": image.boxes,
        "kinds": image.kinds,
        "complete": image.complete,
    }
    stored = prepared(cache, "canonical-field", depends_on, make)
    return CanonicalExample(
        name=image.name,
        source=image.source,
        group=image.group,
        codes=stored["codes"],
        boxes=stored["boxes"],
        kinds=image.kinds,
        doubt=stored["doubt"],
        complete=image.complete,
    )


def _doubt(
    field: CanonicalField, boxes: NDArray[np.float32], complete: frozenset[CellKind]
) -> NDArray[np.uint8]:
    green = np.ascontiguousarray(field.transmittance[..., 1])
    mask = cv2.dilate(cell_mask(green, field.valid), np.ones((5, 5), np.uint8))
    stained = np.asarray(mask > 0, dtype=np.bool_)
    # Scale bars, pointers and dirt are surely no cells.
    stained &= ~artefact_mask(field)
    height, width = stained.shape
    for x0, y0, x1, y1 in boxes:
        stained[max(0, int(y0)) : int(np.ceil(y1)), max(0, int(x0)) : int(np.ceil(x1))] = False
    doubt = np.where(stained, DOUBTFUL, KNOWN).astype(np.uint8)
    if "rbc" in complete:
        band = round(BORDER_DIAMETERS * CELL_DIAMETER_PX)
        inner = np.zeros(stained.shape, np.bool_)
        inner[band : height - band, band : width - band] = True
        doubt[stained & ~inner] = CUT
    doubt[~field.valid] = UNKNOWN
    return doubt
