"""What is measured of a picture: scattering coefficients, colour, shape of the cell."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo_export.nets.fourier_scattering import FourierScattering
from edgehemo_export.studies.lateef.configuration import ScatteringOptions

Picture = NDArray[np.uint8]

# Bins of the colour histograms, the same over the whole range of each channel.
HISTOGRAM_BINS = 16
COLOUR_NAMES = tuple(
    f"{channel}_{index}"
    for channel in ("hue", "saturation", "value")
    for index in range(HISTOGRAM_BINS)
) + tuple(f"{what}_{channel}" for what in ("mean", "sd") for channel in ("r", "g", "b"))
SHAPE_NAMES = (
    "nucleus_share",
    "nucleus_perimeter",
    "nucleus_roundness",
    "nucleus_solidity",
    "nucleus_elongation",
    "nucleus_parts",
    "nucleus_density",
    "nucleus_texture",
    "cell_share",
    "cell_roundness",
    "nucleus_of_cell",
    "hu_1",
    "hu_2",
)


class ScatteringFeatures:
    """The paper's features of pictures of one side: the mean coefficients of each channel."""

    def __init__(self, side_px: int, options: ScatteringOptions) -> None:
        self._transform = FourierScattering(
            side_px,
            invariance_px=options.invariance_px,
            qualities=options.qualities,
            rotations=options.rotations,
        )

    @property
    def count(self) -> int:
        """Coefficients of a channel."""
        return self._transform.count

    def __call__(self, picture: Picture) -> NDArray[np.float32]:
        """float32 (3 * count,) of uint8 RGB (side, side, 3)."""
        light = torch.from_numpy(picture).permute(2, 0, 1)[None].to(torch.float32) / 255
        with torch.inference_mode():
            return np.asarray(self._transform(light)[0].flatten().numpy(), np.float32)


def colour_features(picture: Picture) -> NDArray[np.float32]:
    """Histograms of hue, saturation and value, mean and spread of each channel, float32 (54,)."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV_FULL)
    parts = [
        np.bincount(hsv[..., channel].ravel() // (256 // HISTOGRAM_BINS), minlength=HISTOGRAM_BINS)
        / hsv[..., channel].size
        for channel in range(3)
    ]
    flat = picture.reshape(-1, 3).astype(np.float64) / 255
    return np.concatenate([*parts, flat.mean(axis=0), flat.std(axis=0)]).astype(np.float32)


def shape_features(picture: Picture) -> NDArray[np.float32]:
    """Measures of the nucleus and the cell in the middle, float32 (13,); zeros where there is none.

    The nucleus is what Otsu's threshold takes for dark in red light, which azure dyes darken; the
    cell is the stained matter around it, nearest to the middle.
    """
    red = cv2.GaussianBlur(np.ascontiguousarray(picture[..., 0]), (0, 0), 2)
    level, _ = cv2.threshold(red, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    nucleus = _middle_part(red <= level * NUCLEUS_LEVEL)
    out = np.zeros(len(SHAPE_NAMES), np.float32)
    if not nucleus.any():
        return out
    green = cv2.GaussianBlur(np.ascontiguousarray(picture[..., 1]), (0, 0), 2)
    bright = float(np.quantile(green, CLEAR_QUANTILE))
    cell = _middle_part(green <= CELL_LEVEL * bright) | nucleus
    contours, _ = cv2.findContours(
        nucleus.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    main = max(contours, key=cv2.contourArea)
    area, around = max(cv2.contourArea(main), 1.0), max(cv2.arcLength(main, True), 1.0)
    hull = max(cv2.contourArea(cv2.convexHull(main)), 1.0)
    (_, _), (wide, tall), _ = cv2.minAreaRect(main)
    side = picture.shape[0]
    density = -np.log10(np.maximum(picture[..., 0].astype(np.float64), 1) / 255)[nucleus]
    hu = cv2.HuMoments(cv2.moments(nucleus.astype(np.uint8), binaryImage=True)).ravel()
    out[:] = (
        nucleus.mean(),
        around / side,
        4 * np.pi * area / around**2,
        area / hull,
        max(wide, tall) / max(min(wide, tall), 1.0),
        len(contours),
        density.mean(),
        density.std(),
        cell.mean(),
        _roundness(cell),
        nucleus.sum() / cell.sum(),
        *(np.sign(v) * np.log10(abs(v) + 1e-12) for v in hu[:2]),
    )
    return out


# Of Otsu's level between dark and light: what is surely nucleus. Of the clear field: what is
# stained at all. Of the picture, brighter than so much: clear field.
NUCLEUS_LEVEL, CELL_LEVEL, CLEAR_QUANTILE = 0.95, 0.86, 0.95
# The part in the middle is the one that comes nearest to it; what is smaller than this share of the
# picture is none.
LEAST_SHARE = 0.002


def _middle_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of a mask's parts the ones that reach into the middle, else the nearest large enough one."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    side = mask.shape[0]
    large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= LEAST_SHARE * side * side]
    if not large:
        return np.zeros_like(mask)
    fifth = slice(2 * side // 5, 3 * side // 5)
    inside = set(np.unique(labels[fifth, fifth]).tolist()) & set(large)
    if not inside:
        inside = {min(large, key=lambda i: float(np.hypot(*(centres[i] - side / 2))))}
    return np.isin(labels, sorted(inside))


def _roundness(mask: NDArray[np.bool_]) -> float:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    main = max(contours, key=cv2.contourArea)
    around = max(cv2.arcLength(main, True), 1.0)
    return float(4 * np.pi * cv2.contourArea(main) / around**2)
