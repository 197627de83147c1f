"""The light a frame was taken in, measured by a flat field or estimated from the gaps.

Everything works on log intensities: a lamp or white-balance change is then an added constant per
channel and a vignette an added smooth surface, so the estimate follows both and the quotient of
frame and illumination stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

IlluminationSource = Literal["flat_field", "estimated"]

# Longest side of the picture the surface is fitted on. Large enough that the gaps of a crowded
# low-magnification field (20 px cells at 1224 px) survive the reduction.
FIT_SIDE_PX = 320
# Of that picture every third row and column is used: a surface this smooth needs no more points.
FIT_STEP = 3
# Total degree of the fitted polynomial: 4 follows a vignette (cos^4 of the field angle) and a
# tilted lamp; it is too stiff to follow a cell.
POLYNOMIAL_DEGREE = 4
START_DEGREE = 2
# Where cells hide a corner nothing holds the high terms there: damping does, and where there is
# background everywhere it shrinks them by no more than a few per cent.
RIDGE_BY_DEGREE = (0.0, 1e-4, 2e-4, 2e-3, 2e-3)
# A pixel belongs to the background when its green log intensity lies this close to the surface.
BACKGROUND_HALF_WIDTH = 0.035
# Below this share of the frame's bright level a border region lies outside the field stop.
FIELD_STOP_LEVEL = 0.30
FIELD_STOP_MIN_SHARE = 0.03
# With fewer background pixels than this share the surface is only a guess; quality says so.
MIN_BACKGROUND_SHARE = 0.02

_ITERATIONS_START = 12
# A six-term surface is started on about so many points.
_ENVELOPE_POINTS = 2000
_ITERATIONS_REFINE = 4
_FLOOR = 1.0  # uint8 counts; keeps the logarithm finite


@dataclass(frozen=True, slots=True)
class Illumination:
    """What a frame was divided by, and how well it was known.

    surface: float32, (rows, columns, 3), RGB counts (0-255) a clear field would give; coarse,
        resampled linearly to any size.
    valid: bool, same rows and columns: inside the field stop.
    source: where it comes from.
    background_share: share of valid pixels taken for background (0-1).
    background_rgb: median counts of the surface per channel.
    unevenness: (p98 - p2) / p98 of the surface over the valid part, in green (0 = even).
    """

    surface: NDArray[np.float32]
    valid: NDArray[np.bool_]
    source: IlluminationSource
    background_share: float
    background_rgb: tuple[float, float, float]
    unevenness: float

    def resampled(self, width: int, height: int) -> NDArray[np.float32]:
        """The surface at another size, float32 (height, width, 3), counts."""
        out = cv2.resize(self.surface, (width, height), interpolation=cv2.INTER_LINEAR)
        return out.astype(np.float32, copy=False)

    def valid_at(self, width: int, height: int) -> NDArray[np.bool_]:
        """The field-stop mask at another size, bool (height, width)."""
        if self.valid.all():
            return np.ones((height, width), dtype=np.bool_)
        resized = cv2.resize(
            self.valid.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
        )
        return resized.astype(np.bool_)


def estimate_illumination(pixels: NDArray[np.uint8]) -> Illumination:
    """Estimate the illumination of a frame (uint8 RGB) from the gaps between its cells.

    An asymmetric least-squares surface (weights fall for pixels below it: Eilers 2005) finds the
    bright envelope in green, the channel haemoglobin and both dyes darken; the pixels close to
    it are the background, to which each channel's log surface is then fitted on its own.
    """
    small = _reduced(pixels)
    valid = field_stop_mask(small)
    log_small = np.log(np.maximum(small.astype(np.float32), _FLOOR))
    rows, columns = valid.shape
    inside = valid.ravel()
    green = log_small[..., 1].ravel()

    basis = _basis(rows, columns, POLYNOMIAL_DEGREE)
    start = basis[:, : _terms(START_DEGREE)]
    surface = _envelope(start, green, inside)
    background = inside & (np.abs(_centred(green - surface, inside)) < 2 * BACKGROUND_HALF_WIDTH)
    for _ in range(_ITERATIONS_REFINE):
        if background.sum() < MIN_BACKGROUND_SHARE * inside.sum():
            break
        used = start if _coverage(background, inside, rows, columns) < 0.6 else basis
        surface = used @ _solve(used, green, background.astype(np.float32))
        background = inside & (np.abs(_centred(green - surface, inside)) < BACKGROUND_HALF_WIDTH)

    enough = background.sum() >= MIN_BACKGROUND_SHARE * inside.sum()
    if not enough:
        # Too few gaps for a surface: the envelope's own brightest part, flat.
        level = np.quantile(green[inside], 0.995)
        background = inside & (green > level - BACKGROUND_HALF_WIDTH)
    coverage = _coverage(background, inside, rows, columns)
    used = basis if coverage >= 0.6 else start if coverage >= 0.25 else basis[:, :1]
    weights = background.astype(np.float32)
    fitted = used @ _solve(used, log_small.reshape(-1, 3), weights)
    counts = np.exp(fitted).reshape(rows, columns, 3)
    return _described(
        counts.astype(np.float32),
        valid,
        "estimated",
        float(background.sum() / max(1, inside.sum())),
    )


def measured_illumination(
    flat_field: NDArray[np.float32], pixels: NDArray[np.uint8], *, rescale: bool = True
) -> Illumination:
    """Illumination from a measured flat field (float32 (rows, columns, 3), counts).

    With ``rescale`` the flat field's shape is kept and its level per channel is set to the
    background of this frame, so that a lamp that aged since the calibration is followed; the
    drift is what the quality checks report.
    """
    estimated = estimate_illumination(pixels)
    rows, columns = estimated.valid.shape
    resized = cv2.resize(flat_field, (columns, rows), interpolation=cv2.INTER_LINEAR)
    surface: NDArray[np.float32] = np.maximum(resized, _FLOOR).astype(np.float32)
    if rescale:
        small = np.maximum(_reduced(pixels).astype(np.float32), _FLOOR)
        log_ratio = np.log(small) - np.log(surface)
        green = log_ratio[..., 1]
        near = estimated.valid & (
            np.abs(np.log(small[..., 1]) - np.log(estimated.surface[..., 1]))
            < BACKGROUND_HALF_WIDTH
        )
        if near.sum() >= MIN_BACKGROUND_SHARE * max(1, estimated.valid.sum()):
            offsets = np.median(log_ratio[near], axis=0)
        else:
            level = float(np.quantile(green, 0.98))
            offsets = np.array([level, level, level], dtype=np.float32)
        surface = (surface * np.exp(offsets)).astype(np.float32)
    return _described(surface, estimated.valid, "flat_field", estimated.background_share)


def field_stop_mask(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True inside the field stop: an eyepiece's black surround is no part of the smear.

    pixels: uint8 RGB. A dark region counts as surround only when it reaches the border and covers
    more than a small share of it, so nuclei and pigment stay inside.
    """
    brightness = cv2.GaussianBlur(pixels.max(axis=2), (3, 3), 0)
    bright_level = float(np.quantile(brightness, 0.95))
    dark = (brightness < FIELD_STOP_LEVEL * bright_level).astype(np.uint8)
    everything = np.ones(dark.shape, dtype=np.bool_)
    if dark.mean() < FIELD_STOP_MIN_SHARE:
        return everything
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    share = stats[:, cv2.CC_STAT_AREA] / dark.size
    outside = [int(i) for i in border if i != 0 and share[i] >= FIELD_STOP_MIN_SHARE / 2]
    if not outside:
        return everything
    mask = np.isin(labels, outside).astype(np.uint8)
    # The stop's edge is blurred and coloured: step a little inwards.
    side = max(3, round(0.03 * max(mask.shape))) | 1
    grown = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    valid = grown == 0
    return valid if valid.mean() > 0.05 else everything


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    factor = min(1.0, FIT_SIDE_PX / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if min(size) < 16 * FIT_STEP:
        return small
    return np.ascontiguousarray(small[FIT_STEP // 2 :: FIT_STEP, FIT_STEP // 2 :: FIT_STEP])


def _terms(degree: int) -> int:
    return (degree + 1) * (degree + 2) // 2


@lru_cache(maxsize=8)
def _basis(rows: int, columns: int, degree: int) -> NDArray[np.float32]:
    """Products of Legendre polynomials up to a total degree, float32 (rows*columns, terms)."""
    longest = max(rows, columns)
    y = np.linspace(-1, 1, rows) * rows / longest
    x = np.linspace(-1, 1, columns) * columns / longest
    in_x = np.polynomial.legendre.legvander(x, degree)
    in_y = np.polynomial.legendre.legvander(y, degree)
    terms = [
        np.outer(in_y[:, total - i], in_x[:, i]).ravel()
        for total in range(degree + 1)
        for i in range(total + 1)
    ]
    return np.stack(terms, axis=1).astype(np.float32)


def _solve(
    basis: NDArray[np.float32], values: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weighted least squares, faintly ridged so that an uncovered corner cannot run away.

    basis: (points, terms); values: (points,) or (points, channels). Returns (terms[, channels]).
    """
    weighted = basis * weights[:, None]
    gram = (weighted.T @ basis).astype(np.float64)
    right = (weighted.T @ values).astype(np.float64)
    damping = _damping(gram.shape[0]) * float(weights.sum())
    gram[np.diag_indices_from(gram)] += damping + 1e-9
    solution: NDArray[np.float32] = np.linalg.solve(gram, right).astype(np.float32)
    return solution


@lru_cache(maxsize=8)
def _damping(terms: int) -> NDArray[np.float64]:
    """Ridge of each term relative to the weight of the data, by its total degree."""
    degrees = [total for total in range(POLYNOMIAL_DEGREE + 1) for _ in range(total + 1)]
    return np.array([RIDGE_BY_DEGREE[degree] for degree in degrees[:terms]])


def _envelope(
    basis: NDArray[np.float32], values: NDArray[np.float32], inside: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The bright envelope of log intensities by asymmetric least squares."""
    step = max(1, int(inside.sum() // _ENVELOPE_POINTS))
    chosen = np.flatnonzero(inside)[::step]
    sub, target = basis[chosen], values[chosen]
    weights = np.ones(len(chosen), dtype=np.float32)
    coefficients = np.zeros(basis.shape[1], dtype=np.float32)
    for _ in range(_ITERATIONS_START):
        coefficients = _solve(sub, target, weights)
        residual = target - sub @ coefficients
        # Glare is no background either.
        above = (residual > 0) & (residual <= 0.25)
        changed = np.where(above, 1.0, 0.02).astype(np.float32)
        if (changed == weights).all():
            break
        weights = changed
    return (basis @ coefficients).astype(np.float32)


def _centred(residual: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Residuals from the brightest mode of their distribution near the surface."""
    near = residual[inside & (np.abs(residual) < 0.2)]
    if near.size < 50:
        return residual
    counts, edges = np.histogram(near, bins=80, range=(-0.2, 0.2))
    smooth = np.convolve(counts, np.array([1, 2, 3, 2, 1]) / 9, mode="same")
    # The background is the brightest peak that is no mere shoulder of noise.
    peaks = np.flatnonzero(
        (smooth >= np.roll(smooth, 1))
        & (smooth >= np.roll(smooth, -1))
        & (smooth > 0.25 * smooth.max())
    )
    centre = edges[int(peaks[-1]) if len(peaks) else int(smooth.argmax())] + 0.0025
    centred: NDArray[np.float32] = (residual - np.float32(centre)).astype(np.float32)
    return centred


def _coverage(
    background: NDArray[np.bool_], inside: NDArray[np.bool_], rows: int, columns: int
) -> float:
    """Share of an 8 x 8 grid's cells, where valid, that hold some background."""

    def per_cell(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        grid = mask.reshape(rows, columns).astype(np.float32)
        return np.asarray(cv2.resize(grid, (8, 8), interpolation=cv2.INTER_AREA))

    usable = per_cell(inside) > 0.3
    covered = per_cell(background) > 0.01
    return float((covered & usable).sum() / max(1, usable.sum()))


def _described(
    surface: NDArray[np.float32],
    valid: NDArray[np.bool_],
    source: IlluminationSource,
    background_share: float,
) -> Illumination:
    inside = surface[valid] if valid.any() else surface.reshape(-1, 3)
    red, green, blue = (float(v) for v in np.median(inside, axis=0))
    low, high = np.quantile(inside[:, 1], [0.02, 0.98])
    return Illumination(
        surface=surface,
        valid=valid,
        source=source,
        background_share=background_share,
        background_rgb=(red, green, blue),
        unevenness=float((high - low) / max(high, _FLOOR)),
    )
