"""Calibration slides of the simulated microscope: nothing at all, and a ruling of known pitch.

Photographed by `edgehemo.simulation.field.photograph` through the same optics and sensor as a
smear, so that a calibration of the simulated microscope can begin from nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgehemo.simulation.field import Specimen
from edgehemo.simulation.optics import illumination_surface
from edgehemo.simulation.panels import CBCPanel
from edgehemo.simulation.parameters import OpticsParameters

# Drawn beyond the field, so that blur pulls in what lies there and not a mirrored border.
MARGIN_PX = 48
# Lines are drawn at this many points a pixel and averaged, so that their edges lie where they lie.
_SUBPIXELS = 4
# A slide without blood: the panel of a specimen is needed by name only.
_NO_BLOOD = CBCPanel(
    hgb_g_per_l=1.0,
    hct_l_per_l=0.003,
    rbc_1e12_per_l=0.03,
    wbc_1e9_per_l=0.0,
    plt_1e9_per_l=0.0,
)


def empty_slide(width_px: int, height_px: int, um_per_px: float) -> Specimen:
    """A clean place of a slide: transmittance 1 everywhere."""
    return _specimen(
        np.ones((height_px + 2 * MARGIN_PX, width_px + 2 * MARGIN_PX), np.float32),
        width_px,
        height_px,
        um_per_px,
    )


def ruled_slide(
    width_px: int,
    height_px: int,
    um_per_px: float,
    *,
    pitch_um: float,
    angle_deg: float = 0.0,
    offset_um: float = 0.0,
    line_um: float = 2.0,
    line_transmittance: float = 0.25,
    grid: bool = False,
    line_length_um: float | None = None,
    long_every: int = 0,
) -> Specimen:
    """A stage micrometer (or, ``grid``, a counting chamber's ruling) under the objective.

    angle_deg: direction in which the lines follow one another, from the picture's x axis towards
    y. offset_um: where the first line lies along it, from the middle of the field. line_um: width
    of a line. line_length_um: of the lines of a ruling, centred in the field; None: right across.
    long_every: every so many lines one is half as long again (0: none).
    """
    side = _SUBPIXELS
    rows, columns = (height_px + 2 * MARGIN_PX) * side, (width_px + 2 * MARGIN_PX) * side
    x = ((np.arange(columns) + 0.5) / side - MARGIN_PX - width_px / 2) * um_per_px
    y = ((np.arange(rows) + 0.5) / side - MARGIN_PX - height_px / 2) * um_per_px
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    along = (x[None, :] * cosine + y[:, None] * sine - offset_um).astype(np.float32)
    across = (y[:, None] * cosine - x[None, :] * sine).astype(np.float32)
    dark = _on_line(along, pitch_um, line_um)
    if line_length_um is not None:
        reach = np.full_like(along, line_length_um / 2)
        if long_every:
            number = np.rint(along / np.float32(pitch_um)).astype(np.int64)
            reach[number % long_every == 0] *= 1.5
        dark &= np.abs(across) <= reach
    if grid:
        dark |= _on_line(across, pitch_um, line_um)
    drawn = np.where(dark, np.float32(line_transmittance), np.float32(1.0))
    transmittance = drawn.reshape(rows // side, side, columns // side, side).mean(axis=(1, 3))
    return _specimen(np.asarray(transmittance, np.float32), width_px, height_px, um_per_px)


def vignette_of(optics: OpticsParameters, width_px: int, height_px: int) -> NDArray[np.float64]:
    """The illumination of these optics relative to its brightest point, float64 (height, width)."""
    green = illumination_surface(width_px, height_px, optics)[..., 1].astype(np.float64)
    return np.asarray(green / green.max(), np.float64)


def _on_line(
    position_um: NDArray[np.float32], pitch_um: float, line_um: float
) -> NDArray[np.bool_]:
    number = np.rint(position_um / np.float32(pitch_um))
    return np.asarray(np.abs(position_um - number * np.float32(pitch_um)) <= line_um / 2, np.bool_)


def _specimen(
    transmittance: NDArray[np.float32], width_px: int, height_px: int, um_per_px: float
) -> Specimen:
    return Specimen(
        panel=_NO_BLOOD,
        cells=(),
        width_px=width_px,
        height_px=height_px,
        um_per_px=um_per_px,
        margin_px=MARGIN_PX,
        transmittance=np.repeat(transmittance[..., None], 3, axis=2),
        thickness_um=np.zeros_like(transmittance),
        coverage=np.zeros(transmittance.shape, np.uint8),
        film_thickness_um=0.0,
    )
