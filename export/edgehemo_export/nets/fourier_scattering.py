"""Wavelet scattering of two layers by fast Fourier transforms, any number of wavelets an octave.

The same wavelets and average as `scattering`, which edge runtimes can run; this one makes features
on the workstation, some ten times as fast, and takes what MATLAB's ``waveletScattering2`` takes: an
invariance scale in px, wavelets an octave (quality factors) and rotations of each layer.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from edgehemo_export.nets.scattering import (
    AVERAGE_SHARE,
    average_spectrum,
    low,
    mean_weights,
    reflection,
    wavelet_spectrum,
)


class FourierScattering:
    """Mean scattering coefficients of square pictures of one side.

    invariance_px: what the average runs over; wavelets are of every scale below it. qualities:
    wavelets an octave of the first and the second layer. rotations: of both. Takes float32
    (n, c, side, side), answers float32 (n, c, `count`): the mean, the first-order means by scale
    and rotation, then the second-order ones, in the order of `paths`. A second wavelet is larger
    than the first: only these see what the first one's modulus still holds.
    """

    def __init__(
        self,
        side: int,
        *,
        invariance_px: float,
        qualities: tuple[int, int] = (1, 1),
        rotations: tuple[int, int] = (2, 2),
    ) -> None:
        octaves = math.floor(math.log2(invariance_px))
        step = 2**octaves
        whole = ((side + step) // step + 1) * step
        self.scales = tuple(scales_below(invariance_px, quality) for quality in qualities)
        self.rotations = rotations
        self._whole = whole
        average = average_spectrum(whole, AVERAGE_SHARE * invariance_px)
        # The border's mirror images, as an index along each side.
        self._index = torch.from_numpy(reflection(side, whole).argmax(axis=1))
        self._weights = {
            level: _float32(mean_weights(average, whole >> level, octaves))
            for level in range(octaves + 1)
        }
        self._wavelets: list[dict[tuple[int, float], Tensor]] = []
        for layer, (quality, turns) in enumerate(zip(qualities, rotations, strict=True)):
            bank = {}
            for scale in self.scales[layer]:
                spectra = np.stack(
                    [
                        wavelet_spectrum(whole, 2.0**scale, turn, turns, mother_frequency(quality))
                        for turn in range(turns)
                    ]
                )
                # The first layer filters the picture, the second what is left of its sizes.
                for level in range(math.floor(scale) + 1 if layer else 1):
                    size = whole >> level
                    bank[level, scale] = _float32(np.stack([low(s, size) for s in spectra]))
            self._wavelets.append(bank)

    @property
    def paths(self) -> list[tuple[tuple[float, int], ...]]:
        """Of each coefficient the wavelets it went through: octaves of scale, number of turn."""
        first, second = self.scales
        turns = range(self.rotations[0])
        plain: list[tuple[tuple[float, int], ...]] = [()]
        plain += [((scale, turn),) for scale in first for turn in turns]
        return plain + [
            ((scale, turn), (larger, other))
            for scale in first
            for larger in second
            if larger > scale
            for turn in turns
            for other in range(self.rotations[1])
        ]

    @property
    def count(self) -> int:
        """How many coefficients a channel has."""
        return len(self.paths)

    def __call__(self, x: Tensor) -> Tensor:
        grown = x[..., self._index, :][..., self._index]
        found = [self._mean(grown, 0).unsqueeze(2)]
        spectrum = torch.fft.fft2(grown)
        second: list[Tensor] = []
        for scale in self.scales[0]:
            level = math.floor(scale)
            first = self._modulus(spectrum.unsqueeze(2), 0, scale, 0, level)
            found.append(self._mean(first, level))
            larger = [other for other in self.scales[1] if other > scale]
            if not larger:
                continue
            again = torch.fft.fft2(first).unsqueeze(3)
            for other in larger:
                both = self._modulus(again, 1, other, level, math.floor(other))
                second.append(self._mean(both, math.floor(other)).flatten(2))
        return torch.cat([*found, *second], dim=2)

    def _modulus(self, spectrum: Tensor, layer: int, scale: float, level: int, out: int) -> Tensor:
        """Modulus after the wavelets of one scale; the turns are the last axis but two.

        spectrum: (..., 1, m, m) at resolution ``level``; comes out at resolution ``out``.
        """
        filtered = spectrum * self._wavelets[layer][level, scale]
        folds = 2 ** (out - level)
        if folds > 1:
            filtered = _folded(filtered, folds)
        out_of: Tensor = torch.fft.ifft2(filtered).abs()
        return out_of

    def _mean(self, pictures: Tensor, level: int) -> Tensor:
        """The mean of the averages over each picture (..., m, m)."""
        weights = self._weights[level]
        return torch.matmul(torch.matmul(pictures, weights), weights)


def _folded(spectrum: Tensor, folds: int) -> Tensor:
    """The spectrum (..., m, m) of every so-manieth place of a picture: its frequencies come onto
    each other.
    """
    size = spectrum.shape[-1] // folds
    # Sums of real numbers along contiguous memory: four times as fast as those of complex ones.
    parts = torch.view_as_real(spectrum)
    around = parts.shape[:-3]
    rows = parts.reshape(*around, folds, size, folds * size, 2).sum(dim=-4)
    both = rows.reshape(*around, size, folds, size, 2).sum(dim=-3)
    return torch.view_as_complex(both / folds**2)


def scales_below(invariance_px: float, quality: int) -> tuple[float, ...]:
    """Octaves of the wavelets of every scale below ``invariance_px``, so many of them an octave."""
    last = math.log2(invariance_px) * quality
    return tuple(k / quality for k in range(math.ceil(last)))


def mother_frequency(quality: int) -> float:
    """Frequency of the smallest wavelet, radians a px: midway between half a turn and the next
    wavelet's share of it (Sifre and Mallat 2013). With one an octave it is 3 pi / 4.
    """
    return math.pi / 2 * (1 + 2 ** (-1 / quality))


def _float32(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
