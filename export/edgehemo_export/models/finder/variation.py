"""How a crop's colours are varied in training: stain, light, focus, noise, and dirt."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE

# Dirt that is no platelet: at most so many on an image, standard deviations in canonical px,
# optical densities at the peak, and how far the channels differ. A platelet is 1.5 to 3 um wide,
# which is 6 to 12 px, and takes stain.
MOST_SPECKS, SPECK_SIGMA_PX, SPECK_DENSITY, SPECK_TINT = 20, (0.6, 1.6), (0.015, 0.10), 0.4
MOST_BLOTS, BLOT_SIGMA_PX, BLOT_DENSITY, BLOT_TINT = 2, (2.0, 4.5), (0.04, 0.30), 0.06
_LN10 = math.log(10.0)


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
