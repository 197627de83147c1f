"""Is it sharp? The blur of the cells' outlines, in um, whatever the light and the stain.

The measure is a squared gradient (among the measures of least error on blood smears; see
``benchmarks/focus_measures.py``) normalised by itself: the gradient energy along the cells'
outlines after a little smoothing, over the energy after more. Contrast, stain and exposure cancel.
For a straight edge blurred by a Gaussian of standard deviation w, smoothing by s leaves an energy
proportional to 1 / sqrt(w^2 + s^2), so the ratio r of the energies at s1 < s2 gives

    w^2 = (s2^2 - r^2 s1^2) / (r^2 - 1).

A disc-shaped circle of confusion of radius R blurs like a Gaussian of about R / 2.

Noise has sharp gradients too, and takes over once the cells are blurred away. So the noise measured
in the background is taken off, and the sharpness is capped by what the gradients can be at the
contrast the cells have: of an edge of contrast C the squared gradient, summed across it, is
C^2 / (2 sqrt(pi) w).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import FieldError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField, canonical_field
from edgehemo.images.frame import Frame
from edgehemo.quality.check import Check
from edgehemo.quality.limits import limit
from edgehemo.quality.regions import FieldRegions, field_regions
from edgehemo.quality.verdicts import flagged
from edgehemo.statistics.medians import median_of, quantiles_of

if TYPE_CHECKING:
    from edgehemo.field.scale import ScaleEstimate
    from edgehemo.profile.parts import FocusReference
    from edgehemo.profile.profile import CalibrationProfile

# Says the scale of the slide's fields of a width and height, px; None while it is not known.
SlideScale = Callable[[int, int], "ScaleEstimate | None"]
# What a profile names the measure by; a reference in another measure is not used.
FOCUS_MEASURE = "edge_sharpness_per_um"
# The two smoothings, canonical px (0.25 and 0.375 um): the pair that told sharp fields best from
# ones blurred by a circle of confusion of 1 um and still fell steadily beyond it.
_FINE_PX = 1.0
_COARSE_PX = 1.5
# Three standard deviations of either smoothing.
_KERNEL_PX = (7, 7)
_BETWEEN_PX = (_COARSE_PX**2 - _FINE_PX**2) ** 0.5
# Outlines sharper than this cannot be told apart at the canonical scale, um.
_MIN_BLUR_UM = 0.1
# Gaussian blur of a microscope that resolves just what a colour sensor's pixels show, in pixels.
_NYQUIST_BLUR_PER_PX = 2.0 * 2.0**0.5 / 2.355
# Outlines: within this distance of a cell's edge, px at the analysis scale.
_RIM_PX = 2
# A field larger than this is judged on the two tiles of it rich in outlines, so that no field
# takes longer. Of real fields nine in ten keep their value within 5 %, all within 12 %.
_WHOLE_PX = 128 * 1024
_TILE_PX = 224
_MAX_TILES = 2
# Fewer outline pixels (about four cells' worth) say nothing about focus.
MIN_RIM_PX = 900
# The background's noise is sampled every so many pixels, where at least so many samples are quiet.
_NOISE_STEP = 3
_MIN_QUIET_PX = 50
# Width of the band of outlines around an edge, canonical px: what the summed energy is spread over.
_RIM_WIDTH_PX = 10.0
# The cap is this many times what the contrast gives: on sharp real fields it is 1.8 to 6 per um
# without, so that it rules only where noise does, from a circle of confusion of about 2 um on.
_CAP_FACTOR = 2.0
# Contrast below this (transmittance) is no cell.
_MIN_CONTRAST = 0.005
# Median of an exponential distribution, which the energy of noise in two directions follows.
_MEDIAN_OF_UNIT_EXPONENTIAL = float(np.log(2.0))


@dataclass(frozen=True, slots=True)
class Sharpness:
    """How sharp a frame is. value: per um, None where there is nothing to judge it by. lowest: the
    least that is accepted, per um. um_per_px: the scale they were measured at.
    """

    value: float | None
    lowest: float
    um_per_px: float


def frame_sharpness(
    pixels: NDArray[np.uint8],
    sharpest: float | None = None,
    *,
    profile: CalibrationProfile | None = None,
    um_per_px: float | None = None,
    slide: SlideScale | None = None,
) -> Sharpness:
    """What `focus_check` would measure and ask of a frame, uint8 RGB, before it is captured.

    sharpest: as there. slide: asked with every frame's width and height for the scale of the fields
    taken so far, on which they and their cells agree; where there is none, and none was measured
    or given, this frame's own first reading must do.
    """
    reference = profile.focus if profile is not None else None
    height, width = pixels.shape[:2]
    known = None if slide is None else slide(width, height)
    try:
        field = canonical_field(
            Frame(pixels, "live"), um_per_px=um_per_px, profile=profile, from_cells=known
        )
    except FieldError:
        return Sharpness(None, limit("focus.fail_below"), um_per_px or CANONICAL_UM_PER_PX)
    value = edge_sharpness(field, field_regions(field))
    scale = field.frame_um_per_px
    return Sharpness(value, lowest_accepted(scale, reference, sharpest), scale)


def focus_check(
    field: CanonicalField,
    regions: FieldRegions,
    reference: FocusReference | None = None,
    sharpest: float | None = None,
) -> Check:
    """Verdict on sharpness, against the profile's sharp reference where there is one.

    sharpest: the best value among the slide's fields so far, per pixel of the frame; a field
    clearly below it was taken out of focus, whatever its microscope could do at best.
    """
    value = edge_sharpness(field, regions)
    if value is None:
        return flagged("focus", None, limit("focus.fail_below"), "FOCUS_UNKNOWN", "fail")
    # Sharpness per um is no more than what it is at the coarsest scale that was read of the frame:
    # a blur that misled one reading must not look sharp at another.
    alone = lowest_accepted(field.frame_um_per_px, reference)
    if value / field.scale_doubt < alone:
        return flagged("focus", value / field.scale_doubt, alone, "OUT_OF_FOCUS", "fail")
    return focus_on_slide(value, field.frame_um_per_px, reference, sharpest)


def focus_on_slide(
    value: float,
    frame_um_per_px: float,
    reference: FocusReference | None = None,
    sharpest: float | None = None,
) -> Check:
    """The verdict of `focus_check` on a sharpness (per um) that is enough by itself."""
    lowest = lowest_accepted(frame_um_per_px, reference, sharpest)
    if value < lowest:
        return flagged("focus", value, lowest, "OUT_OF_FOCUS", "fail")
    return Check("focus", value, lowest, "pass")


def lowest_accepted(
    frame_um_per_px: float, reference: FocusReference | None, sharpest: float | None = None
) -> float:
    """The least sharpness (per um) that is accepted: the profile's where it has one.

    sharpest: the best value so far on this slide, per pixel of the frame; what is clearly below it
    is not accepted. Per pixel it hangs on no scale, so none can be misread.
    """
    if reference is None or reference.measure != FOCUS_MEASURE:
        lowest = lowest_sharpness(frame_um_per_px)
    else:
        lowest = limit("focus.fail_below_share_of_reference") * reference.sharp_reference
    if sharpest is None:
        return lowest
    return max(lowest, limit("focus.fail_below_share_of_best") * sharpest / frame_um_per_px)


def lowest_sharpness(frame_um_per_px: float) -> float:
    """The least sharpness (per um) that is taken for focus at a scale, without a reference.

    Fields at the canonical scale or finer are judged by the measured limit. A coarser frame comes
    from a weaker objective: resolving two samples of a colour sensor (Nyquist; its green pixels lie
    sqrt(2) p apart) is a point spread of full width 2 sqrt(2) p, a Gaussian of 2.83 p / 2.355, and
    what that exceeds the canonical pixel's by is no defocus. It adds in quadrature to the blur that
    the limit allows. At such scales a circle of confusion of 1 um passes here without a reference;
    `edgehemo.quality.fine_detail` refuses it.
    """
    allowed_um = 1.0 / limit("focus.fail_below")
    coarser = max(0.0, frame_um_per_px**2 - CANONICAL_UM_PER_PX**2)
    return 1.0 / float(np.sqrt(allowed_um**2 + _NYQUIST_BLUR_PER_PX**2 * coarser))


def edge_sharpness(field: CanonicalField, regions: FieldRegions) -> float | None:
    """1 / blur of the cells' outlines, per um (higher is sharper, at most 10); None without cells.

    Comparable between microscopes, as the canonical scale is.
    """
    rim, ground = _outlines(regions)
    if np.count_nonzero(rim) < MIN_RIM_PX / 4:
        return None
    fine = coarse = fine_noise = coarse_noise = 0.0
    rim_pixels = ground_pixels = 0
    for rows, columns in _tiles(field.height, field.width, rim):
        green = np.asarray(
            cv2.extractChannel(field.transmittance[rows, columns], 1), dtype=np.float32
        )
        along = _window(rim, rows, columns, field, green.shape)
        between = _window(ground, rows, columns, field, green.shape)
        count = cv2.countNonZero(along)
        if count == 0:
            continue
        smooth = _smoothed(green, _FINE_PX)
        smoother = _smoothed(smooth, _BETWEEN_PX)
        fine_energy, fine_median = _gradient_energy(smooth, along, between)
        coarse_energy, coarse_median = _gradient_energy(smoother, along, between)
        fine += fine_energy
        coarse += coarse_energy
        rim_pixels += count
        quiet = cv2.countNonZero(between)
        fine_noise += quiet * fine_median
        coarse_noise += quiet * coarse_median
        ground_pixels += quiet
    if rim_pixels < MIN_RIM_PX:
        return None
    per_pixel = 1.0 / _MEDIAN_OF_UNIT_EXPONENTIAL / max(1, ground_pixels)
    fine = fine / rim_pixels - per_pixel * fine_noise
    coarse = coarse / rim_pixels - per_pixel * coarse_noise
    if fine <= 0 or coarse <= 0:
        return 0.0
    sharpness = 1.0 / max(_MIN_BLUR_UM, blur_um(fine / coarse))
    return min(sharpness, _CAP_FACTOR * _sharpness_by_contrast(fine, regions))


def _sharpness_by_contrast(energy: float, regions: FieldRegions) -> float:
    """1 / blur per um that an energy (squared central differences, mean over the rim) speaks of."""
    if not len(regions.body_sample) or not len(regions.ground_sample):
        return 0.0
    contrast = median_of(regions.ground_sample[:, 1]) - median_of(regions.body_sample[:, 1])
    # A central difference over two pixels is twice the gradient.
    squared_gradient = energy / 4.0
    per_px = 2.0 * float(np.sqrt(np.pi)) * _RIM_WIDTH_PX * squared_gradient
    return per_px / max(contrast, _MIN_CONTRAST) ** 2 / CANONICAL_UM_PER_PX


def blur_um(ratio: float) -> float:
    """The outlines' Gaussian blur (standard deviation, um) from the ratio of the two energies."""
    square = ratio * ratio
    if square <= 1.0 + 1e-6:
        return float("inf")
    variance = (_COARSE_PX**2 - square * _FINE_PX**2) / (square - 1.0)
    return float(np.sqrt(max(0.0, variance))) * CANONICAL_UM_PER_PX


def _smoothed(picture: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, _KERNEL_PX, sigma_px), dtype=np.float32)


def _gradient_energy(
    picture: NDArray[np.float32], along: NDArray[np.uint8], between: NDArray[np.uint8]
) -> tuple[float, float]:
    """Squared central differences in x and y: summed ``along``, and their median ``between``."""
    # One slice minus another is a central difference, at a third of the cost of a filter.
    across = cv2.subtract(picture[1:-1, 2:], picture[1:-1, :-2])
    down = cv2.subtract(picture[2:, 1:-1], picture[:-2, 1:-1])
    inner = along[1:-1, 1:-1]
    total = cv2.norm(across, cv2.NORM_L2SQR, inner) + cv2.norm(down, cv2.NORM_L2SQR, inner)
    quiet = between[1:-1:_NOISE_STEP, 1:-1:_NOISE_STEP] > 0
    if np.count_nonzero(quiet) < _MIN_QUIET_PX:
        return float(total), 0.0
    step = (slice(None, None, _NOISE_STEP), slice(None, None, _NOISE_STEP))
    energy = np.asarray(across)[step][quiet] ** 2 + np.asarray(down)[step][quiet] ** 2
    return float(total), median_of(energy)


def _outlines(regions: FieldRegions) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Masks (0, 1) at the analysis scale: along the cells' outlines, and far from any cell."""
    mask = regions.cells.astype(np.uint8)
    side = 2 * _RIM_PX + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    # Artefacts have sharp edges of their own, whatever the focus.
    usable = cv2.erode(regions.valid.astype(np.uint8), kernel)
    rim = cv2.bitwise_and(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel), usable)
    return np.asarray(rim, dtype=np.uint8), regions.background.astype(np.uint8)


def _tiles(height: int, width: int, rim: NDArray[np.uint8]) -> list[tuple[slice, slice]]:
    """The whole field, or of a large one evenly chosen tiles among those richest in outlines."""
    if height * width <= _WHOLE_PX:
        return [(slice(0, height), slice(0, width))]
    down, across = max(1, height // _TILE_PX), max(1, width // _TILE_PX)
    share = cv2.resize(rim.astype(np.float32), (across, down), interpolation=cv2.INTER_AREA).ravel()
    rich = np.flatnonzero(share >= 0.5 * quantiles_of(share, (0.9,))[0])
    chosen = rich[np.linspace(0, len(rich) - 1, min(_MAX_TILES, len(rich))).astype(int)]
    tiles = []
    for index in chosen:
        row, column = divmod(int(index), across)
        tiles.append(
            (
                _middle(row * height // down, (row + 1) * height // down),
                _middle(column * width // across, (column + 1) * width // across),
            )
        )
    return tiles


def _middle(start: int, stop: int) -> slice:
    """At most a tile's length out of the middle of a stretch."""
    spare = max(0, stop - start - _TILE_PX) // 2
    return slice(start + spare, min(stop, start + spare + _TILE_PX))


def _window(
    mask: NDArray[np.uint8],
    rows: slice,
    columns: slice,
    field: CanonicalField,
    shape: tuple[int, ...],
) -> NDArray[np.uint8]:
    """The part of an analysis-scale mask under a window of the canonical field, at its scale."""
    down, across = mask.shape[0] / field.height, mask.shape[1] / field.width
    part = mask[
        int(rows.start * down) : max(int(rows.start * down) + 1, round(rows.stop * down)),
        int(columns.start * across) : max(
            int(columns.start * across) + 1, round(columns.stop * across)
        ),
    ]
    resized = cv2.resize(part, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized, dtype=np.uint8)
