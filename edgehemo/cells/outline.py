"""The outline of single red cells, and what of their shape does not hang on the stain.

How long a cell is, how pointed and how ragged, is measured on its outline alone. A network that has
learnt the looks of one microscope names a sickle cell of another one `normal`; its outline is as
long there as anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.field.canonical import CANONICAL_UM_PER_PX, UINT8_PER_TRANSMITTANCE
from edgehemo.field.scale import cell_mask

# The middle of the cell in the middle of a crop lies within this of the crop's, um: that of a pair
# of cells lies between them.
_CENTRE_WITHIN_UM = 1.2
# An outline is a single cell's where its box and the finder's share this much of their union: a
# clump's reaches beyond.
_SAME_BOX_IOU = 0.6
# A width is measured over this share of the length at either end.
_END_SHARE = 0.15
# Smaller things are specks, um2.
_MIN_AREA_UM2 = 6.0


@dataclass(frozen=True, slots=True)
class Outline:
    """One red cell's shape.

    area_um2: within the outline, holes filled. elongation: length over width, of the ellipse of
    the same second moments, 1 for a circle. solidity: area over that of the convex hull; a crescent
    and a ragged cell have less than 1. tips: how wide the cell is near its two ends over its
    greatest width, the sharper one first; 0.5 for an ellipse, less for a point. roundness:
    4 pi area / perimeter^2.
    """

    area_um2: float
    elongation: float
    solidity: float
    tips: tuple[float, float]
    roundness: float


def outlines_at(
    codes: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    *,
    um_per_px: float = CANONICAL_UM_PER_PX,
    valid: NDArray[np.bool_] | None = None,
) -> list[Outline | None]:
    """The outline of the single cell in each box, None where it touches others or the border.

    codes: uint8 RGB (h, w, 3), canonical codes. boxes: float32 (n, 4), x0 y0 x1 y1 in px of them.
    valid: bool (h, w), False where nothing can be said.
    """
    if not len(boxes):
        return []
    contours = _contours(codes, valid)
    if not contours:
        return [None] * len(boxes)
    frames = np.array([cv2.boundingRect(contour) for contour in contours], np.float32)
    frames[:, 2:] += frames[:, :2]
    height, width = codes.shape[:2]
    inside = (frames[:, :2] > 0) & (frames[:, 2:] < (width, height))
    whole = np.asarray(inside.all(axis=1), np.bool_)
    overlap = _iou(frames, np.asarray(boxes, np.float32))
    best = overlap.argmax(axis=1)
    fits = whole[best] & (overlap[np.arange(len(best)), best] >= _SAME_BOX_IOU)
    return [
        _measured(contours[index], um_per_px) if fit else None
        for index, fit in zip(best.tolist(), fits.tolist(), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class PlacedOutline:
    """An outline and where its middle lies, px of the picture: x to the right, y down."""

    x: float
    y: float
    outline: Outline


def outlines_of_field(
    codes: NDArray[np.uint8],
    *,
    um_per_px: float = CANONICAL_UM_PER_PX,
    valid: NDArray[np.bool_] | None = None,
) -> list[PlacedOutline]:
    """Every outline of a field that touches no border, single cells' and clumps' alike.

    codes: uint8 RGB (h, w, 3), canonical codes. valid: bool (h, w), False where nothing can be
    said. No finder is asked: what an outline is of must be told by its shape.
    """
    height, width = codes.shape[:2]
    found: list[PlacedOutline] = []
    for contour in _contours(codes, valid):
        left, top, wide, tall = cv2.boundingRect(contour)
        if left <= 0 or top <= 0 or left + wide >= width or top + tall >= height:
            continue
        outline = _measured(contour, um_per_px)
        if outline is not None:
            moments = cv2.moments(contour)
            x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
            found.append(PlacedOutline(x, y, outline))
    return found


def outline_in_middle(
    codes: NDArray[np.uint8], *, um_per_px: float = CANONICAL_UM_PER_PX
) -> Outline | None:
    """The outline of the cell in the middle of a crop, None where it touches others or the border.

    codes: uint8 RGB (h, w, 3), canonical codes, the cell in the middle.
    """
    contour = contour_in_middle(codes, um_per_px=um_per_px)
    return None if contour is None else _measured(contour, um_per_px)


def contour_in_middle(
    codes: NDArray[np.uint8], *, um_per_px: float = CANONICAL_UM_PER_PX
) -> NDArray[np.int32] | None:
    """The points of that outline, int32 (n, 1, 2), x y in px; None as in `outline_in_middle`."""
    height, width = codes.shape[:2]
    near = []
    for contour in _contours(codes, None):
        moments = cv2.moments(contour)
        if not moments["m00"]:
            continue
        x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
        away_um = um_per_px * math.hypot(x - (width - 1) / 2, y - (height - 1) / 2)
        if away_um <= _CENTRE_WITHIN_UM:
            near.append((away_um, contour))
    if not near:
        return None
    contour = min(near, key=lambda pair: pair[0])[1]
    left, top, wide, tall = cv2.boundingRect(contour)
    if left <= 0 or top <= 0 or left + wide >= width or top + tall >= height:
        return None
    return contour


def _contours(
    codes: NDArray[np.uint8], valid: NDArray[np.bool_] | None
) -> Sequence[NDArray[np.int32]]:
    green = np.asarray(codes[..., 1], np.float32) / np.float32(UINT8_PER_TRANSMITTANCE)
    mask = cell_mask(green, np.ones(green.shape, np.bool_) if valid is None else valid)
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [np.asarray(contour, np.int32) for contour in found]


def _iou(frames: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """What boxes (n, 4) and frames (m, 4) share of their union, float32 (n, m)."""
    own = boxes[:, None]
    sides = np.minimum(frames[:, 2:], own[..., 2:]) - np.maximum(frames[:, :2], own[..., :2])
    shared = np.maximum(sides, 0).prod(axis=2)
    areas = (frames[:, 2:] - frames[:, :2]).prod(axis=1) + (own[..., 2:] - own[..., :2]).prod(
        axis=2
    )
    return np.asarray(shared / np.maximum(areas - shared, 1e-6), np.float32)


def _reach(values: NDArray[np.float64]) -> float:
    """From the least to the greatest."""
    return float(values.max() - values.min())


def _measured(contour: NDArray[np.int32], um_per_px: float) -> Outline | None:
    moments = cv2.moments(contour)
    area = moments["m00"]
    if area * um_per_px**2 < _MIN_AREA_UM2:
        return None
    across, both, down = (moments[key] / area for key in ("mu20", "mu11", "mu02"))
    half_sum, apart = (across + down) / 2, math.hypot((across - down) / 2, both)
    long_side, short_side = half_sum + apart, max(half_sum - apart, 1e-9)
    angle = 0.5 * math.atan2(2 * both, across - down)
    middle = np.array([moments["m10"] / area, moments["m01"] / area])
    points = contour.reshape(-1, 2) - middle
    along = points @ np.array([math.cos(angle), math.sin(angle)])
    aside = points @ np.array([-math.sin(angle), math.cos(angle)])
    first, last = float(along.min()), float(along.max())
    end = _END_SHARE * (last - first)
    low, high = along <= first + end, along >= last - end
    widest = _reach(aside)
    tips = sorted(_reach(aside[part]) / max(widest, 1e-9) for part in (low, high))
    hull_area = cv2.contourArea(cv2.convexHull(contour))
    perimeter = cv2.arcLength(contour, closed=True)
    return Outline(
        area_um2=area * um_per_px**2,
        elongation=math.sqrt(long_side / short_side),
        solidity=min(1.0, area / max(hull_area, 1e-9)),
        tips=(tips[0], tips[1]),
        roundness=4 * math.pi * area / max(perimeter, 1e-9) ** 2,
    )
