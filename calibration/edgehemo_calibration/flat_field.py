"""The flat field: from frames of an empty bright field to a smooth grid of counts."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import CalibrationError
from edgehemo.field.illumination import field_stop_mask
from edgehemo.images.frame import Frame
from edgehemo.profile.parts import IlluminationCalibration

# Longest side of the grid: light is smooth, and what is finer is dust.
GRID_SIDE = 32
# Frames are reduced to this before they are averaged.
WORK_SIDE_PX = 256
SMOOTHING_SHARE = 0.03
# Per axis: 4 follows a vignette (cos^4 of the field angle) and a tilted lamp.
POLYNOMIAL_DEGREE = 4
# Limits of a usable empty field: counts of a channel's bright part, share of pixels that something
# other than light makes darker or brighter, its depth, and disagreement between frames.
MAX_BRIGHT = 250.0
MIN_BRIGHT = 60.0
SPECK_DEPTH = 0.04
MAX_SPECK_SHARE = 0.02
MAX_DISAGREEMENT = 0.03


def measure_flat_field(
    frames: Sequence[Frame], dark_frames: Sequence[Frame] = ()
) -> IlluminationCalibration:
    """Average frames of an empty field (uint8 RGB, all of one size) into a flat field.

    dark_frames: taken with the lamp off, for the dark level. Raises CalibrationError, all problems
    in one line: frames of different sizes, over- or underexposed, not empty, or of another light
    than the rest.
    """
    if not frames:
        raise CalibrationError("no frame of an empty field")
    first = frames[0]
    problems = [
        f"{frame.source}: {frame.width}x{frame.height}, not {first.width}x{first.height} px"
        for frame in frames
        if (frame.width, frame.height) != (first.width, first.height)
    ]
    if problems:
        raise CalibrationError("; ".join(problems))
    reduced = [_reduced(frame) for frame in frames]
    for frame, small in zip(frames, reduced, strict=True):
        problems += [f"{frame.source}: {fault}" for fault in _faults(frame, small)]
    # The median drops what moved between frames: dust on the slide, a cell that drifted by.
    middle = np.median(np.stack(reduced), axis=0).astype(np.float32)
    level = middle.mean(axis=(0, 1))
    for frame, small in zip(frames, reduced, strict=True):
        apart = float(np.abs(small.mean(axis=(0, 1)) / np.maximum(level, 1.0) - 1.0).max())
        if apart > MAX_DISAGREEMENT:
            problems.append(
                f"{frame.source}: {100 * apart:.0f} % off the other frames: "
                "fix exposure, gain and white balance"
            )
    if problems:
        raise CalibrationError("; ".join(problems))
    surface = _smooth(middle, field_stop_mask(np.asarray(middle, dtype=np.uint8)))
    factor = GRID_SIDE / max(first.width, first.height)
    size = (max(2, round(first.width * factor)), max(2, round(first.height * factor)))
    grid = np.clip(cv2.resize(surface, size, interpolation=cv2.INTER_AREA), 1.0, 255.0)
    dark = float(np.mean([frame.pixels.mean() for frame in dark_frames])) if dark_frames else 0.0
    return IlluminationCalibration(
        flat_field=[
            [(round(float(r), 3), round(float(g), 3), round(float(b), 3)) for r, g, b in row]
            for row in grid
        ],
        target_level=round(float(np.quantile(grid[..., 1], 0.95)), 2),
        dark_level=round(dark, 3),
        frames=len(frames),
    )


def _faults(frame: Frame, small: NDArray[np.float32]) -> list[str]:
    inside = field_stop_mask(np.asarray(small, dtype=np.uint8))
    bright = [float(np.quantile(small[..., channel][inside], 0.98)) for channel in range(3)]
    faults = []
    if max(bright) > MAX_BRIGHT:
        faults.append(f"overexposed ({max(bright):.0f} of 255 counts): lower the exposure")
    if min(bright) < MIN_BRIGHT:
        faults.append(f"too dark ({min(bright):.0f} of 255 counts): raise lamp or exposure")
    relative = small / np.maximum(_smooth(small, inside), 1.0) - 1.0
    specks = (np.abs(relative).max(axis=2) > SPECK_DEPTH) & inside
    share = float(specks.sum() / max(1, inside.sum()))
    if share > MAX_SPECK_SHARE:
        faults.append(
            f"not an empty field ({100 * share:.0f} % of it is not plain light): "
            "move to a clean place beside the smear"
        )
    return faults


def _reduced(frame: Frame) -> NDArray[np.float32]:
    factor = min(1.0, WORK_SIDE_PX / max(frame.width, frame.height))
    size = (max(2, round(frame.width * factor)), max(2, round(frame.height * factor)))
    small = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _smooth(picture: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A polynomial of the log intensities, and the smoothed rest on top of it.

    Smoothing alone would flatten the corners of a vignette, where there is nothing beyond to
    average with; a polynomial alone would miss what is local. Outside the field stop the polynomial
    goes on.
    """
    rows, columns = inside.shape
    logs = np.log(np.maximum(picture.astype(np.float64), 1.0))
    basis = np.polynomial.legendre.legvander2d(
        *np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows)),
        [POLYNOMIAL_DEGREE, POLYNOMIAL_DEGREE],
    )
    chosen = np.flatnonzero(inside.ravel())[:: max(1, int(inside.sum()) // 8000)]
    flat = basis.reshape(rows * columns, -1)
    weights, *_ = np.linalg.lstsq(flat[chosen], logs.reshape(-1, 3)[chosen], rcond=1e-6)
    trend = (flat @ weights).reshape(logs.shape)
    mask = inside.astype(np.float64)
    sigma = max(1.0, SMOOTHING_SHARE * max(rows, columns))
    rest = cv2.GaussianBlur((logs - trend) * mask[..., None], (0, 0), sigma)
    share = np.maximum(cv2.GaussianBlur(mask, (0, 0), sigma), 1e-3)[..., None]
    return np.asarray(np.exp(trend + rest / share * mask[..., None]), dtype=np.float32)
