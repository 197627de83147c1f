"""The scale from a picture of a stage micrometer or of a counting chamber's grid.

The lines are found in whatever direction they run: the direction in which a projection of the
picture shows them sharpest is searched, the lines of that projection are numbered, and their
spacing is the slope of a straight line through their positions. Pure: no file, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import CalibrationError
from edgehemo.field.scale import MAX_UM_PER_PX, MIN_UM_PER_PX
from edgehemo.images.frame import Frame
from edgehemo.profile.parts import ScaleCalibration

# The direction is searched on a picture of at most this side; the lines are measured at full size.
SEARCH_SIDE_PX = 640
# The light's own slope is divided out with a blur this wide, as a share of the shorter side.
BACKGROUND_SHARE = 0.12
# Directions tried at first, degrees; then the best is narrowed down to FINE_STEP_DEG.
COARSE_STEP_DEG = 1.0
FINE_STEP_DEG = 0.01
# Fewer lines than this fix no spacing worth having.
MIN_LINES = 4
# Lines closer than this cannot be told apart.
MIN_SPACING_PX = 4.0
# Energy of the picture's spectrum in the lines' direction over that in the median one: rulings
# reach hundreds, real smears stayed below 8 and noise below 2.
MIN_DIRECTIONALITY = 12.0
# Scatter of the lines about even spacing, as a share of it: a ruling leaves a hundredth, cells or
# noise in which a spacing was looked for a fifth. How many of the places must hold a line, and how
# high against the others' median it must be.
MAX_RESIDUAL_SHARE = 0.03
MIN_SHARE_OF_LINES = 0.6
MIN_RELATIVE_HEIGHT = 0.3
# A harmonic of the ruling is often as strong as its fundamental; the fundamental is the lowest
# frequency of at least this share of the strongest amplitude. Every fifth or tenth line being
# longer makes a lower frequency still, of a few per cent.
FUNDAMENTAL_SHARE = 0.45
# Across the lines a second ruling of a grid has the same spacing; within this it is taken for one,
# and must then agree to MAX_DISAGREEMENT.
GRID_SPACING_TOLERANCE = 0.10
MAX_DISAGREEMENT = 0.01
# How true the lines of a common stage micrometer lie: 1.5 um in 1 mm, as makers state.
SLIDE_TOLERANCE = 0.0015

_BINS_PER_PX = 2.0
# Around a line, as a share of the spacing, its centre is looked for.
_WINDOW = 0.45
# The light's slope is blurred on a picture reduced to about this side.
_BACKGROUND_SIDE_PX = 160


@dataclass(frozen=True, slots=True)
class Ruling:
    """One family of parallel lines, in px of the picture.

    angle_deg: direction in which the lines follow one another, 0 to 180 from the x axis towards y.
    spacing_px: from line to line; spacing_sd_px: its standard error. lines: how many were used.
    residual_px: scatter of the lines about even spacing. contrast: a line's median depth (0-1).
    """

    angle_deg: float
    spacing_px: float
    spacing_sd_px: float
    lines: int
    residual_px: float
    contrast: float


@dataclass(frozen=True, slots=True)
class MicrometerReading:
    """The scale: um per px, its relative standard deviation, what it stands on; ``is_grid``: two
    families of lines at right angles were found in one picture; frame_px: the pictures' width and
    height.
    """

    um_per_px: float
    relative_uncertainty: float
    rulings: tuple[Ruling, ...]
    is_grid: bool
    frame_px: tuple[int, int]

    @property
    def lines(self) -> int:
        return sum(ruling.lines for ruling in self.rulings)

    @property
    def method(self) -> str:
        """What the profile calls it."""
        return "grid, found" if self.is_grid else "stage micrometer, found"

    def calibration(
        self, measured_at: datetime, relative_uncertainty: float | None = None
    ) -> ScaleCalibration:
        """The part of a profile; relative_uncertainty: the operator's, in place of what was read.

        measured_at: timezone-aware.
        """
        return ScaleCalibration(
            um_per_px=self.um_per_px,
            relative_uncertainty=(
                self.relative_uncertainty if relative_uncertainty is None else relative_uncertainty
            ),
            method=self.method,
            lines=self.lines,
            frame_px=self.frame_px,
            measured_at=measured_at,
        )


def read_micrometer(frame: Frame, pitch_um: float) -> MicrometerReading:
    """Measure um per px in a picture of even lines ``pitch_um`` apart, in any direction.

    A second family of lines at right angles with the same spacing (a grid) is used as well. The
    uncertainty holds the scatter of the lines, the two directions' disagreement and the slide's
    own tolerance. Raises CalibrationError, one line with what to do, where no even ruling can be
    made out, the two directions of a grid differ by over 1 %, or the scale is implausible.
    """
    if not (math.isfinite(pitch_um) and pitch_um > 0):
        raise CalibrationError("the distance of the lines must be above 0 um")
    if min(frame.width, frame.height) < 64:
        raise CalibrationError(f"{frame.source}: too small for a picture of a micrometer")
    signal = _line_signal(frame.pixels)
    direction = _strongest_direction(signal)
    first = None if direction is None else _ruling(signal, direction)
    if first is None:
        raise CalibrationError(
            f"{frame.source}: no evenly spaced lines found; focus on the ruling, fill the picture "
            f"with it and show at least {MIN_LINES} lines"
        )
    rulings = [first]
    second = _ruling(signal, _direction_near(signal, first.angle_deg + 90.0))
    if second is not None:
        apart = abs(second.spacing_px / first.spacing_px - 1.0)
        if apart <= GRID_SPACING_TOLERANCE:
            if apart > MAX_DISAGREEMENT:
                raise CalibrationError(
                    f"{frame.source}: the lines are {first.spacing_px:.2f} px apart one way and "
                    f"{second.spacing_px:.2f} px the other: the slide is tilted, the ruling is no "
                    "square grid or the pixels are not square"
                )
            rulings.append(second)
    reading = _reading(rulings, pitch_um, (frame.width, frame.height))
    if not MIN_UM_PER_PX <= reading.um_per_px <= MAX_UM_PER_PX:
        raise CalibrationError(
            f"{frame.source}: lines {first.spacing_px:.1f} px apart would make "
            f"{reading.um_per_px:.4g} um/px, outside {MIN_UM_PER_PX:g} to {MAX_UM_PER_PX:g}; "
            "check the distance of the lines"
        )
    return reading


def combined(readings: Sequence[MicrometerReading], names: Sequence[str]) -> MicrometerReading:
    """One scale from several pictures: the mean, with whichever uncertainty is larger, that of
    the pictures themselves or their scatter.

    Raises CalibrationError, naming them, where two differ by more than 1 % or in their size.
    """
    sizes = {reading.frame_px for reading in readings}
    if len(sizes) > 1:
        told = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise CalibrationError(
            f"the pictures are of different sizes ({told} px); take all with the camera set as for "
            "screening"
        )
    values = np.array([reading.um_per_px for reading in readings])
    middle = float(np.median(values))
    off = [
        f"{name} {value:.5g}"
        for name, value in zip(names, values, strict=True)
        if abs(value / middle - 1.0) > MAX_DISAGREEMENT
    ]
    if off:
        raise CalibrationError(
            f"the pictures do not agree on the scale: most say {middle:.5g} um/px, but "
            f"{', '.join(off)}; check that the ruling lies flat and the pixels are square"
        )
    mean = float(values.mean())
    scatter = float(values.std(ddof=1)) / mean if len(values) > 1 else 0.0
    own = max(reading.relative_uncertainty for reading in readings)
    rulings = tuple(ruling for reading in readings for ruling in reading.rulings)
    return MicrometerReading(
        mean,
        max(own, scatter),
        rulings,
        any(reading.is_grid for reading in readings),
        sizes.pop(),
    )


def _reading(
    rulings: Sequence[Ruling], pitch_um: float, frame_px: tuple[int, int]
) -> MicrometerReading:
    spacings = np.array([ruling.spacing_px for ruling in rulings])
    errors = np.array([ruling.spacing_sd_px for ruling in rulings])
    weights = 1.0 / np.maximum(errors, 1e-6) ** 2
    spacing = float((spacings * weights).sum() / weights.sum())
    own = float(1.0 / math.sqrt(weights.sum())) / spacing
    between = float(np.ptp(spacings)) / 2 / spacing if len(rulings) > 1 else 0.0
    relative = math.hypot(SLIDE_TOLERANCE, max(own, between))
    is_grid = len(rulings) > 1
    return MicrometerReading(pitch_um / spacing, relative, tuple(rulings), is_grid, frame_px)


def _line_signal(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much each pixel differs from the light around it, float32 (height, width), lines > 0.

    Bright lines on a dark ground serve as well: the sign is that of the longer tail.
    """
    grey = pixels.astype(np.float32).mean(axis=2)
    rows, columns = grey.shape
    factor = min(1.0, _BACKGROUND_SIDE_PX / max(rows, columns))
    size = (max(8, round(columns * factor)), max(8, round(rows * factor)))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    sigma = BACKGROUND_SHARE * min(small.shape)
    blurred = cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    light = cv2.resize(blurred, (columns, rows), interpolation=cv2.INTER_LINEAR)
    relative = 1.0 - grey / np.maximum(light, 1.0)
    centred = relative - float(np.median(relative))
    skewed = float((centred.astype(np.float64) ** 3).mean())
    return np.asarray(-centred if skewed < 0 else centred, dtype=np.float32)


def _reduced(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    factor = SEARCH_SIDE_PX / max(signal.shape)
    if factor >= 1:
        return signal
    size = (round(signal.shape[1] * factor), round(signal.shape[0] * factor))
    return np.asarray(cv2.resize(signal, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _strongest_direction(signal: NDArray[np.float32]) -> float | None:
    """Degrees, 0 to 180: where the projection's power is greatest, to a hundredth.

    None where no direction stands out: no lines.
    """
    small = _reduced(signal)
    angles = np.arange(0.0, 180.0, COARSE_STEP_DEG)
    energy = _directional_energy(small, angles)
    if energy.max() < MIN_DIRECTIONALITY * float(np.median(energy)):
        return None
    start = float(angles[int(np.argmax(energy))])
    return _narrowed(lambda angle: _sharpness(small, angle), start, 1.5 * COARSE_STEP_DEG)


def _direction_near(signal: NDArray[np.float32], angle_deg: float) -> float:
    small = _reduced(signal)
    return _narrowed(lambda angle: _sharpness(small, angle), angle_deg, 1.5 * COARSE_STEP_DEG)


def _directional_energy(
    signal: NDArray[np.float32], angles: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Energy of the picture's spectrum in each direction; all harmonics of a ruling lie in one.

    A resolution of a degree or better needs a spectrum some 100 px wide; low frequencies, where
    every direction is alike and the light's slope lies, are left out.
    """
    side = cv2.getOptimalDFTSize(max(signal.shape))
    window = np.outer(np.hanning(signal.shape[0]), np.hanning(signal.shape[1]))
    padded = np.zeros((side, side))
    padded[: signal.shape[0], : signal.shape[1]] = signal * window
    power = np.abs(np.fft.fftshift(np.fft.fft2(padded))) ** 2
    centre = side // 2
    radii = np.arange(side * 0.012, side * 0.40, 0.5)
    found = np.empty(len(angles))
    for i, angle in enumerate(np.radians(angles)):
        x = np.rint(centre + radii * math.cos(angle)).astype(np.intp)
        y = np.rint(centre + radii * math.sin(angle)).astype(np.intp)
        found[i] = power[y, x].sum()
    return found


def _narrowed(score: Callable[[float], float], start: float, reach: float) -> float:
    """The angle of the largest score around ``start``, by ever finer grids."""
    best, step = start, reach
    while step > FINE_STEP_DEG:
        tried = [best + step * part for part in (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1)]
        best = max(tried, key=score)
        step /= 3.0
    return best % 180.0


def _sharpness(signal: NDArray[np.float32], angle_deg: float) -> float:
    """Power of the projection: greatest where every line falls into one place.

    Turned upright and averaged down its columns, which is a hundred times as fast as
    `_projection` and as good for comparing directions.
    """
    rows, columns = signal.shape
    side = math.ceil(math.hypot(rows, columns))
    turn = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), angle_deg, 1.0)
    turn[:, 2] += (side - columns) / 2, (side - rows) / 2
    upright = cv2.warpAffine(signal, turn, (side, side), flags=cv2.INTER_LINEAR)
    ones = np.ones_like(signal)
    weight = cv2.warpAffine(ones, turn, (side, side), flags=cv2.INTER_NEAREST).sum(axis=0)
    values = upright.sum(axis=0) / np.maximum(weight, 1.0)
    # Differences see lines and not what is left of the light's slope.
    return float((np.diff(values[weight > 0.25 * weight.max()]) ** 2).sum())


def _projection(
    signal: NDArray[np.float32], angle_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Mean of the signal along lines, by distance in half px; pixels a bin; where bin 0 lies."""
    rows, columns = signal.shape
    angle = math.radians(angle_deg)
    x = (np.arange(columns) - (columns - 1) / 2) * math.cos(angle) * _BINS_PER_PX
    y = (np.arange(rows) - (rows - 1) / 2) * math.sin(angle) * _BINS_PER_PX
    low = float(x.min() + y.min())
    place = np.maximum(x[None, :] + (y[:, None] - low), 0.0)
    below = np.floor(place).astype(np.intp)
    share = (place - below).ravel()
    flat, below = signal.ravel(), below.ravel()
    bins = int(below.max()) + 2
    # Each pixel is shared between its two nearest bins: no beat between pixels and bins.
    weight = np.bincount(below, 1.0 - share, bins) + np.bincount(below + 1, share, bins)
    total = np.bincount(below, flat * (1.0 - share), bins)
    total += np.bincount(below + 1, flat * share, bins)
    mean = np.asarray(total / np.maximum(weight, 1e-9), dtype=np.float64)
    return mean, np.asarray(weight, dtype=np.float64), low / _BINS_PER_PX


def _ruling(signal: NDArray[np.float32], angle_deg: float) -> Ruling | None:
    """The lines that follow one another in a direction, None where they are no even ruling."""
    profile, weight, start = _projection(signal, angle_deg)
    used = np.flatnonzero(weight > 0.15 * weight.max())
    profile = profile[used[0] : used[-1] + 1]
    start += float(used[0]) / _BINS_PER_PX
    spacing = _rough_spacing(profile)
    if spacing is None or spacing < MIN_SPACING_PX:
        return None
    lines = _line_positions(profile, spacing)
    if lines is None:
        return None
    numbers, places, heights = lines
    kept = np.ones(len(numbers), dtype=np.bool_)
    for _ in range(3):
        if kept.sum() < MIN_LINES:
            return None
        slope, intercept = np.polyfit(numbers[kept], places[kept], 1)
        residual = places - (intercept + slope * numbers)
        spread = 1.4826 * float(np.median(np.abs(residual[kept])))
        kept = np.abs(residual) <= max(4.0 * spread, 0.02 * spacing)
    count = int(kept.sum())
    possible = round(float(numbers[-1] - numbers[0])) + 1
    if count < MIN_LINES or count < MIN_SHARE_OF_LINES * possible:
        return None
    slope, intercept = np.polyfit(numbers[kept], places[kept], 1)
    residual = (places - (intercept + slope * numbers))[kept]
    sd = float(math.sqrt(float(residual @ residual) / max(1, count - 2)))
    centred = numbers[kept] - numbers[kept].mean()
    if sd > MAX_RESIDUAL_SHARE * slope:
        return None
    return Ruling(
        angle_deg=angle_deg,
        spacing_px=float(slope),
        spacing_sd_px=sd / math.sqrt(float(centred @ centred)),
        lines=count,
        residual_px=sd,
        contrast=float(np.median(heights[kept])),
    )


def _rough_spacing(profile: NDArray[np.float64]) -> float | None:
    """Px from line to line, by the lowest strong frequency of the profile."""
    n = len(profile)
    if n < 4 * MIN_SPACING_PX * _BINS_PER_PX:
        return None
    padded = 8 * n
    amplitude = np.abs(np.fft.rfft((profile - profile.mean()) * np.hanning(n), padded))
    frequency = np.arange(len(amplitude)) / padded
    # At least MIN_LINES - 1 periods must lie in the picture.
    usable = (frequency > (MIN_LINES - 1) / n) & (frequency < 1.0 / (MIN_SPACING_PX * _BINS_PER_PX))
    if not usable.any():
        return None
    strongest = float(amplitude[usable].max())
    peaks = np.flatnonzero(
        usable[1:-1]
        & (amplitude[1:-1] >= amplitude[:-2])
        & (amplitude[1:-1] > amplitude[2:])
        & (amplitude[1:-1] >= FUNDAMENTAL_SHARE * strongest)
    )
    if not len(peaks):
        return None
    at = int(peaks[0]) + 1
    left, middle, right = (float(v) for v in amplitude[at - 1 : at + 2])
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return padded / (at + shift) / _BINS_PER_PX


def _line_positions(
    profile: NDArray[np.float64], spacing_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Number, place (px) and height of each line of the profile, None with too few.

    The comb of this spacing is laid where it fits best; each tooth's line is the centroid of what
    rises above the profile's floor around it, laid again around where the line was found.
    """
    period = spacing_px * _BINS_PER_PX
    bins = np.arange(len(profile), dtype=np.float64)
    phase = np.angle(np.sum((profile - profile.mean()) * np.exp(-2j * np.pi * bins / period)))
    first = (-phase / (2 * np.pi) * period) % period
    numbers = np.arange(math.floor((len(profile) - 1 - first) / period) + 1, dtype=np.float64)
    places = first + numbers * period
    half = _WINDOW * period
    inside = (places - half >= 0) & (places + half <= len(profile) - 1)
    numbers, places = numbers[inside], places[inside]
    if len(numbers) < MIN_LINES:
        return None
    heights = np.empty(len(numbers))
    found = np.empty(len(numbers))
    for i, place in enumerate(places):
        found[i], heights[i] = _centroid(profile, place, half)
    strong = heights >= MIN_RELATIVE_HEIGHT * float(np.median(heights))
    strong &= heights > 0
    if strong.sum() < MIN_LINES:
        return None
    return numbers[strong], found[strong] / _BINS_PER_PX, heights[strong]


def _centroid(profile: NDArray[np.float64], place: float, half: float) -> tuple[float, float]:
    """Centre (bins) and height of the rise near ``place``."""
    for _ in range(2):
        low = max(0, math.ceil(place - half))
        high = min(len(profile) - 1, math.floor(place + half))
        part = profile[low : high + 1]
        floor = float(np.quantile(part, 0.15))
        height = float(part.max()) - floor
        if height <= 0:
            return place, 0.0
        rise = np.maximum(part - floor - 0.25 * height, 0.0)
        place = float((np.arange(low, high + 1) * rise).sum() / rise.sum())
    return place, height
