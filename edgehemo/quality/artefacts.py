"""What was drawn on the picture or lies on the slide and is no blood: scale bars, arrows, dirt.

Three kinds are masked, each by what stain cannot do:

- annotations: stain only darkens, so a pixel clearly brighter than the background in one channel
  and darker in another was drawn; and no dye of a blood film makes green brighter than both red
  and blue by much (Romanowsky stains absorb in green and yellow: eosin at 517 nm, azure B at
  650 nm, haemoglobin at 540 nm), so green, yellow and cyan marks are recognised on white as well.
- dark grey matter: eyepiece pointers, black scale bars, pigment, dust. Nuclei are as dark but
  purple.
- bubbles: dark grey rings around clear ground.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField
from edgehemo.quality.check import Check
from edgehemo.quality.verdicts import judged

# A drawn pixel is at least this much brighter than the background in red or green (blue is left
# out: nuclei on a yellowish background come close to it) ...
_DRAWN_ABOVE = 1.10
# ... and its brightest and darkest channels are this far apart.
_DRAWN_CONTRAST = 0.35
# Green over the mean of the other two (green marks), blue over red at bright green (cyan marks).
_GREEN_EXCESS = 0.16
_CYAN_EXCESS = 0.22
# Yellow marks: red and green both at background level, blue gone.
_YELLOW_EXCESS = 0.55
# Grey matter: the brightest channel below this and all channels within this of one another. Red
# cells that dark are red: they let through a quarter more of the red light than of the green.
_GREY_BELOW = 0.58
_GREY_SPREAD = 0.13
# Dark matter smaller than this is left to the cell finder (platelet precipitate, granules), um^2.
_MIN_DARK_UM2 = 4.0
_MIN_DRAWN_UM2 = 2.0
# A ring of dark matter wider than this, and smaller than this share of the field, is a bubble, um.
_MIN_BUBBLE_UM = 15.0
_MAX_BUBBLE_SHARE = 0.15
# Marks are blurred and anti-aliased: the mask is grown by this, um.
_GROWN_UM = 0.75


def artefact_mask(field: CanonicalField) -> NDArray[np.bool_]:
    """Where a field holds no blood but an artefact: bool (height, width), True = artefact."""
    return artefacts_of(field.transmittance, field.valid, CANONICAL_UM_PER_PX)


def artefacts_of(
    transmittance: NDArray[np.float32], valid: NDArray[np.bool_], um_per_px: float
) -> NDArray[np.bool_]:
    """`artefact_mask` of float32 RGB transmittance (height, width, 3) at any scale."""
    red, green, blue = cv2.split(transmittance)
    brightest = np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.float32)
    darkest = cv2.min(cv2.min(red, green), blue)
    spread = brightest - darkest
    drawn = (cv2.max(red, green) > _DRAWN_ABOVE) & (spread > _DRAWN_CONTRAST)
    drawn |= green - 0.5 * (red + blue) > _GREEN_EXCESS
    drawn |= (green - red > _CYAN_EXCESS) & (blue - red > _CYAN_EXCESS) & (green > 0.6)
    drawn |= (green > 0.85) & (red > 0.85) & (green - blue > _YELLOW_EXCESS)
    grey = (brightest < _GREY_BELOW) & (spread < _GREY_SPREAD)
    drawn &= valid
    grey &= valid
    if not (drawn.any() or grey.any()):
        return np.zeros(drawn.shape, dtype=np.bool_)
    pixel_um2 = um_per_px**2
    mask = _large(drawn, _MIN_DRAWN_UM2 / pixel_um2)
    mask |= _dark_matter(grey, brightest, _MIN_DARK_UM2 / pixel_um2, _MIN_BUBBLE_UM / um_per_px)
    side = 2 * max(1, round(_GROWN_UM / um_per_px)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    grown = cv2.dilate(mask.astype(np.uint8), kernel) > 0
    return np.asarray(grown & valid, dtype=np.bool_)


def artefact_check(share: float) -> Check:
    """Verdict on the share (0-1) of the field that artefacts take."""
    return judged("artefacts", share, high="ARTEFACTS")


def _large(mask: NDArray[np.bool_], min_px: float) -> NDArray[np.bool_]:
    """The connected parts of at least ``min_px`` pixels."""
    if not mask.any():
        return mask
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    keep = stats[:, cv2.CC_STAT_AREA] >= max(2.0, min_px)
    keep[0] = False
    return np.asarray(keep[labels] if count > 1 else np.zeros(mask.shape), dtype=np.bool_)


def _dark_matter(
    grey: NDArray[np.bool_], brightest: NDArray[np.float32], min_px: float, bubble_px: float
) -> NDArray[np.bool_]:
    """Dark grey parts with their soft edges, bubbles filled."""
    core = _large(grey, min_px)
    if not core.any():
        return core
    # A blurred pointer fades out: its soft edge joins it.
    soft = cv2.dilate(core.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    mask = (core | (soft & (brightest < 0.75))).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    for index in range(1, count):
        left, top, wide, tall, area = (int(v) for v in stats[index])
        box = wide * tall
        if min(wide, tall) < bubble_px or area > 0.5 * box or box > _MAX_BUBBLE_SHARE * mask.size:
            continue
        window = (slice(top, top + tall), slice(left, left + wide))
        part = (labels[window] == index).astype(np.uint8)
        outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(part, outlines, -1, 1, cv2.FILLED)
        mask[window] |= part
    return np.asarray(mask, dtype=np.bool_)
