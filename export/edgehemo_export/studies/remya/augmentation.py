"""Training pictures varied at random: flips, rotation, colour, affine. Nothing else ever is.

Rotation and affine are one resampling, so that a picture is blurred once. Corners that come into
the picture are mirrored from it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo_export.studies.remya.configuration import AugmentationConfig, Step

# Rec. 601: the brightness of a colour.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def augmented(
    picture: NDArray[np.uint8],
    config: AugmentationConfig,
    without: tuple[Step, ...],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """A variation of a picture uint8 (side, side, 3). without: steps left out; the chance of the
    others is the same with and without them.
    """
    flips = rng.random(2)
    turn, shear, grow = rng.uniform(-1, 1, 3)
    shift = rng.uniform(-1, 1, 2)
    colour = rng.uniform(-1, 1, 4)
    if "flips" not in without:
        if flips[0] < config.horizontal_flip:
            picture = picture[:, ::-1]
        if flips[1] < config.vertical_flip:
            picture = picture[::-1]
    affine = "affine" not in without
    degrees = 0.0 if "rotation" in without else turn * config.rotation_deg
    if degrees or affine:
        picture = _warped(
            np.ascontiguousarray(picture),
            degrees=degrees,
            shear_deg=shear * config.shear_deg * affine,
            scale=1 + grow * config.scale * affine,
            shift=shift * config.shift * affine,
        )
    if "colour" not in without:
        picture = _recoloured(picture, config, colour)
    return np.ascontiguousarray(picture)


def _warped(
    picture: NDArray[np.uint8],
    *,
    degrees: float,
    shear_deg: float,
    scale: float,
    shift: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Turned, sheared and scaled about the middle, then shifted by shares of the side."""
    side = picture.shape[0]
    turn, lean = np.deg2rad(degrees), np.tan(np.deg2rad(shear_deg))
    linear = (
        scale
        * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        @ np.array([[1.0, lean], [0.0, 1.0]])
    )
    middle = np.full(2, (side - 1) / 2)
    offset = middle - linear @ middle + shift * side
    matrix = np.column_stack([linear, offset])
    warped = cv2.warpAffine(
        picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(warped, np.uint8)


def _recoloured(
    picture: NDArray[np.uint8], config: AugmentationConfig, chance: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Brightness, contrast, saturation and hue, in this order; each a step of one 3x3 matrix and
    an offset, for all of them are linear in RGB (hue as a turn about grey).
    """
    brightness, contrast, saturation = (
        1 + chance[:3] * (config.brightness, config.contrast, config.saturation)
    ).astype(np.float32)
    mean = float((picture.reshape(-1, 3).mean(axis=0) @ LUMA) * brightness)
    grey = np.tile(LUMA, (3, 1))
    saturate = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * grey
    matrix = _hue_matrix(chance[3] * config.hue_deg) @ saturate * (brightness * contrast)
    # The offset is grey, which neither saturation nor hue changes.
    out = cv2.transform(picture, np.column_stack([matrix, np.full(3, mean * (1 - contrast))]))
    return np.asarray(out, np.uint8)


def _hue_matrix(degrees: float) -> NDArray[np.float32]:
    """A turn of RGB about its grey axis (Rodrigues)."""
    turn = np.deg2rad(degrees)
    axis = np.full((3, 1), 1 / np.sqrt(3))
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    matrix = np.cos(turn) * np.eye(3) + np.sin(turn) * cross + (1 - np.cos(turn)) * axis @ axis.T
    return np.asarray(matrix, np.float32)
