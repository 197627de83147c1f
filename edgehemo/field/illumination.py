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

from edgehemo.statistics.medians import median_of, quantiles_of

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
# The six-term surface it starts from needs no more than every other row and column.
_ENVELOPE_STEP = 2
_ITERATIONS_REFINE = 4
# The background's mode is looked for this near to the surface, in log intensity.
_MODE_RANGE = 0.2
_MODE_BINS = 80
_FLOOR = 1.0  # uint8 counts; keeps the logarithm finite
_LOG_OF_COUNTS = np.log(np.maximum(np.arange(256), _FLOOR)).astype(np.float32)
# Level and evenness of a surface this smooth are read off every third of its rows and columns.
_DESCRIBED_STEP = 3


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
    log_small = _LOG_OF_COUNTS[small]
    rows, columns = valid.shape
    green = np.ascontiguousarray(log_small[..., 1])
    grid = _grid(rows, columns)
    held = int(np.count_nonzero(valid))
    usable = _per_cell(valid) > 0.3

    surface = _envelope(grid, green, valid)
    background = valid & (np.abs(_centred(green - surface, valid)) < 2 * BACKGROUND_HALF_WIDTH)
    for _ in range(_ITERATIONS_REFINE):
        if np.count_nonzero(background) < MIN_BACKGROUND_SHARE * held:
            break
        degree = START_DEGREE if _coverage(background, usable) < 0.6 else POLYNOMIAL_DEGREE
        surface = grid.surface(grid.fit(green, background.astype(np.float32), degree))
        before = background
        background = valid & (np.abs(_centred(green - surface, valid)) < BACKGROUND_HALF_WIDTH)
        if np.array_equal(background, before):
            break

    if np.count_nonzero(background) < MIN_BACKGROUND_SHARE * held:
        # Too few gaps for a surface: the envelope's own brightest part, flat.
        level = np.quantile(green[valid], 0.995)
        background = valid & (green > level - BACKGROUND_HALF_WIDTH)
    coverage = _coverage(background, usable)
    degree = POLYNOMIAL_DEGREE if coverage >= 0.6 else START_DEGREE if coverage >= 0.25 else 0
    weights = background.astype(np.float32)
    counts = np.stack(
        [grid.surface(grid.fit(log_small[..., channel], weights, degree)) for channel in range(3)],
        axis=2,
    )
    return _described(
        np.exp(counts, out=counts),
        valid,
        "estimated",
        float(np.count_nonzero(background) / max(1, held)),
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
    resized = stretched_grid(flat_field, columns, rows)
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
            offsets = np.array([median_of(log_ratio[near][:, c]) for c in range(3)])
        else:
            level = float(np.quantile(green, 0.98))
            offsets = np.array([level, level, level], dtype=np.float32)
        surface = (surface * np.exp(offsets)).astype(np.float32)
    return _described(surface, estimated.valid, "flat_field", estimated.background_share)


def stretched_grid(grid: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """A grid of cell means at another size, float32 (height, width, ...): linear, to the borders.

    `cv2.resize` holds the outermost half cell constant; on a coarse grid that lifts the corners of
    a vignette by some per cent. Here the slope goes on.
    """
    padded = np.pad(grid, ((1, 1), (1, 1), (0, 0)), mode="reflect", reflect_type="odd")
    rows, columns = grid.shape[:2]
    x = (np.arange(width, dtype=np.float32) + 0.5) * np.float32(columns / width) + 0.5
    y = (np.arange(height, dtype=np.float32) + 0.5) * np.float32(rows / height) + 0.5
    across, down = np.meshgrid(x, y)
    return np.asarray(cv2.remap(padded, across, down, cv2.INTER_LINEAR), dtype=np.float32)


def field_stop_mask(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True inside the field stop: an eyepiece's black surround is no part of the smear.

    pixels: uint8 RGB. A dark region counts as surround only when it reaches the border and covers
    more than a small share of it, so nuclei and pigment stay inside.
    """
    red, green, blue = cv2.split(pixels)
    brightness = cv2.GaussianBlur(cv2.max(cv2.max(red, green), blue), (3, 3), 0)
    up_to = np.cumsum(np.bincount(np.asarray(brightness).ravel(), minlength=256))
    bright_level = int(np.searchsorted(up_to, 0.95 * up_to[-1]))
    everything = np.ones(brightness.shape, dtype=np.bool_)
    if up_to[int(FIELD_STOP_LEVEL * bright_level)] < FIELD_STOP_MIN_SHARE * up_to[-1]:
        return everything
    dark = np.asarray(brightness < FIELD_STOP_LEVEL * bright_level).astype(np.uint8)
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


def _terms(degree: int) -> list[tuple[int, int]]:
    """(power of y, power of x) of every term up to a total degree, by total degree."""
    return [(total - i, i) for total in range(degree + 1) for i in range(total + 1)]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Least squares of Legendre polynomials on a grid, by moments along its two sides.

    The grid is regular, so a sum over its points of weight x polynomial in y x polynomial in x is
    two small matrix products, and no table of (points, terms) is ever made.

    in_y: float32 (rows, degree + 1), in_x: float32 (columns, degree + 1), the polynomials.
    pairs_y, pairs_x: float32 (rows, (degree + 1)^2), the products of any two of them.
    """

    in_y: NDArray[np.float32]
    in_x: NDArray[np.float32]
    pairs_y: NDArray[np.float32]
    pairs_x: NDArray[np.float32]

    def every(self, step: int) -> _Grid:
        """The grid of every so many rows and columns."""
        return _Grid(
            self.in_y[::step], self.in_x[::step], self.pairs_y[::step], self.pairs_x[::step]
        )

    def fit(
        self, values: NDArray[np.float32], weights: NDArray[np.float32], degree: int
    ) -> NDArray[np.float32]:
        """Coefficients (degree in y, in x) of the surface of a total degree through ``values``.

        values, weights: float32 (rows, columns). Faintly ridged, so that an uncovered corner
        cannot run away.
        """
        powers_y, powers_x, damping = _design(degree)
        orders = self.in_y.shape[1]
        moments = (self.pairs_y.T @ weights @ self.pairs_x).astype(np.float64)
        gram = moments[
            powers_y[:, None] * orders + powers_y[None, :],
            powers_x[:, None] * orders + powers_x[None, :],
        ]
        right = (self.in_y.T @ (weights * values) @ self.in_x).astype(np.float64)
        gram.flat[:: len(powers_y) + 1] += damping * float(moments[0, 0]) + 1e-9
        solved = np.linalg.solve(gram, right[powers_y, powers_x])
        coefficients = np.zeros((orders, orders), dtype=np.float32)
        coefficients[powers_y, powers_x] = solved
        return coefficients

    def surface(self, coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
        """The surface of coefficients on this grid, float32 (rows, columns)."""
        return np.asarray(self.in_y @ coefficients @ self.in_x.T, dtype=np.float32)


@lru_cache(maxsize=8)
def _grid(rows: int, columns: int) -> _Grid:
    longest = max(rows, columns)
    y = np.linspace(-1, 1, rows) * rows / longest
    x = np.linspace(-1, 1, columns) * columns / longest
    in_y, in_x = _legendre(y), _legendre(x)

    def pairs(along: NDArray[np.float32]) -> NDArray[np.float32]:
        return (along[:, :, None] * along[:, None, :]).reshape(len(along), -1)

    return _Grid(in_y, in_x, pairs(in_y), pairs(in_x))


def _legendre(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """Legendre polynomials up to the degree in use, float32 (n, degree + 1), by their recurrence.

    `numpy.polynomial` has them, and costs a start of the program more than a whole field.
    """
    columns = [np.ones_like(x), x]
    for n in range(1, POLYNOMIAL_DEGREE):
        columns.append(((2 * n + 1) * x * columns[n] - n * columns[n - 1]) / (n + 1))
    return np.stack(columns, axis=1).astype(np.float32)


@lru_cache(maxsize=8)
def _design(degree: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Powers of y and x of each term, and its ridge relative to the weight of the data."""
    terms = _terms(degree)
    powers_y, powers_x = np.array(terms, dtype=np.intp).T
    return powers_y, powers_x, np.array([RIDGE_BY_DEGREE[sum(term)] for term in terms])


def _envelope(
    grid: _Grid, values: NDArray[np.float32], inside: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The bright envelope of log intensities by asymmetric least squares."""
    step = (slice(None, None, _ENVELOPE_STEP), slice(None, None, _ENVELOPE_STEP))
    coarse, target = grid.every(_ENVELOPE_STEP), np.ascontiguousarray(values[step])
    held = inside[step].astype(np.float32)
    weights = held
    coefficients = coarse.fit(target, weights, START_DEGREE)
    for _ in range(_ITERATIONS_START - 1):
        residual = target - coarse.surface(coefficients)
        # Glare is no background either.
        above = (residual > 0) & (residual <= 0.25)
        changed = held * np.where(above, 1.0, 0.02).astype(np.float32)
        if np.array_equal(changed, weights):
            break
        weights = changed
        coefficients = coarse.fit(target, weights, START_DEGREE)
    return grid.surface(coefficients)


def _centred(residual: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Residuals from the brightest mode of their distribution near the surface."""
    bins = cv2.calcHist(
        [residual], [0], inside.view(np.uint8), [_MODE_BINS], [-_MODE_RANGE, _MODE_RANGE]
    )
    counts = np.asarray(bins, dtype=np.float64).ravel()
    if counts.sum() < 50:
        return residual
    smooth = np.convolve(counts, np.array([1, 2, 3, 2, 1]) / 9, mode="same")
    # The background is the brightest peak that is no mere shoulder of noise.
    peaks = np.flatnonzero(
        (smooth >= np.roll(smooth, 1))
        & (smooth >= np.roll(smooth, -1))
        & (smooth > 0.25 * smooth.max())
    )
    best = int(peaks[-1]) if len(peaks) else int(smooth.argmax())
    centre = (best + 0.5) * (2 * _MODE_RANGE / _MODE_BINS) - _MODE_RANGE
    return residual - np.float32(centre)


def _per_cell(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much of each cell of an 8 x 8 grid a mask takes, 0-1."""
    return np.asarray(cv2.resize(mask.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA))


def _coverage(background: NDArray[np.bool_], usable: NDArray[np.bool_]) -> float:
    """Share of an 8 x 8 grid's usable cells that hold some background."""
    covered = _per_cell(background) > 0.01
    return float((covered & usable).sum() / max(1, usable.sum()))


def _described(
    surface: NDArray[np.float32],
    valid: NDArray[np.bool_],
    source: IlluminationSource,
    background_share: float,
) -> Illumination:
    step = (slice(None, None, _DESCRIBED_STEP), slice(None, None, _DESCRIBED_STEP))
    sample, held = surface[step], valid[step]
    inside = sample[held] if held.any() else sample.reshape(-1, 3)
    red, green, blue = (median_of(inside[:, channel]) for channel in range(3))
    low, high = quantiles_of(inside[:, 1], (0.02, 0.98))
    return Illumination(
        surface=surface,
        valid=valid,
        source=source,
        background_share=background_share,
        background_rgb=(red, green, blue),
        unevenness=(high - low) / max(high, _FLOOR),
    )
