"""What the cell finder learns from: which pictures, and crops of them with their target maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from edgehemo.cells.cell import CellKind
from edgehemo.cells.maps import KINDS_IN_MAPS, STRIDE
from edgehemo.errors import UsageError
from edgehemo.field.canonical import CELL_DIAMETER_PX, CLEAR_FIELD_CODE
from edgehemo_export.configuration import Configuration
from edgehemo_export.data.canonical_set import (
    CUT,
    KNOWN,
    MIN_VISIBLE_SHARE,
    UNKNOWN,
    CanonicalExample,
)
from edgehemo_export.data.relabels import LabelledImage
from edgehemo_export.data.simulated.fields import SOURCE as SIMULATED

LICENCES = {
    "bccd": "BCCD (Shenggan/BCCD_Dataset), MIT, with boxes of this project where it lacks them",
    "txl_pbc": "TXL-PBC crops of PBC Barcelona (Acevedo et al. 2020), MIT and CC BY 4.0",
    "txl_raabin": "TXL-PBC crops of Raabin-WBC, MIT",
    "chula_rbc12": "Chula RBC-12 (Chula-PIC-Lab), MIT, boxes of this project at its points",
    "chula_disease": "Chula fields by diagnosis (Chula-PIC-Lab), MIT, boxes of this project",
    SIMULATED: "the simulated microscope of this project, CBC panels after AneRBC (CC BY 4.0)",
}

# A place within this share of a box's size around its centre learns the box as well.
CENTRE_SPREAD = 0.11
# How much the sliver of a red cell, or stain that the border cuts, weighs as "no white cell, no
# platelet": not in full, since a platelet may lie there unlabelled.
CUT_WEIGHT = 0.5


class SampleOptions(Configuration):
    """How crops are varied. Sizes in canonical px; zoom covers the error of an estimated scale.

    dirty_share: of the crops that get specks and blots, which are no platelets.
    """

    side_px: int = 192
    zoom_low: float = 0.75
    zoom_high: float = 1.33
    aspect: float = 0.12
    dirty_share: float = Field(default=0.0, ge=0.0, le=1.0)


@dataclass(frozen=True)
class Batch:
    """A batch of crops with their target maps.

    codes: uint8 (n, s, s, 3). heat: float32 (n, kinds, s/4, s/4). known: float32, same shape, how
    much a place without a cell weighs: 0 where the truth is unknown. box: float32 (n, 4, s/4, s/4)
    as coded in the maps. weight: float32 (n, 1, s/4, s/4), how much each place learns its box.
    """

    codes: Tensor
    heat: Tensor
    known: Tensor
    box: Tensor
    weight: Tensor


def crop(
    example: CanonicalExample, options: SampleOptions, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.intp], NDArray[np.uint8]]:
    """A varied crop: codes (s, s, 3), boxes, kinds, doubt uint8 (s, s); padded with clear field.

    The padding is unknown too: what lies beyond a picture's border is not background.
    """
    side = options.side_px
    zoom = float(np.exp(rng.uniform(np.log(options.zoom_low), np.log(options.zoom_high))))
    stretch = float(np.exp(rng.uniform(-options.aspect, options.aspect)))
    height, width = example.codes.shape[:2]
    flip_x, flip_y, turn = rng.integers(0, 2, 3)
    zx, zy = zoom * stretch**0.5, zoom / stretch**0.5
    linear = np.diag([zx, zy]) @ np.diag([1 - 2 * flip_x, 1 - 2 * flip_y])
    if turn:
        linear = np.array([[0.0, 1.0], [1.0, 0.0]]) @ linear
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float) @ linear.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = high - low
    offset = np.empty(2)
    for axis in range(2):
        room = size[axis] - side
        # A little of the border shows now and then, as at the border of any field.
        shift = rng.uniform(-0.08 * side, room + 0.08 * side) if room > 0 else rng.uniform(room, 0)
        offset[axis] = -low[axis] - shift
    matrix = np.hstack([linear, offset[:, None]])
    # Pixel centres: the warp maps index i to the point i + 0.5.
    index_matrix = matrix.copy()
    index_matrix[:, 2] += linear @ np.array([0.5, 0.5]) - 0.5
    flags = cv2.INTER_LINEAR
    pad = (CLEAR_FIELD_CODE,) * 3
    codes = cv2.warpAffine(example.codes, index_matrix, (side, side), flags=flags, borderValue=pad)
    doubt = cv2.warpAffine(
        example.doubt,
        index_matrix,
        (side, side),
        flags=cv2.INTER_NEAREST,
        borderValue=UNKNOWN,
    )
    boxes = example.boxes
    points = np.stack([boxes[:, [0, 1]], boxes[:, [2, 3]]], axis=1) @ linear.T + offset
    moved = np.hstack([points.min(axis=1), points.max(axis=1)]).astype(np.float32)
    frame_low = np.maximum(0, low + offset)
    frame_high = np.minimum(side, high + offset)
    clipped = moved.copy()
    clipped[:, [0, 2]] = np.clip(moved[:, [0, 2]], frame_low[0], frame_high[0])
    clipped[:, [1, 3]] = np.clip(moved[:, [1, 3]], frame_low[1], frame_high[1])
    area = np.prod(np.maximum(1e-3, moved[:, 2:] - moved[:, :2]), axis=1)
    seen = np.prod(np.maximum(0, clipped[:, 2:] - clipped[:, :2]), axis=1) / area
    keep = seen >= MIN_VISIBLE_SHARE
    for i in np.flatnonzero((seen > 0) & ~keep):
        # A sliver of a cell is neither asked for nor held against the finder.
        x0, y0, x1, y1 = clipped[i]
        code = CUT if KINDS_IN_MAPS[example.kinds[i]] == "rbc" else UNKNOWN
        sliver = doubt[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
        np.maximum(sliver, np.uint8(code), out=sliver)
    return (
        np.asarray(codes, dtype=np.uint8),
        clipped[keep],
        example.kinds[keep],
        np.asarray(doubt, dtype=np.uint8),
    )


def targets(
    boxes: NDArray[np.float32],
    kinds: NDArray[np.intp],
    doubt: NDArray[np.uint8],
    complete: frozenset[CellKind],
    doubt_weight: float,
) -> tuple[NDArray[np.float32], ...]:
    """Heat (kinds, r, c), known (kinds, r, c), box (4, r, c), weight (1, r, c), all float32.

    Doubtful stain counts as background in full for the kinds that are labelled completely, for
    the others by ``doubt_weight``.
    """
    rows, columns = doubt.shape[0] // STRIDE, doubt.shape[1] // STRIDE
    heat = np.zeros((len(KINDS_IN_MAPS), rows, columns), np.float32)
    coded = np.zeros((4, rows, columns), np.float32)
    weight = np.zeros((1, rows, columns), np.float32)
    grid_y, grid_x = np.arange(rows) + 0.5, np.arange(columns) + 0.5
    order = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))  # small ones on top
    for i in order:
        x0, y0, x1, y1 = boxes[i] / STRIDE
        wide, tall = max(x1 - x0, 0.5), max(y1 - y0, 0.5)
        cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
        reach_x, reach_y = CENTRE_SPREAD * wide + 0.45, CENTRE_SPREAD * tall + 0.45
        left, right = max(0, int(cx - 3 * reach_x)), min(columns, int(cx + 3 * reach_x) + 2)
        top, bottom = max(0, int(cy - 3 * reach_y)), min(rows, int(cy + 3 * reach_y) + 2)
        if left >= right or top >= bottom:
            continue
        dx, dy = cx - grid_x[left:right], cy - grid_y[top:bottom]
        bump = np.exp(-0.5 * ((dx / reach_x)[None, :] ** 2 + (dy / reach_y)[:, None] ** 2)).astype(
            np.float32
        )
        window = (slice(top, bottom), slice(left, right))
        heat[kinds[i]][window] = np.maximum(heat[kinds[i]][window], bump)
        column = min(columns - 1, max(0, int(cx)))
        row = min(rows - 1, max(0, int(cy)))
        heat[kinds[i], row, column] = 1.0
        bump[row - top, column - left] = 1.0
        better = (bump > 0.35) & (bump > weight[0][window])
        coded[0][window][better] = np.broadcast_to(dx[None, :], bump.shape)[better]
        coded[1][window][better] = np.broadcast_to(dy[:, None], bump.shape)[better]
        coded[2][window][better] = np.log(wide * STRIDE / CELL_DIAMETER_PX)
        coded[3][window][better] = np.log(tall * STRIDE / CELL_DIAMETER_PX)
        weight[0][window][better] = bump[better]
    seen = _mostly(doubt < UNKNOWN, columns, rows)
    sure = _mostly(doubt == KNOWN, columns, rows)
    cut = _mostly(doubt == CUT, columns, rows)
    known = np.empty_like(heat)
    for index, kind in enumerate(KINDS_IN_MAPS):
        other = 1.0 if kind in complete else doubt_weight
        of_cut = 0.0 if kind == "rbc" else CUT_WEIGHT
        known[index] = np.select([~seen, sure, cut], [0.0, 1.0, of_cut], other)
    known[heat > 0.3] = 1.0
    return heat, known, coded, weight


def _mostly(mask: NDArray[np.bool_], columns: int, rows: int) -> NDArray[np.bool_]:
    """True for the places of the map of which over half is in the mask."""
    share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(share > 0.5, dtype=np.bool_)


def draw_batch(
    examples: Sequence[CanonicalExample],
    chances: NDArray[np.float64],
    size: int,
    options: SampleOptions,
    rng: np.random.Generator,
    doubt_weights: Mapping[str, float] = MappingProxyType({}),
) -> Batch:
    """A batch of crops; ``chances`` is the probability of each example.

    doubt_weights: by source, how much doubtful stain weighs as background, 0 where not named.
    """
    chosen = rng.choice(len(examples), size=size, p=chances)
    parts: list[tuple[NDArray[np.float32] | NDArray[np.uint8], ...]] = []
    for i in chosen:
        example = examples[int(i)]
        codes, boxes, kinds, doubt = crop(example, options, rng)
        weight = doubt_weights.get(example.source, 0.0)
        parts.append((codes, *targets(boxes, kinds, doubt, example.complete, weight)))
    tensors = [torch.from_numpy(np.stack(store)) for store in zip(*parts, strict=True)]
    return Batch(*tensors)


def without(images: Sequence[LabelledImage], left_out: str | None) -> list[LabelledImage]:
    """The images of all sources but one; UsageError where there is no such source."""
    sources = sorted({image.source for image in images})
    if left_out is not None and left_out not in sources:
        raise UsageError(
            f"--leave-out {left_out}: no such source here; there are {', '.join(sources)}"
        )
    return [image for image in images if image.source != left_out]


def judged(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Images that can say how good a finder is: all cells of a kind or more are labelled."""
    return [image for image in images if image.complete]
