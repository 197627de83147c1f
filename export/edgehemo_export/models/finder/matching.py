"""Which finding is which labelled cell, and how good a ranked list of findings is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS

# A candidate is a cell when it overlaps a label at least this much (the VOC rule).
MATCH_IOU = 0.5


def match(
    candidates: NDArray[np.float32], labels: NDArray[np.float32], kinds: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Greedy one-to-one matching by falling score within a kind at `MATCH_IOU`; bool (n,)."""
    matched = np.zeros(len(candidates), np.bool_)
    for index in range(len(CELL_KINDS)):
        ours = np.flatnonzero(candidates[:, 5] == index)
        theirs = labels[kinds == index]
        if not len(ours) or not len(theirs):
            continue
        overlap = box_iou(candidates[ours, :4], theirs)
        free = np.ones(len(theirs), np.bool_)
        for i in np.argsort(-candidates[ours, 4], kind="stable"):
            row = np.where(free, overlap[i], 0.0)
            best = int(row.argmax())
            if row[best] >= MATCH_IOU:
                free[best] = False
                matched[ours[i]] = True
    return matched


def box_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of boxes (n, 4) and (m, 4), float32 (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(0, high - low).prod(axis=2)
    area_a = np.maximum(0, a[:, 2:] - a[:, :2]).prod(axis=1)
    area_b = np.maximum(0, b[:, 2:] - b[:, :2]).prod(axis=1)
    union = area_a[:, None] + area_b[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-6), dtype=np.float32)


def average_precision(scores: NDArray[np.float32], truth: NDArray[np.bool_], labels: int) -> float:
    """Average precision over 101 recall levels (COCO), from matched candidates."""
    if len(scores) == 0:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(truth[order])
    precision = right / np.arange(1, len(order) + 1)
    recall = right / labels
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.where(at < len(envelope), envelope[np.minimum(at, len(order) - 1)], 0).mean())


def centres_in(boxes: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the centre of each box (n, 4 or more) lies on the mask (h, w); bool (n,)."""
    if len(boxes) == 0:
        return np.zeros(0, np.bool_)
    height, width = mask.shape
    column = np.clip(((boxes[:, 0] + boxes[:, 2]) / 2).astype(int), 0, width - 1)
    row = np.clip(((boxes[:, 1] + boxes[:, 3]) / 2).astype(int), 0, height - 1)
    return np.asarray(mask[row, column], dtype=np.bool_)
