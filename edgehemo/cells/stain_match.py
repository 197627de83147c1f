"""A white cell of another stain, recoloured as the classifiers' training knows cells.

What a stain and a camera make of a smear is told by two colours: that of its red cells, which eosin
dyes, and that of its nuclei, which azure dyes. In optical density the two are directions, and a
linear map that takes them to those of a known stain takes every mixture of the two along. It is a
measured colour, not a learnt one: the network then sees shapes and granules in colours that it
knows. Whether it does know them is asked of it again (its familiarity).

The reference is that of PBC Barcelona (May-Gruenwald-Giemsa, CellaVision DM96), which taught most
of the types: medians over its kept-out pictures, in canonical fields.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE

Colour = NDArray[np.float64]

# Optical densities in red, green and blue, in the camera's encoded values.
REFERENCE_NUCLEUS: Colour = np.array([0.564, 0.922, 0.215])
REFERENCE_RED_CELL: Colour = np.array([0.084, 0.143, 0.086])
# The middle of a crop, where its nucleus lies, as a share of the side; and the darkest part of that
# in red light, which azure absorbs, is the nucleus.
_MIDDLE = 0.5
_NUCLEUS_SHARE = 0.15
# What is stained, and less in red than in green by this, is a red cell; so many pixels of it tell.
_STAINED = 0.06
_RED_TO_GREEN = 0.6
_MIN_RED_PX = 150
# A middle without a nucleus is as pale in red light; two colours that are nearly one (the sine of
# the angle between them) span no map.
_MIN_NUCLEUS_DENSITY = 0.08
_MIN_SINE = 0.1
# Transmittances beyond these are no stain.
_TRANSMITTANCES = (0.02, 1.2)


def red_cell_colour(codes: NDArray[np.uint8], around: NDArray[np.bool_]) -> Colour | None:
    """The optical density of the red cells in a part of a picture, None where it shows too few.

    codes: uint8 RGB (h, w, 3), canonical codes. around: bool (h, w).
    """
    density = _density(codes[around])
    red, green = density[:, 0], density[:, 1]
    cells = density[(green > _STAINED) & (red < _RED_TO_GREEN * green)]
    return np.median(cells, axis=0) if len(cells) >= _MIN_RED_PX else None


def outside_middle(side_px: int, inner_px: int) -> NDArray[np.bool_]:
    """Of a square crop what lies outside its middle, bool (side, side)."""
    around = np.ones((side_px, side_px), np.bool_)
    first = (side_px - inner_px) // 2
    around[first : first + inner_px, first : first + inner_px] = False
    return around


def matched(crop: NDArray[np.uint8], red_cell: Colour) -> NDArray[np.uint8] | None:
    """A crop uint8 (side, side, 3) of canonical codes with its stain taken to the reference's.

    red_cell: see `red_cell_colour`. None where the middle holds no nucleus, or where that has the
    colour of a red cell.
    """
    nucleus = _nucleus_colour(crop)
    if nucleus[0] < _MIN_NUCLEUS_DENSITY:
        return None
    own, sine = _frame(nucleus, red_cell)
    if sine < _MIN_SINE:
        return None
    reference, _ = _frame(REFERENCE_NUCLEUS, REFERENCE_RED_CELL)
    to_reference = np.linalg.solve(own, reference).astype(np.float32)
    density = _density(crop) @ to_reference
    codes = np.clip(np.rint(UINT8_PER_TRANSMITTANCE * np.power(10.0, -density)), 0, 255)
    return np.asarray(codes, np.uint8)


def _nucleus_colour(crop: NDArray[np.uint8]) -> Colour:
    """Mean optical density of the darkest part of a crop's middle."""
    side = crop.shape[0]
    first = round(side * (1 - _MIDDLE) / 2)
    middle = _density(crop[first : side - first, first : side - first]).reshape(-1, 3)
    dark = middle[:, 0] >= np.quantile(middle[:, 0], 1 - _NUCLEUS_SHARE)
    return np.asarray(middle[dark].mean(axis=0), np.float64)


def _frame(nucleus: Colour, red_cell: Colour) -> tuple[NDArray[np.float64], float]:
    """Both colours and what stands across them, rows of (3, 3), and the sine of their angle."""
    first, second = nucleus / np.linalg.norm(nucleus), red_cell / np.linalg.norm(red_cell)
    across = np.cross(first, second)
    return np.stack([nucleus, red_cell, across]), float(np.linalg.norm(across))


def _density(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Optical density of canonical codes, float32, same shape."""
    transmittance = codes.astype(np.float32) / np.float32(UINT8_PER_TRANSMITTANCE)
    return np.asarray(-np.log10(np.clip(transmittance, *_TRANSMITTANCES)), np.float32)
