"""The cell finder's output maps: how boxes are coded in them, and how they are read.

A map has stride 4: place (row, column) stands for the canonical pixels around
(4 column + 2, 4 row + 2). Its channels are the score of each kind, the centre's offset (dx, dy)
from there in strides, and the natural logarithm of width and height over a red cell's diameter.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.records import CELL_KINDS
from edgehemo.field import CELL_DIAMETER_PX

STRIDE = 4
KINDS_IN_MAPS = CELL_KINDS
MAP_CHANNELS = len(KINDS_IN_MAPS) + 4
# Peaks below this score are noise in every use; the threshold of a kind lies above it.
MIN_SCORE = 0.05
# Boxes of one kind overlapping more than this are one cell; cells that truly overlap on a smear
# stay below it.
SAME_KIND_IOU = 0.55
# A platelet on a red cell is both; a white and a red cell in one place are one.
OTHER_KIND_IOU = 0.60


def read_maps(maps: NDArray[np.float32], min_score: float = MIN_SCORE) -> NDArray[np.float32]:
    """Peaks of the maps as rows (x0, y0, x1, y1, score, kind index), canonical px.

    maps: float32 (rows, columns, 7). A peak is the maximum of its 3x3 neighbourhood. Rows come
    unsorted, not yet suppressed; float32 (n, 6).
    """
    kinds = len(KINDS_IN_MAPS)
    found: list[NDArray[np.float32]] = []
    scores = np.ascontiguousarray(maps[..., :kinds])
    highest = cv2.dilate(scores, np.ones((3, 3), np.uint8))
    rows, columns, kind = np.nonzero((scores >= highest) & (scores >= min_score))
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
    """Greedy non-maximum suppression over rows as `read_maps` gives them, best score first.

    Boxes are compared only with neighbours on a grid as wide as the largest box, so the work
    grows with the number of cells, not with its square.
    """
    if len(detections) == 0:
        return detections
    order = np.argsort(-detections[:, 4], kind="stable")
    rows = detections[order]
    area = np.maximum(0, rows[:, 2] - rows[:, 0]) * np.maximum(0, rows[:, 3] - rows[:, 1])
    pitch = 3.0 * CELL_DIAMETER_PX
    cell_x = np.floor((rows[:, 0] + rows[:, 2]) / 2 / pitch).astype(int)
    cell_y = np.floor((rows[:, 1] + rows[:, 3]) / 2 / pitch).astype(int)
    kept_in: dict[tuple[int, int], list[int]] = {}
    kept: list[int] = []
    for i in range(len(rows)):
        near = [
            j
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            for j in kept_in.get((cell_x[i] + dx, cell_y[i] + dy), ())
        ]
        if near:
            others = rows[near]
            wide = np.minimum(rows[i, 2], others[:, 2]) - np.maximum(rows[i, 0], others[:, 0])
            tall = np.minimum(rows[i, 3], others[:, 3]) - np.maximum(rows[i, 1], others[:, 1])
            shared = np.maximum(0, wide) * np.maximum(0, tall)
            overlap = shared / np.maximum(1e-6, area[near] + area[i] - shared)
            same = others[:, 5] == rows[i, 5]
            if (overlap > np.where(same, SAME_KIND_IOU, OTHER_KIND_IOU)).any():
                continue
        kept.append(i)
        kept_in.setdefault((int(cell_x[i]), int(cell_y[i])), []).append(i)
    return np.asarray(rows[kept], dtype=np.float32)
