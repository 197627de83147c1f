"""Round red cells drawn into other shapes, so that shape and stain are learnt apart.

The one labelled set has its long cells from a few slides, each of one stain: a network that has
seen no others takes the stain for the type. A round cell of any microscope, its pixels warped into
an ellipse, a drop or a sickle, keeps that microscope's stain, light and sharpness, and its type is
known all the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.outline import contour_in_middle, outline_in_middle
from edgehemo.field.canonical import CLEAR_FIELD_CODE

# What is drawn is kept only where its outline is as long as it was asked to be, within this factor:
# a cell drawn into its neighbour is not one shape.
_ELONGATION_WITHIN = 1.35
# How far a pixel may lie from the clear field's code to be texture of it, and how many are needed.
_CLEAR_WITHIN, _MIN_CLEAR_PX = 12, 60
# A pixel of the drawn cell is fetched from at most so many times its distance from the long axis:
# at a tip the width goes to nothing.
_MOST_SQUEEZED = 8.0
# Of two tips alike an ellipse's: its half-width falls as (1 - t^2) to this power.
ELLIPSE = 0.5


@dataclass(frozen=True)
class CellShape:
    """A shape that a round cell is drawn into.

    elongation: length over width. tips: the powers p of the half-width (1 - t^2)^p at either end, t
    from -1 to 1 along the cell: `ELLIPSE` for an ellipse, 1 and more for a point. bend: of the long
    axis, 0 straight, 0.8 a crescent. angle: of the long axis, radians. area: over the round cell's.
    """

    elongation: float
    tips: tuple[float, float] = (ELLIPSE, ELLIPSE)
    bend: float = 0.0
    angle: float = 0.0
    area: float = 1.0


@dataclass(frozen=True)
class ShapeRanges:
    """From and to of what a type's shapes are drawn from, see `CellShape`. other_tip: None for a
    cell whose two ends are alike.
    """

    elongation: tuple[float, float]
    tip: tuple[float, float] = (ELLIPSE, ELLIPSE)
    other_tip: tuple[float, float] | None = None
    bend: float = 0.0
    area: tuple[float, float] = (0.9, 1.15)

    def draw(self, rng: np.random.Generator) -> CellShape:
        tip = rng.uniform(*self.tip)
        other = tip if self.other_tip is None else rng.uniform(*self.other_tip)
        return CellShape(
            elongation=rng.uniform(*self.elongation),
            tips=(tip, other),
            bend=rng.uniform(-self.bend, self.bend),
            angle=rng.uniform(0.0, 2 * math.pi),
            area=rng.uniform(*self.area),
        )


# The types that are drawn. Ranges by eye, from labelled cells and, for sickle cells, from fields of
# known diagnosis.
DRAWN: Mapping[str, ShapeRanges] = {
    "ovalocyte": ShapeRanges(elongation=(1.22, 1.6)),
    "elliptocyte": ShapeRanges(elongation=(1.65, 3.4), tip=(0.4, ELLIPSE), bend=0.15),
    "teardrop": ShapeRanges(elongation=(1.3, 2.3), other_tip=(1.6, 3.0), bend=0.2),
    "sickle_cell": ShapeRanges(
        elongation=(1.8, 4.0), tip=(0.95, 1.4), other_tip=(0.95, 1.4), bend=0.8
    ),
}


def reshaped(codes: NDArray[np.uint8], shape: CellShape) -> NDArray[np.uint8] | None:
    """A crop with its round middle cell drawn into a shape, uint8 (s, s, 3), canonical codes.

    The cell's old place becomes clear field, the rest of the crop stays as it is. None where the
    middle cell touches others, the crop has no clear field, or the drawn cell ran into others.
    """
    contour = contour_in_middle(codes)
    if contour is None:
        return None
    clear = _clear_field(codes)
    if clear is None:
        return None
    mask = np.zeros(codes.shape[:2], np.uint8)
    cv2.drawContours(mask, [contour], -1, 1, cv2.FILLED)
    across, down = _where_from(contour, codes.shape[0], shape)
    grown = cv2.dilate(mask, np.ones((3, 3), np.uint8)).astype(np.float32)
    cell = cv2.remap(codes, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    moved = cv2.remap(grown, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    here = cv2.GaussianBlur(moved, (0, 0), 0.7)[..., None]
    wider = cv2.dilate(mask, np.ones((9, 9), np.uint8)).astype(np.float32)
    old = cv2.GaussianBlur(wider, (0, 0), 1.2)[..., None]
    around = codes * (1 - old) + clear * old
    drawn = np.clip(np.rint(around * (1 - here) + cell * here), 0, 255).astype(np.uint8)
    outline = outline_in_middle(drawn)
    if outline is None:
        return None
    off = outline.elongation / shape.elongation
    return drawn if 1 / _ELONGATION_WITHIN <= off <= _ELONGATION_WITHIN else None


def _where_from(
    contour: NDArray[np.int32], side: int, shape: CellShape
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each pixel of the drawn crop the x and y of the round cell's pixel, float32 (s, s)."""
    moments = cv2.moments(contour)
    middle_x, middle_y = (moments[key] / moments["m00"] for key in ("m10", "m01"))
    radius = math.sqrt(moments["m00"] / math.pi)
    half_length = radius * math.sqrt(shape.elongation * shape.area)
    half_width = radius * math.sqrt(shape.area / shape.elongation)
    cos, sin = math.cos(shape.angle), math.sin(shape.angle)
    away = np.mgrid[:side, :side].astype(np.float64) - (side - 1) / 2
    down, across = away[0], away[1]
    along, aside = across * cos + down * sin, down * cos - across * sin
    t = along / half_length
    # Bent about the middle: the ends go one way, the waist the other.
    aside = aside - shape.bend * half_length * 0.5 * (t * t - 0.4)
    inside = np.maximum(1 - np.clip(t, -1, 1) ** 2, 1e-4)
    width = half_width * inside ** np.where(t > 0, shape.tips[1], shape.tips[0])
    squeeze = np.minimum(radius * np.sqrt(inside) / np.maximum(width, 1e-3), _MOST_SQUEEZED)
    beyond = np.sign(t) * (radius + np.abs(along) - half_length)
    round_along = np.where(np.abs(t) <= 1, radius * t, beyond)
    round_aside = aside * squeeze
    return (
        np.asarray(middle_x + round_along * cos - round_aside * sin, np.float32),
        np.asarray(middle_y + round_along * sin + round_aside * cos, np.float32),
    )


def _clear_field(codes: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """A crop's own clear field all over, float32 (s, s, 3); None where it shows hardly any."""
    flat = codes.reshape(-1, 3)
    clear = flat[np.abs(flat.astype(np.int16) - CLEAR_FIELD_CODE).max(axis=1) <= _CLEAR_WITHIN]
    if len(clear) < _MIN_CLEAR_PX:
        return None
    # A fixed stride through the clear pixels: no chance is needed, and none is drawn.
    picked = clear[(np.arange(len(flat)) * 7919) % len(clear)].reshape(codes.shape)
    return np.asarray(cv2.GaussianBlur(picked.astype(np.float32), (0, 0), 0.6), np.float32)
