"""Whether two frames show the same place of the slide.

Counting one place twice would make a sample look larger than it is and its interval narrower than
it may be. So frames of a video or a live camera are taken for different fields only when they do
not overlap. Measured on shifted, relit and noisy crops of real fields (2026-11): a shared part of
20 % or more correlates at 0.85 or more, different fields of one microscope at 0.67 at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

# Longest side of the pictures compared: a 20 px cell of a 1224 px field still spans 1.6 px.
COMPARED_SIDE_PX = 96
# Slow brightness (the vignette) is common to all fields; only structure below this size counts.
HIGH_PASS_SIGMA_PX = 6.0
# Correlation at and above which two frames overlap.
SAME_PLACE_CORRELATION = 0.80
# A shared part smaller than this share of the frame is neither found nor looked for.
MIN_SHARED = 0.20
# Of so many frames that others are compared with the energies at every shift are kept, some 220 kB
# each.
KEPT_PLACES = 20
# Outside the field stop lies the eyepiece's edge, in the same place in every frame.
_STOP_LEVEL = 0.45


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """What is kept of a frame to recognise its place: spectra of its structure and its energy.

    One is itself and no other: what it is compared by is kept while it is compared.
    """

    shape: tuple[int, int]
    structure: NDArray[np.complex128]
    energy: NDArray[np.complex128]


def place_of(pixels: NDArray[np.uint8]) -> Place:
    """The place a frame (uint8 RGB) shows, from its green channel."""
    return place_in(compared_picture(pixels))


def compared_picture(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All that is compared of a frame (uint8 RGB): its green, `COMPARED_SIDE_PX` long, uint8."""
    height, width = pixels.shape[:2]
    factor = COMPARED_SIDE_PX / max(height, width)
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)[..., 1]
    return np.ascontiguousarray(small, dtype=np.uint8)


def place_in(picture: NDArray[np.uint8]) -> Place:
    """The place of a `compared_picture`."""
    structure = structure_of(picture)
    return Place(picture.shape, _spectrum(structure), _spectrum(structure * structure))


def structure_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What of a `compared_picture` is cells and not light, float32 of its shape."""
    small = picture.astype(np.float32)
    smooth = cv2.GaussianBlur(small, (0, 0), HIGH_PASS_SIGMA_PX)
    inside = (smooth > _STOP_LEVEL * float(np.quantile(smooth, 0.95))).astype(np.uint8)
    inside = np.asarray(cv2.erode(inside, np.ones((5, 5), np.uint8)), dtype=np.uint8)
    return np.asarray((small - smooth) * inside, dtype=np.float32)


def correlation(one: Place, other: Place) -> float:
    """The best normalised correlation over all shifts that share `MIN_SHARED` of the frame.

    1 for the same place, near 0 for different ones; 0 for frames of different shape.
    """
    found = _correlations(one, other)
    return 0.0 if found is None else float(np.max(found))


def displacement(one: Place, other: Place) -> float | None:
    """How far the slide moved between two frames, px of the compared picture.

    None where the two do not show the same place, or nothing that could be followed.
    """
    found = _correlations(one, other)
    if found is None:
        return None
    row, column = np.unravel_index(int(np.argmax(found)), found.shape)
    if found[row, column] < SAME_PLACE_CORRELATION:
        return None
    # Shifts beyond half of the padded picture are negative ones.
    down = row - found.shape[0] if row > found.shape[0] // 2 else row
    across = column - found.shape[1] if column > found.shape[1] // 2 else column
    return float(np.hypot(down, across))


def _correlations(one: Place, other: Place) -> NDArray[np.float64] | None:
    """Normalised correlation at every cyclic shift of the padded pictures, -1 where too little is
    shared; None where nothing can be compared.
    """
    if one.shape != other.shape:
        return None
    rows, columns = one.shape
    shared = _full_window(rows, columns)[1]
    padded = (2 * rows, 2 * columns)
    product = np.fft.irfft2(one.structure * other.structure.conj(), padded)
    energies = _energy_as_first(one) * _energy_as_second(other)
    usable = (shared >= MIN_SHARED * rows * columns) & (energies > 1e-6 * energies.max() + 1e-9)
    if not usable.any():
        return None
    found = np.full(padded, -1.0)
    found[usable] = product[usable] / np.sqrt(energies[usable])
    return found


def same_place(one: Place, other: Place) -> bool:
    """Whether two frames overlap by a fifth or more."""
    return correlation(one, other) >= SAME_PLACE_CORRELATION


def _spectrum(values: NDArray[np.floating]) -> NDArray[np.complex128]:
    rows, columns = values.shape
    return np.asarray(np.fft.rfft2(values, (2 * rows, 2 * columns)), dtype=np.complex128)


@lru_cache(maxsize=2)
def _energy_as_first(one: Place) -> NDArray[np.float64]:
    """The energy of what a frame shares with another at each shift, compared with many in turn."""
    full = _full_window(*one.shape)[0]
    return np.maximum(np.fft.irfft2(one.energy * full.conj(), _padded(one)), 0)


@lru_cache(maxsize=KEPT_PLACES)
def _energy_as_second(other: Place) -> NDArray[np.float64]:
    """The same of the frame that it is compared with."""
    full = _full_window(*other.shape)[0]
    return np.maximum(np.fft.irfft2(full * other.energy.conj(), _padded(other)), 0)


def _padded(place: Place) -> tuple[int, int]:
    rows, columns = place.shape
    return 2 * rows, 2 * columns


@lru_cache(maxsize=4)
def _full_window(rows: int, columns: int) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Spectrum of a window of ones, and how many px two frames share at each shift."""
    full = _spectrum(np.ones((rows, columns)))
    return full, np.fft.irfft2(full * full.conj(), (2 * rows, 2 * columns))
