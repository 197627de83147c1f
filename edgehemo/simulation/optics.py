"""From the smear's transmittance to the camera's counts: diffraction, defocus, light, sensor."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.simulation.parameters import OpticsParameters, SensorParameters

Floats = NDArray[np.float32]

# Blur beyond this many pixels of margin is fed from the mirrored border instead of drawn cells.
MAX_MARGIN_PX = 160
# The field stop's edge is this soft, relative to the half diagonal.
FIELD_STOP_EDGE = 0.015
_STRAY_LIGHT = 0.01
_SUBPIXELS = 8


def blur_margin_px(optics: OpticsParameters, um_per_px: float) -> int:
    """How far outside the field what is drawn still reaches into it, px (bounded)."""
    reach = optics.defocus_radius_um + 3 * max(optics.diffraction_sigma_um_rgb)
    return min(MAX_MARGIN_PX, math.ceil(reach / um_per_px) + 2)


def disc_kernel(radius_px: float) -> Floats:
    """Point spread of pure defocus: a uniform disc, edges by area, float32 (n, n), sum 1."""
    if radius_px < 0.05:
        return np.ones((1, 1), np.float32)
    half = math.ceil(radius_px + 0.5)
    side = 2 * half + 1
    # From whole numbers, so that the two halves are equal to the last bit.
    parts = side * _SUBPIXELS
    offsets = (2 * np.arange(parts) + 1 - parts) / (2 * _SUBPIXELS)
    distance = np.hypot(offsets[:, None], offsets[None, :])
    inside = np.clip((radius_px - distance) * _SUBPIXELS + 0.5, 0.0, 1.0).astype(np.float32)
    kernel = inside.reshape(side, _SUBPIXELS, side, _SUBPIXELS).mean(axis=(1, 3))
    return np.asarray(kernel / kernel.sum(), np.float32)


def image_formed(
    transmittance: Floats, optics: OpticsParameters, um_per_px: float, thickness_um: Floats | None
) -> Floats:
    """Light that reaches the sensor per channel, float32 (rows, columns, 3), clear field 1.

    transmittance: float32 RGB in focus. thickness_um: of the red cells, float32 (rows, columns),
    needed for phase fringes. Both blurs add light of neighbouring points, so they conserve it.
    """
    out = transmittance
    step = optics.refractive_index_step * optics.defocus_um
    if thickness_um is not None and abs(step) > 1e-6:
        out = _with_fringes(out, thickness_um, step, optics, um_per_px)
    blurred = np.empty_like(out)
    kernel = disc_kernel(optics.defocus_radius_um / um_per_px)
    for channel, sigma_um in enumerate(optics.diffraction_sigma_um_rgb):
        plane: NDArray[Any] = np.ascontiguousarray(out[..., channel])
        sigma = sigma_um / um_per_px
        if sigma > 0.2:
            plane = cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        if kernel.size > 1:
            plane = cv2.filter2D(plane, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT)
        blurred[..., channel] = plane
    return np.maximum(blurred, 0.0, out=blurred)


def illumination_surface(width_px: int, height_px: int, optics: OpticsParameters) -> Floats:
    """What a clear field gives, relative, float32 (height, width, 3), RGB.

    Vignette by the cos^4 law, (1 + k r^2)^-2, with k such that the corner loses ``vignette``;
    tilt as a plane; an eyepiece's field stop where it is in view.
    """
    half = math.hypot(width_px, height_px) / 2
    x = ((np.arange(width_px) + 0.5 - width_px / 2) / half).astype(np.float32)
    y = ((np.arange(height_px) + 0.5 - height_px / 2) / half).astype(np.float32)
    r2 = y[:, None] ** 2 + x[None, :] ** 2
    k = (1.0 - optics.vignette) ** -0.5 - 1.0
    even = (1.0 + np.float32(k) * r2) ** -2
    across = np.float32(optics.tilt_x * half / (width_px / 2)) * x
    down = np.float32(optics.tilt_y * half / (height_px / 2)) * y
    even = even * np.maximum(1.0 + across[None, :] + down[:, None], 0.02)
    if optics.field_stop_radius is not None:
        edge = (optics.field_stop_radius - np.sqrt(r2)) / FIELD_STOP_EDGE + 0.5
        even = even * np.clip(edge, _STRAY_LIGHT, 1.0)
    return np.asarray(even[..., None] * np.asarray(optics.lamp_rgb, np.float32), np.float32)


def sensed(light: Floats, sensor: SensorParameters, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera makes of light (float32 RGB, clear field 1): uint8, same shape.

    Shot noise as the normal limit of Poisson's, read noise, gain, white balance, response, clip.
    """
    electrons = light * np.float32(sensor.background_level * sensor.full_well_e)
    variance = electrons + np.float32(sensor.read_noise_e**2)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    noise *= np.sqrt(variance, out=variance)
    electrons += noise
    # The well is full before gain and white balance see it.
    np.clip(electrons, 0.0, sensor.full_well_e, out=electrons)
    red, blue = sensor.white_balance
    gains = np.array([red, 1.0, blue], np.float32) * np.float32(sensor.gain / sensor.full_well_e)
    electrons *= gains
    np.clip(electrons, 0.0, 1.0, out=electrons)
    if sensor.gamma != 1.0:
        np.power(electrons, np.float32(1.0 / sensor.gamma), out=electrons)
    return np.asarray(np.rint(electrons * np.float32(255.0)), np.uint8)


def _with_fringes(
    transmittance: Floats,
    thickness_um: Floats,
    step_um: float,
    optics: OpticsParameters,
    um_per_px: float,
) -> Floats:
    """Bright and dark rims by the transport of intensity: dI/dz = -div(I grad(optical path)).

    Teague 1983. Written as a divergence it moves light and makes none; where a steep edge would
    take more than there is, the light stops at zero.
    """
    sigma = max(0.6, optics.diffraction_sigma_um_rgb[1] / um_per_px)
    smooth = cv2.GaussianBlur(thickness_um, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    slope_x = np.diff(smooth, axis=1, append=smooth[:, -1:]) / np.float32(um_per_px)
    slope_y = np.diff(smooth, axis=0, append=smooth[-1:]) / np.float32(um_per_px)
    mean = transmittance.mean(axis=2)
    flow_x, flow_y = mean * slope_x, mean * slope_y
    divergence = np.diff(flow_x, axis=1, prepend=0) + np.diff(flow_y, axis=0, prepend=0)
    change = np.float32(-step_um / um_per_px) * divergence
    moved = transmittance + np.clip(change, -0.5, 0.5)[..., None]
    return np.asarray(np.maximum(moved, 0.02), np.float32)
