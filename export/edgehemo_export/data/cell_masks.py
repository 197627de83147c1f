"""Where the cell in the middle of a crop is: for exchanging its surroundings, never for naming it.

Azure B darkens red light, haemoglobin and eosin hardly do: what is dark in red is nucleus or
platelet. The cell is the stained matter within a cytoplasm's reach of it that is no red cell.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE

# Optical density of azure matter in red, at least; and of any stained matter in green.
AZURE_RED_DENSITY = 0.17
STAINED_GREEN_DENSITY = 0.04
# How far cytoplasm reaches beyond the nucleus, um, and the least area of a cell, um^2.
CYTOPLASM_REACH_UM = 4.0
MIN_CELL_UM2 = 2.5
# A red cell's green density is at least this many times its red density; cytoplasm's is less.
RED_CELL_RATIO = 2.6
# What hangs on the cell by less than this is its neighbour, um.
CONTACT_UM = 2.2
# The azure matter taken must lie within this of the crop's middle, um.
MIDDLE_UM = 4.0


def middle_cell(codes: NDArray[np.uint8], um_per_px: float) -> NDArray[np.bool_]:
    """The middle cell of a crop, bool (s, s); all False where none is found or it fills the crop.

    codes: uint8 (s, s, 3), canonical codes RGB.
    """
    side = codes.shape[0]
    light = np.maximum(codes.astype(np.float32), 2.0) / UINT8_PER_TRANSMITTANCE
    density = -np.log10(cv2.GaussianBlur(light, (0, 0), 0.8))
    red, green = density[..., 0], density[..., 1]
    azure = (red > AZURE_RED_DENSITY).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(azure, connectivity=8)
    none = np.zeros((side, side), np.bool_)
    if count <= 1:
        return none
    y, x = np.mgrid[:side, :side]
    from_middle = np.hypot(y - side / 2 + 0.5, x - side / 2 + 0.5) * um_per_px
    near = np.unique(labels[(from_middle < MIDDLE_UM) & (labels > 0)])
    areas = stats[:, cv2.CC_STAT_AREA] * um_per_px**2
    chosen = [int(i) for i in near if areas[i] >= MIN_CELL_UM2 / 2]
    if not chosen:
        return none
    nucleus = np.isin(labels, chosen).astype(np.uint8)
    away = cv2.distanceTransform(1 - nucleus, cv2.DIST_L2, 5) * um_per_px
    stained = (green > STAINED_GREEN_DENSITY) | (nucleus > 0)
    red_cell = (green > RED_CELL_RATIO * np.maximum(red, 0.02)) & (nucleus == 0)
    body = (stained & ~red_cell & (away < CYTOPLASM_REACH_UM)).astype(np.uint8)
    wide = round(CONTACT_UM / um_per_px) | 1
    body = cv2.morphologyEx(
        body, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide))
    )
    body = cv2.bitwise_or(body, nucleus)
    # Holes (pale cytoplasm, vacuoles) belong to the cell.
    contours, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    mask = np.zeros((side, side), np.uint8)
    for contour in contours:
        piece = np.zeros((side, side), np.uint8)
        cv2.drawContours(piece, [contour], -1, 1, cv2.FILLED)
        if (piece & nucleus).any():
            mask |= piece
    area = float(mask.sum()) * um_per_px**2
    if area < MIN_CELL_UM2 or mask.mean() > 0.7:
        return none
    grown = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    return np.asarray(grown > 0, np.bool_)


def middle_cells(codes: NDArray[np.uint8], um_per_px: float) -> NDArray[np.bool_]:
    """`middle_cell` of each crop, bool (n, s, s)."""
    out = np.zeros(codes.shape[:3], np.bool_)
    for index, crop in enumerate(codes):
        out[index] = middle_cell(crop, um_per_px)
    return out
