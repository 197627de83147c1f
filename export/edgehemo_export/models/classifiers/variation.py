"""How a crop is varied in training: turned and zoomed, stained and lit otherwise, set elsewhere."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as v2

from edgehemo.field.canonical import CLEAR_FIELD_CODE, UINT8_PER_TRANSMITTANCE
from edgehemo_export.configuration import Configuration

# Of a crop cut by a picture's border at most this share is missing: the cell's middle never is.
MAX_CUT_SHARE = 0.36
# How much of a crop's pixels along a side is left at least where it had fewer, and how far a camera
# sharpens: the weight of what a mean over three pixels takes away.
LEAST_COARSE, MOST_SHARPENED = 0.35, 2.0
_LN10 = math.log(10.0)


class AugmentOptions(Configuration):
    """How a crop is varied; every range is symmetric in the logarithm or about zero.

    zoom: the largest factor of size, either way: the error of an estimated scale. aspect: of
    stretching. shift_px: of the cell from the middle. warp_share: crops that are turned by any
    angle and resampled; the rest are only turned by right angles, mirrored and shifted by whole
    pixels, and stay as sharp as the device sees them. strength, hue, mixing: of the stain, in
    optical density: factor of all channels, of single channels, and how far channels mix. light:
    factor of the background per channel, the error of its estimate. ramp: of uneven light.
    blur_share, blur_px: crops that are blurred, by at most this sigma. noise: largest sd of sensor
    noise, transmittance. exchange_share: crops whose cell is pasted on another crop's surroundings
    (needs masks). stain_share: crops that take
    another source's stain, wholly or in part (needs stain gains). tone: of the camera's tone curve,
    the exponent of transmittance. grey_share: crops that lose colour, by any share of it.
    sharpen_share: crops sharpened as cameras do. coarse_share: crops that had fewer pixels.
    """

    zoom: float = 1.2
    aspect: float = 0.05
    shift_px: int = 6
    warp_share: float = 0.5
    strength: float = 0.3
    hue: float = 0.12
    mixing: float = 0.06
    light: float = 0.04
    ramp: float = 0.03
    blur_share: float = 0.3
    blur_px: float = 1.3
    noise: float = 0.02
    exchange_share: float = 0.0
    stain_share: float = 0.0
    border_share: float = 0.08
    tone: float = 0.0
    grey_share: float = 0.0
    sharpen_share: float = 0.0
    coarse_share: float = 0.0


def vary_geometry(
    codes: Tensor, side: int, options: AugmentOptions, generator: torch.Generator
) -> Tensor:
    """Turned, mirrored, zoomed, shifted and sometimes cut crops.

    codes: uint8 (n, s, s, 3). Returns transmittance float32 (n, 3, side, side); what lies beyond
    a crop is clear field.
    """
    n, stored = codes.shape[0], codes.shape[1]
    light = codes.permute(0, 3, 1, 2).to(torch.float32) / UINT8_PER_TRANSMITTANCE
    room = (stored - side) // 2
    reach = min(room, options.shift_px)
    out = torch.empty(n, 3, side, side)
    turns = torch.randint(0, 8, (n,), generator=generator)
    shifts = torch.randint(-reach, reach + 1, (n, 2), generator=generator)
    warped = torch.rand(n, generator=generator) < options.warp_share
    for i in torch.nonzero(~warped).flatten().tolist():
        down, right = (int(v) for v in shifts[i])
        part = light[i, :, room + down : room + down + side, room + right : room + right + side]
        part = torch.rot90(part, int(turns[i]) % 4, (1, 2))
        out[i] = part.flip(2) if int(turns[i]) >= 4 else part
    chosen = torch.nonzero(warped).flatten()
    if len(chosen):
        m = len(chosen)

        def uniform(half: float) -> Tensor:
            return torch.empty(m).uniform_(-half, half, generator=generator)

        angle = uniform(math.pi)
        zoom = torch.exp(uniform(math.log(options.zoom)))
        stretch = torch.exp(uniform(options.aspect))
        mirror = torch.where(turns[chosen] >= 4, -1.0, 1.0)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # Output to input coordinates; grid_sample's run from -1 to 1 over the stored crop.
        share = side / stored / zoom
        theta = torch.zeros(m, 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = share * cos * mirror * stretch, -share * sin / stretch
        theta[:, 1, 0], theta[:, 1, 1] = share * sin * mirror * stretch, share * cos / stretch
        theta[:, :, 2] = torch.stack([uniform(reach), uniform(reach)], 1) * 2 / stored
        grid = nn.functional.affine_grid(theta, [m, 3, side, side], align_corners=False)
        moved = nn.functional.grid_sample(
            light[chosen] - 1.0, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        out[chosen] = moved + 1.0
    cut = torch.nonzero(torch.rand(n, generator=generator) < options.border_share).flatten()
    widths = torch.randint(2, max(3, int(MAX_CUT_SHARE * side)), (n,), generator=generator)
    sides = torch.randint(0, 4, (n,), generator=generator)
    for i in cut.tolist():
        # Down or across, at the low or the high end.
        strip = out[i].narrow(
            1 + int(sides[i]) // 2,
            0 if int(sides[i]) % 2 == 0 else side - int(widths[i]),
            int(widths[i]),
        )
        strip.fill_(1.0)
    return out


def vary_stain(light: Tensor, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Transmittance (n, 3, s, s) float32 with stain, light, focus and noise varied crop by crop.

    Stain in optical density, where dyes are linear.
    """
    n, side = light.shape[0], light.shape[-1]

    def uniform(half: float, *shape: int) -> Tensor:
        return torch.empty(shape).uniform_(-half, half, generator=generator)

    density = -torch.log(light.clamp(0.01, 1.275)) / _LN10
    factor = torch.exp(uniform(options.strength, n, 1, 1, 1) + uniform(options.hue, n, 3, 1, 1))
    mixing = torch.eye(3).expand(n, 3, 3) + uniform(options.mixing, n, 3, 3)
    density = torch.einsum("nij,njhw->nihw", mixing, density * factor)
    axis = torch.linspace(-1, 1, side)
    slope = uniform(options.ramp, n, 2, 1, 1)
    ramp = slope[:, :1] * axis[None, None, :, None] + slope[:, 1:] * axis[None, None, None, :]
    gain = torch.exp(uniform(options.light, n, 3, 1, 1) + ramp)
    varied = torch.exp(-density * _LN10) * gain
    blurred = torch.rand(n, generator=generator) < options.blur_share
    chosen = torch.nonzero(blurred).flatten()
    if len(chosen):
        # Four strengths a batch: as varied as one each, and far cheaper.
        for part in torch.tensor_split(chosen, min(4, len(chosen))):
            sigma = float(torch.empty(1).uniform_(0.3, options.blur_px, generator=generator))
            kernel = 2 * math.ceil(2 * sigma) + 1
            varied[part] = v2.gaussian_blur(varied[part], [kernel, kernel], [sigma, sigma])
    level = torch.rand(n, 1, 1, 1, generator=generator) * options.noise
    varied = varied + level * torch.randn(varied.shape, generator=generator)
    # Codes end at 255: so do the device's.
    return varied.clamp(0.0, 255.0 / UINT8_PER_TRANSMITTANCE)


def vary_camera(light: Tensor, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Transmittance (n, 3, s, s) float32 as other cameras would give it: their tone curve, less or
    no colour, sharpened, of fewer pixels. What an option leaves at 0 draws nothing.
    """
    n, side = light.shape[0], light.shape[-1]
    top = 255.0 / UINT8_PER_TRANSMITTANCE

    def some(share: float) -> Tensor:
        drawn = torch.rand(n, generator=generator) if share > 0 else torch.ones(n)
        return torch.nonzero(drawn < share).flatten()

    if options.tone > 0:
        exponent = torch.empty(n, 1, 1, 1).uniform_(
            -options.tone, options.tone, generator=generator
        )
        light = light.clamp(0.0, top) ** torch.exp(exponent)
    chosen = some(options.grey_share)
    if len(chosen):
        share = torch.rand(len(chosen), 1, 1, 1, generator=generator)
        grey = light[chosen].mean(dim=1, keepdim=True)
        light[chosen] = share * light[chosen] + (1 - share) * grey
    chosen = some(options.sharpen_share)
    if len(chosen):
        part = light[chosen]
        mean = nn.functional.avg_pool2d(nn.functional.pad(part, (1, 1, 1, 1), "replicate"), 3, 1)
        weight = MOST_SHARPENED * torch.rand(len(chosen), 1, 1, 1, generator=generator)
        light[chosen] = (part + weight * (part - mean)).clamp(0.0, top)
    chosen = some(options.coarse_share)
    if len(chosen):
        # Two sizes a batch: as varied as one each, and far cheaper.
        for part_of in torch.tensor_split(chosen, min(2, len(chosen))):
            kept = float(torch.empty(1).uniform_(LEAST_COARSE, 0.95, generator=generator))
            few = max(2, round(side * kept))
            coarse = nn.functional.interpolate(light[part_of], size=(few, few), mode="area")
            light[part_of] = nn.functional.interpolate(
                coarse, size=(side, side), mode="bilinear", align_corners=False
            )
    return light


def exchange_surroundings(
    codes: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    hosts: NDArray[np.uint8],
    host_masks: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Cells on other crops' surroundings: uint8 (n, s, s, 3).

    codes, hosts: uint8 (n, s, s, 3). masks, host_masks: bool (n, s, s), the middle cell. The
    host's own cell is replaced by clear field; the seam is softened over two pixels. A crop
    without a mask stays as it is.
    """
    out = codes.copy()
    for i in range(len(codes)):
        if not masks[i].any() or not host_masks[i].any():
            continue
        host = hosts[i].astype(np.float32)
        # Clear field is a little noisy: a smooth patch would mark an exchanged crop.
        own = cv2.GaussianBlur(
            cv2.dilate(host_masks[i].astype(np.float32), np.ones((7, 7), np.uint8)), (0, 0), 1.0
        )[..., None]
        clear = _clear_texture(hosts[i])
        host = host * (1 - own) + clear * own
        cell = cv2.GaussianBlur(masks[i].astype(np.float32), (0, 0), 1.0)[..., None]
        out[i] = np.clip(np.rint(codes[i] * cell + host * (1 - cell)), 0, 255).astype(np.uint8)
    return out


def optical_density(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """-log10 of transmittance of codes uint8 (..., 3), at most 2."""
    light = np.maximum(codes.astype(np.float64), 2.0) / UINT8_PER_TRANSMITTANCE
    return np.asarray(-np.log10(light), np.float64)


def with_stain(codes: NDArray[np.uint8], gains: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Crops uint8 (..., 3) with their optical density multiplied per channel by ``gains`` (3,)."""
    light = np.power(10.0, -optical_density(codes) * gains)
    return np.clip(np.rint(light * UINT8_PER_TRANSMITTANCE), 0, 255).astype(np.uint8)


def _clear_texture(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A field of this crop's own clear background, its noise drawn from its clear pixels."""
    flat = codes.reshape(-1, 3)
    clear = flat[np.abs(flat.astype(np.int16) - CLEAR_FIELD_CODE).max(axis=1) <= 10]
    if len(clear) < 50:
        return np.full(codes.shape, CLEAR_FIELD_CODE, np.float32)
    # A fixed stride through the clear pixels: no chance is needed, and none is drawn.
    picked = clear[(np.arange(len(flat)) * 7919) % len(clear)]
    return np.asarray(picked.reshape(codes.shape), np.float32)
