"""Training samples of the cell finder: crops, colour changes, target maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from edgehemo.cells.cell import CellKind
from edgehemo.cells.maps import KINDS_IN_MAPS, STRIDE
from edgehemo.field.canonical import CELL_DIAMETER_PX, CLEAR_FIELD_CODE, UINT8_PER_TRANSMITTANCE
from edgehemo_export.configuration import Configuration
from edgehemo_export.data.canonical_set import (
    CUT,
    KNOWN,
    MIN_VISIBLE_SHARE,
    UNKNOWN,
    CanonicalExample,
)

# A place within this share of a box's size around its centre learns the box as well.
CENTRE_SPREAD = 0.11
# How much the sliver of a red cell, or stain that the border cuts, weighs as "no white cell, no
# platelet": not in full, since a platelet may lie there unlabelled.
CUT_WEIGHT = 0.5

# Dirt that is no platelet: at most so many on an image, standard deviations in canonical px,
# optical densities at the peak, and how far the channels differ. A platelet is 1.5 to 3 um wide,
# which is 6 to 12 px, and takes stain.
MOST_SPECKS, SPECK_SIGMA_PX, SPECK_DENSITY, SPECK_TINT = 20, (0.6, 1.6), (0.015, 0.10), 0.4
MOST_BLOTS, BLOT_SIGMA_PX, BLOT_DENSITY, BLOT_TINT = 2, (2.0, 4.5), (0.04, 0.30), 0.06

_LN10 = math.log(10.0)


class SampleOptions(Configuration):
    """How crops are varied. Sizes in canonical px; zoom covers the error of an estimated scale.

    dirty_share: of the crops that get specks and blots, which are no platelets.
    """

    side_px: int = 192
    zoom_low: float = 0.75
    zoom_high: float = 1.33
    aspect: float = 0.12
    dirty_share: float = Field(default=0.0, ge=0.0, le=1.0)


@dataclass(frozen=True)
class Batch:
    """A batch of crops with their target maps.

    codes: uint8 (n, s, s, 3). heat: float32 (n, kinds, s/4, s/4). known: float32, same shape, how
    much a place without a cell weighs: 0 where the truth is unknown. box: float32 (n, 4, s/4, s/4)
    as coded in the maps. weight: float32 (n, 1, s/4, s/4), how much each place learns its box.
    """

    codes: Tensor
    heat: Tensor
    known: Tensor
    box: Tensor
    weight: Tensor


def crop(
    example: CanonicalExample, options: SampleOptions, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.intp], NDArray[np.uint8]]:
    """A varied crop: codes (s, s, 3), boxes, kinds, doubt uint8 (s, s); padded with clear field.

    The padding is unknown too: what lies beyond a picture's border is not background.
    """
    side = options.side_px
    zoom = float(np.exp(rng.uniform(np.log(options.zoom_low), np.log(options.zoom_high))))
    stretch = float(np.exp(rng.uniform(-options.aspect, options.aspect)))
    height, width = example.codes.shape[:2]
    flip_x, flip_y, turn = rng.integers(0, 2, 3)
    zx, zy = zoom * stretch**0.5, zoom / stretch**0.5
    linear = np.diag([zx, zy]) @ np.diag([1 - 2 * flip_x, 1 - 2 * flip_y])
    if turn:
        linear = np.array([[0.0, 1.0], [1.0, 0.0]]) @ linear
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float) @ linear.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = high - low
    offset = np.empty(2)
    for axis in range(2):
        room = size[axis] - side
        # A little of the border shows now and then, as at the border of any field.
        shift = rng.uniform(-0.08 * side, room + 0.08 * side) if room > 0 else rng.uniform(room, 0)
        offset[axis] = -low[axis] - shift
    matrix = np.hstack([linear, offset[:, None]])
    # Pixel centres: the warp maps index i to the point i + 0.5.
    index_matrix = matrix.copy()
    index_matrix[:, 2] += linear @ np.array([0.5, 0.5]) - 0.5
    flags = cv2.INTER_LINEAR
    pad = (CLEAR_FIELD_CODE,) * 3
    codes = cv2.warpAffine(example.codes, index_matrix, (side, side), flags=flags, borderValue=pad)
    doubt = cv2.warpAffine(
        example.doubt,
        index_matrix,
        (side, side),
        flags=cv2.INTER_NEAREST,
        borderValue=UNKNOWN,
    )
    boxes = example.boxes
    points = np.stack([boxes[:, [0, 1]], boxes[:, [2, 3]]], axis=1) @ linear.T + offset
    moved = np.hstack([points.min(axis=1), points.max(axis=1)]).astype(np.float32)
    frame_low = np.maximum(0, low + offset)
    frame_high = np.minimum(side, high + offset)
    clipped = moved.copy()
    clipped[:, [0, 2]] = np.clip(moved[:, [0, 2]], frame_low[0], frame_high[0])
    clipped[:, [1, 3]] = np.clip(moved[:, [1, 3]], frame_low[1], frame_high[1])
    area = np.prod(np.maximum(1e-3, moved[:, 2:] - moved[:, :2]), axis=1)
    seen = np.prod(np.maximum(0, clipped[:, 2:] - clipped[:, :2]), axis=1) / area
    keep = seen >= MIN_VISIBLE_SHARE
    for i in np.flatnonzero((seen > 0) & ~keep):
        # A sliver of a cell is neither asked for nor held against the finder.
        x0, y0, x1, y1 = clipped[i]
        code = CUT if KINDS_IN_MAPS[example.kinds[i]] == "rbc" else UNKNOWN
        sliver = doubt[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
        np.maximum(sliver, np.uint8(code), out=sliver)
    return (
        np.asarray(codes, dtype=np.uint8),
        clipped[keep],
        example.kinds[keep],
        np.asarray(doubt, dtype=np.uint8),
    )


def targets(
    boxes: NDArray[np.float32],
    kinds: NDArray[np.intp],
    doubt: NDArray[np.uint8],
    complete: frozenset[CellKind],
    doubt_weight: float,
) -> tuple[NDArray[np.float32], ...]:
    """heat (kinds, r, c), known (kinds, r, c), box (4, r, c), weight (1, r, c), all float32.

    Doubtful stain counts as background in full for the kinds that are labelled completely, for
    the others by ``doubt_weight``.
    """
    rows, columns = doubt.shape[0] // STRIDE, doubt.shape[1] // STRIDE
    heat = np.zeros((len(KINDS_IN_MAPS), rows, columns), np.float32)
    coded = np.zeros((4, rows, columns), np.float32)
    weight = np.zeros((1, rows, columns), np.float32)
    grid_y, grid_x = np.arange(rows) + 0.5, np.arange(columns) + 0.5
    order = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))  # small ones on top
    for i in order:
        x0, y0, x1, y1 = boxes[i] / STRIDE
        wide, tall = max(x1 - x0, 0.5), max(y1 - y0, 0.5)
        cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
        reach_x, reach_y = CENTRE_SPREAD * wide + 0.45, CENTRE_SPREAD * tall + 0.45
        left, right = max(0, int(cx - 3 * reach_x)), min(columns, int(cx + 3 * reach_x) + 2)
        top, bottom = max(0, int(cy - 3 * reach_y)), min(rows, int(cy + 3 * reach_y) + 2)
        if left >= right or top >= bottom:
            continue
        dx, dy = cx - grid_x[left:right], cy - grid_y[top:bottom]
        bump = np.exp(-0.5 * ((dx / reach_x)[None, :] ** 2 + (dy / reach_y)[:, None] ** 2)).astype(
            np.float32
        )
        window = (slice(top, bottom), slice(left, right))
        heat[kinds[i]][window] = np.maximum(heat[kinds[i]][window], bump)
        column = min(columns - 1, max(0, int(cx)))
        row = min(rows - 1, max(0, int(cy)))
        heat[kinds[i], row, column] = 1.0
        bump[row - top, column - left] = 1.0
        better = (bump > 0.35) & (bump > weight[0][window])
        coded[0][window][better] = np.broadcast_to(dx[None, :], bump.shape)[better]
        coded[1][window][better] = np.broadcast_to(dy[:, None], bump.shape)[better]
        coded[2][window][better] = np.log(wide * STRIDE / CELL_DIAMETER_PX)
        coded[3][window][better] = np.log(tall * STRIDE / CELL_DIAMETER_PX)
        weight[0][window][better] = bump[better]
    seen = _mostly(doubt < UNKNOWN, columns, rows)
    sure = _mostly(doubt == KNOWN, columns, rows)
    cut = _mostly(doubt == CUT, columns, rows)
    known = np.empty_like(heat)
    for index, kind in enumerate(KINDS_IN_MAPS):
        other = 1.0 if kind in complete else doubt_weight
        of_cut = 0.0 if kind == "rbc" else CUT_WEIGHT
        known[index] = np.select([~seen, sure, cut], [0.0, 1.0, of_cut], other)
    known[heat > 0.3] = 1.0
    return heat, known, coded, weight


def _mostly(mask: NDArray[np.bool_], columns: int, rows: int) -> NDArray[np.bool_]:
    """True for the places of the map of which over half is in the mask."""
    share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(share > 0.5, dtype=np.bool_)


def draw_batch(
    examples: Sequence[CanonicalExample],
    chances: NDArray[np.float64],
    size: int,
    options: SampleOptions,
    rng: np.random.Generator,
    doubt_weights: Mapping[str, float] = MappingProxyType({}),
) -> Batch:
    """A batch of crops; ``chances`` is the probability of each example.

    doubt_weights: by source, how much doubtful stain weighs as background, 0 where not named.
    """
    chosen = rng.choice(len(examples), size=size, p=chances)
    parts: list[tuple[NDArray[np.float32] | NDArray[np.uint8], ...]] = []
    for i in chosen:
        example = examples[int(i)]
        codes, boxes, kinds, doubt = crop(example, options, rng)
        weight = doubt_weights.get(example.source, 0.0)
        parts.append((codes, *targets(boxes, kinds, doubt, example.complete, weight)))
    tensors = [torch.from_numpy(np.stack(store)) for store in zip(*parts, strict=True)]
    return Batch(*tensors)


def vary_colour(codes: Tensor, generator: torch.Generator, *, dirty_share: float = 0.0) -> Tensor:
    """Canonical codes (n, s, s, 3) uint8 to varied transmittance (n, 3, s, s) float32.

    Works on optical density, where stains are linear: strength, hue (a mixing of channels near
    the identity), dirt on a share of the images, a residue of uneven light, blur, sensor noise. A
    batch is varied image by image.
    """
    n = codes.shape[0]
    light = codes.permute(0, 3, 1, 2).to(torch.float32) / UINT8_PER_TRANSMITTANCE
    density = -torch.log(light.clamp_min(0.01)) / _LN10

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(shape).uniform_(low, high, generator=generator)

    strength = torch.exp(uniform(-0.7, 0.45, n, 1, 1, 1) + uniform(-0.35, 0.35, n, 3, 1, 1))
    mixing = torch.eye(3).expand(n, 3, 3) + uniform(-0.18, 0.18, n, 3, 3)
    order = torch.stack([torch.randperm(3, generator=generator) for _ in range(n)])
    swapped = (uniform(0, 1, n) < 0.15)[:, None, None]
    permuted = torch.eye(3)[order]
    mixing = torch.where(swapped, permuted @ mixing, mixing)
    grey = (uniform(0, 1, n) < 0.08)[:, None, None]
    mixing = torch.where(grey, torch.full((3, 3), 1 / 3).expand(n, 3, 3), mixing)
    density = torch.einsum("nij,njhw->nihw", mixing, density * strength)
    if dirty_share > 0:
        density = density + dirt(n, light.shape[-1], dirty_share, generator)
    side = light.shape[-1]
    ramp = torch.linspace(-1, 1, side)
    slope = uniform(-0.025, 0.025, n, 2, 1, 1)
    bowl = uniform(-0.03, 0.03, n, 1, 1)
    uneven = slope[:, 0] * ramp[None, None, :] + slope[:, 1] * ramp[None, :, None]
    uneven = uneven + bowl * (ramp[None, None, :] ** 2 + ramp[None, :, None] ** 2)
    level = uniform(-0.02, 0.02, n, 3, 1, 1)
    light = torch.exp(-_LN10 * (density + level)) + uneven[:, None]
    focus = uniform(0, 1, n)
    # Softer or sharper than it was, by a share of what a 3x3 mean takes away.
    share = torch.where(focus < 0.35, uniform(-1.0, -0.2, n), torch.zeros(n))
    share = torch.where(focus > 0.85, torch.full((n,), 0.6), share)
    changed = share != 0
    if changed.any():
        part = light[changed]
        soft = torch.nn.functional.avg_pool2d(part, 3, 1, 1, count_include_pad=False)
        light[changed] = part + share[changed, None, None, None] * (part - soft)
    noise = _noise_like(light, generator) * uniform(0.0, 0.025, n, 1, 1, 1)
    return (light + noise).clamp(0.0, 1.275)


def dirt(n: int, side: int, share: float, generator: torch.Generator) -> Tensor:
    """Optical density of dirt on a share of n images, float32 (n, 3, side, side).

    Specks are grains of stain or of the slide, under a micrometre and faint. Blots are dust near
    the sensor: out of focus, grey whatever the stain, as large as a platelet.
    """
    density = torch.zeros(n, 3, side, side)

    def uniform(low: float, high: float, count: int = 1) -> Tensor:
        return torch.empty(count).uniform_(low, high, generator=generator)

    for chosen in torch.nonzero(torch.rand(n, generator=generator) < share).flatten().tolist():
        for many, sigma_px, peak, tint in (
            (MOST_SPECKS, SPECK_SIGMA_PX, SPECK_DENSITY, SPECK_TINT),
            (MOST_BLOTS, BLOT_SIGMA_PX, BLOT_DENSITY, BLOT_TINT),
        ):
            count = int(torch.randint(0, many + 1, (1,), generator=generator))
            for x, y, aspect, wide, deep in zip(
                uniform(0, side, count).tolist(),
                uniform(0, side, count).tolist(),
                uniform(0.75, 1.33, count).tolist(),
                uniform(*sigma_px, count).tolist(),
                uniform(*peak, count).tolist(),
                strict=True,
            ):
                colour = deep * (1 + uniform(-tint, tint, 3))
                _add_bump(density[chosen], x, y, wide * aspect**0.5, wide / aspect**0.5, colour)
    return density


def _add_bump(image: Tensor, x: float, y: float, wide: float, tall: float, peak: Tensor) -> None:
    """Add a Gaussian of these standard deviations (px) and peak (3,) to an image (3, s, s)."""
    side = image.shape[-1]
    left, right = max(0, int(x - 3 * wide)), min(side, int(x + 3 * wide) + 2)
    top, bottom = max(0, int(y - 3 * tall)), min(side, int(y + 3 * tall) + 2)
    across = torch.exp(-0.5 * ((torch.arange(left, right) + 0.5 - x) / wide) ** 2)
    down = torch.exp(-0.5 * ((torch.arange(top, bottom) + 0.5 - y) / tall) ** 2)
    image[:, top:bottom, left:right] += peak[:, None, None] * down[:, None] * across


@cache
def _noise_pool() -> Tensor:
    """Normal noise drawn once: a batch takes a stretch of it, which is far cheaper."""
    return torch.randn(1 << 22, generator=torch.Generator().manual_seed(7))


def _noise_like(light: Tensor, generator: torch.Generator) -> Tensor:
    pool = _noise_pool()
    per_image = light[0].numel()
    starts = torch.randint(0, pool.numel() - per_image, (len(light),), generator=generator)
    return torch.stack([pool[s : s + per_image].view(light.shape[1:]) for s in starts.tolist()])
