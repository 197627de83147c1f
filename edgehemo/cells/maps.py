"""The cell finder's output maps: how boxes are coded in them, and how they are read.

A map has stride 4: place (row, column) stands for the canonical pixels around
(4 column + 2, 4 row + 2). Its channels are the score of each kind, the centre's offset (dx, dy)
from there in strides, and the natural logarithm of width and height over a red cell's diameter.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import BOX_VALUES
from edgehemo.cells.cell import CELL_KINDS
from edgehemo.field.canonical import CELL_DIAMETER_PX

STRIDE = 4
KINDS_IN_MAPS = CELL_KINDS
MAP_CHANNELS = len(KINDS_IN_MAPS) + BOX_VALUES
# Peaks below this score are noise in every use; the threshold of a kind lies above it.
MIN_SCORE = 0.05
# Boxes of one kind overlapping more than this are one cell; cells that truly overlap on a smear
# stay below it.
SAME_KIND_IOU = 0.55
# A platelet on a red cell is both; a white and a red cell in one place are one.
OTHER_KIND_IOU = 0.60
# Pairs of boxes compared at once: bounds memory where a field shows far too many.
PAIRS_AT_ONCE = 1_000_000
# So few are compared at once, whatever their sizes: quicker than class by class.
FEW_BOXES = 2_000


def read_maps(maps: NDArray[np.float32], min_score: float = MIN_SCORE) -> NDArray[np.float32]:
    """Peaks of the maps as rows (x0, y0, x1, y1, score, kind index), canonical px.

    maps: float32 (rows, columns, 7). A peak is the maximum of its 3x3 neighbourhood. Rows come
    unsorted, not yet suppressed; float32 (n, 6).
    """
    kinds = len(KINDS_IN_MAPS)
    found: list[NDArray[np.float32]] = []
    scores = np.ascontiguousarray(maps[..., :kinds])
    highest = cv2.dilate(scores, np.ones((3, 3), np.uint8))
    # Flat first: `numpy.nonzero` of three dimensions takes seven times as long.
    peaks = np.flatnonzero((scores >= highest) & (scores >= min_score))
    rows, columns, kind = np.unravel_index(peaks, scores.shape)
    at = maps[rows, columns]
    centre_x = (columns + 0.5 + at[:, kinds]) * STRIDE
    centre_y = (rows + 0.5 + at[:, kinds + 1]) * STRIDE
    half = 0.5 * CELL_DIAMETER_PX * np.exp(np.clip(at[:, kinds + 2 :], -3.0, 2.0))
    found.append(
        np.stack(
            [
                centre_x - half[:, 0],
                centre_y - half[:, 1],
                centre_x + half[:, 0],
                centre_y + half[:, 1],
                scores[rows, columns, kind],
                kind,
            ],
            axis=1,
        ).astype(np.float32)
    )
    return found[0]


def suppress(detections: NDArray[np.float32]) -> NDArray[np.float32]:
    """Greedy non-maximum suppression over rows as `read_maps` gives them, best score first; what
    stands in further columns stays with its row.

    Boxes are compared only with those near enough to overlap that much, so the work grows with
    the number of cells, not with its square.
    """
    if len(detections) == 0:
        return detections
    rows = detections[np.argsort(-detections[:, 4], kind="stable")]
    kept = [True] * len(rows)
    pairs = _one_cell(rows)
    # By their worse box, best first: whether the better one stays is known by then.
    for worse_one, better_one in pairs[np.argsort(pairs[:, 0], kind="stable")].tolist():
        if kept[better_one]:
            kept[worse_one] = False
    return np.asarray(rows[kept], dtype=np.float32)


def rival_scores(detections: NDArray[np.float32], kinds: tuple[int, int]) -> NDArray[np.float32]:
    """Of each row of the two kinds the best score of the other one in its place, else 0; of all
    others 0. Float32 (n,).

    What is red and white to the finder by halves is surely a cell: by either score alone it is not.
    """
    scores = np.zeros(len(detections), np.float32)
    which = np.flatnonzero(np.isin(detections[:, 5], kinds))
    which = which[np.argsort(-detections[which, 4], kind="stable")]
    rows = detections[which]
    if len(rows) == 0:
        return scores
    pairs = _one_cell(rows)
    one, other = pairs[rows[pairs[:, 0], 5] != rows[pairs[:, 1], 5]].T
    np.maximum.at(scores, which[one], rows[other, 4])
    np.maximum.at(scores, which[other], rows[one, 4])
    return scores


def _one_cell(rows: NDArray[np.float32]) -> NDArray[np.intp]:
    """Pairs (larger index, smaller index) of the boxes that are one cell, intp (n, 2)."""
    x0, y0, x1, y1 = rows[:, :4].T
    kind = rows[:, 5]
    area = np.maximum(0, x1 - x0) * np.maximum(0, y1 - y0)
    found: list[NDArray[np.intp]] = [np.zeros((0, 2), np.intp)]
    for better, worse in _near_pairs(rows):
        wide = np.minimum(x1[better], x1[worse]) - np.maximum(x0[better], x0[worse])
        tall = np.minimum(y1[better], y1[worse]) - np.maximum(y0[better], y0[worse])
        shared = np.maximum(0, wide) * np.maximum(0, tall)
        overlap = shared / np.maximum(1e-6, area[better] + area[worse] - shared)
        limit = np.where(kind[better] == kind[worse], SAME_KIND_IOU, OTHER_KIND_IOU)
        same = overlap > limit
        found.append(np.stack([worse[same], better[same]], axis=1))
    return np.concatenate(found)


def _near_pairs(
    rows: NDArray[np.float32],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs (smaller index, larger index) of boxes that may overlap by half, part by part.

    Boxes that share more of their union than `SAME_KIND_IOU` have longer sides that differ by less
    than that factor: they are of one class of size or of neighbouring ones. So a large box is not
    compared with the many small ones that a wrongly read scale can show inside it.
    """
    longest = np.maximum(1.0, (rows[:, 2:4] - rows[:, :2]).max(axis=1)).astype(np.float64)
    if len(rows) <= FEW_BOXES:
        yield from _pairs_in_grid(rows, 0.5 * float(longest.max()))
        return
    size = np.floor(np.log(longest) / -np.log(SAME_KIND_IOU)).astype(np.intp)
    for own in sorted(set(size.tolist())):
        chosen = np.flatnonzero((size == own) | (size == own + 1))
        new = size[chosen] == own
        for better, worse in _pairs_in_grid(rows[chosen], 0.5 * float(longest[chosen].max())):
            # Two of the larger class meet in that class's own turn.
            first = new[better] | new[worse]
            yield chosen[better[first]], chosen[worse[first]]


def _pairs_in_grid(
    rows: NDArray[np.float32], pitch: float
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs (smaller index, larger index) of boxes in neighbouring places of a grid, at most
    about `PAIRS_AT_ONCE` at a time.

    Boxes that share half their union have centres less than half the larger side apart, which is
    the pitch.
    """
    across, down = (
        np.floor((rows[:, side] + rows[:, side + 2]) / (2 * pitch)).astype(np.intp)
        for side in (0, 1)
    )
    stride = int(across.max() - across.min()) + 3
    place = (down - down.min()) * stride + across - across.min() + 1
    order = np.argsort(place, kind="stable")
    ordered = place[order]
    # Three places side by side are one stretch of the ordered ones, in each of three rows.
    middle = place[None, :] + stride * np.array([[-1], [0], [1]])
    first = np.searchsorted(ordered, middle - 1, side="left")
    count = np.searchsorted(ordered, middle + 1, side="right") - first
    part = np.cumsum(count.sum(axis=0)) // PAIRS_AT_ONCE
    for number in range(int(part[-1]) + 1):
        own = np.flatnonzero(part == number)
        lengths = count[:, own].ravel()
        owner = np.repeat(np.tile(own, 3), lengths)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        other = order[np.repeat(first[:, own].ravel(), lengths) + within]
        ahead = other < owner
        yield other[ahead], owner[ahead]
