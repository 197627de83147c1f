"""Labelled images made canonical once, kept in memory for training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.records import CELL_KINDS
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field import CELL_DIAMETER_PX, canonical_field
from edgehemo.images import read_frame
from edgehemo.scale import RED_CELL_DIAMETER_UM, cell_mask
from edgehemo_export.datasets import LabelledImage

# Raise when what is stored for an image changes, so that caches of the old kind are not read.
CACHE_VERSION = 2
# Cells whose centre lies nearer to the border than this share of a diameter may lack a box in
# any set: unlabelled stain there is unknown, not background.
BORDER_DIAMETERS = 0.6
# Of an object this share must be inside the picture to be asked of the finder.
MIN_VISIBLE_SHARE = 0.35


@dataclass(frozen=True)
class CanonicalExample:
    """A canonical field with boxes.

    codes: uint8 (h, w, 3), see `CanonicalField.to_uint8`. boxes: float32 (n, 4), canonical px.
    kinds: intp (n,). unknown: bool (h, w): stained, inside no box, and possibly an unlabelled
    cell of a kind the set does not label completely.
    """

    name: str
    source: str
    group: str
    codes: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    kinds: NDArray[np.intp]
    unknown: NDArray[np.bool_]


def prepare(image: LabelledImage, *, um_per_px: float | None = None) -> CanonicalExample:
    """Make a labelled image canonical, by the same function as on the device.

    The scale comes from the labelled red cells where there are four or more, else from the image
    as on the device (training adds scale jitter over it).
    """
    frame = read_frame(image.path)
    scale = um_per_px or scale_from_boxes(image.boxes, image.kinds)
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
        unknown=_unknown(field.transmittance, field.valid, boxes, "rbc" in image.complete),
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
    from rich.progress import track

    out: list[CanonicalExample] = []
    failed: list[str] = []
    for image in track(images, "canonical fields", disable=not progress):
        try:
            out.append(_cached(image, cache))
        except EdgeHemoError as error:
            failed.append(f"{image.name}: {error}")
    if not out:
        raise UsageError("no image could be made canonical: " + "; ".join(failed[:3]))
    return out


def _cached(image: LabelledImage, cache: Path | None) -> CanonicalExample:
    if cache is None:
        return prepare(image)
    stat = image.path.stat()
    seed = f"{CACHE_VERSION}/{image.name}/{stat.st_size}/{stat.st_mtime_ns}"
    seed += f"/{hashlib.sha256(image.boxes.tobytes()).hexdigest()}"
    path = cache / f"{hashlib.sha256(seed.encode()).hexdigest()[:24]}.npz"
    if path.is_file():
        with np.load(path) as stored:
            return CanonicalExample(
                name=image.name,
                source=image.source,
                group=image.group,
                codes=stored["codes"],
                boxes=stored["boxes"],
                kinds=image.kinds,
                unknown=stored["unknown"],
            )
    example = prepare(image)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.npz")
    np.savez_compressed(
        temporary, codes=example.codes, boxes=example.boxes, unknown=example.unknown
    )
    temporary.replace(path)
    return example


def _unknown(
    transmittance: NDArray[np.float32],
    valid: NDArray[np.bool_],
    boxes: NDArray[np.float32],
    red_complete: bool,
) -> NDArray[np.bool_]:
    stained = cell_mask(np.ascontiguousarray(transmittance[..., 1]), valid) > 0
    stained = cv2.dilate(stained.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    height, width = stained.shape
    for x0, y0, x1, y1 in boxes:
        stained[max(0, int(y0)) : int(np.ceil(y1)), max(0, int(x0)) : int(np.ceil(x1))] = False
    if red_complete:
        band = round(BORDER_DIAMETERS * CELL_DIAMETER_PX)
        stained[band : height - band, band : width - band] = False
    return stained | ~valid
