"""Wavelet scattering of two layers (Mallat 2012; Bruna and Mallat 2013) in matrix products alone.

Morlet wavelets and a Gaussian average, as Kymatio takes them (Andreux et al. 2020). Discrete
Fourier transforms are products with their matrices, reflection at the border and subsampling are
part of those, and the average over a picture is one weighted sum: there is no operator that an edge
runtime lacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Real = NDArray[np.float64]

# Of the mother wavelet: width in px, frequency in radians a px.
WIDTH_PX = 0.8
FREQUENCY = 3 * math.pi / 4
# Standard deviation of the Gaussian average, of the px that it averages over.
AVERAGE_SHARE = WIDTH_PX / 2
# Wavelets repeat with the picture. So many standard deviations away nothing is left of them, and
# the average's copies this many pictures away still count.
REACH_SDS = 9.0
COPIES = 2
# Under the root of the modulus, whose slope is endless at zero.
TINY = 1e-20


@dataclass(frozen=True)
class _Inverse:
    """Inverse transform at every so-manieth place: real and imaginary part, float32 (m, n)."""

    real: Tensor
    imaginary: Tensor


class Scattering:
    """Mean scattering coefficients of square pictures of one side.

    octaves: scales of the wavelets, the last of which is averaged over 2^octaves px. rotations: of
    the wavelets in each. Takes float (n, c, side, side), answers float (n, c * `count`): of each
    channel the mean, then its first-order means by octave and rotation, then the second-order ones.
    """

    def __init__(self, side: int, *, octaves: int, rotations: int) -> None:
        step = 2**octaves
        whole = ((side + step) // step + 1) * step
        self.octaves, self.rotations = octaves, rotations
        border = reflection(side, whole)
        self._real, self._imaginary = (
            _float32(part @ border) for part in (_cosines(whole), -_sines(whole))
        )
        spectra = [
            [wavelet_spectrum(whole, 2.0**octave, turn, rotations) for turn in range(rotations)]
            for octave in range(octaves)
        ]
        average = average_spectrum(whole, AVERAGE_SHARE * 2.0**octaves)
        sizes = [whole >> octave for octave in range(octaves)]
        self._plain_weights = _float32(border.T @ mean_weights(average, whole, octaves))
        self._weights = [_float32(mean_weights(average, size, octaves)) for size in sizes]
        self._forward = [(_float32(_cosines(size)), _float32(-_sines(size))) for size in sizes]
        # By resolution of what is filtered and by octave of the wavelet.
        self._wavelets = {
            (level, octave): _float32(np.stack([low(s, sizes[level]) for s in spectra[octave]]))
            for octave in range(octaves)
            for level in range(octave + 1)
        }
        self._inverse = {
            (level, octave): _inverse(sizes[level], sizes[octave])
            for octave in range(octaves)
            for level in range(octave + 1)
        }

    @property
    def count(self) -> int:
        """How many coefficients a channel has."""
        pairs = self.octaves * (self.octaves - 1) // 2
        return 1 + self.octaves * self.rotations + pairs * self.rotations**2

    def __call__(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        found = [_weighted(x, self._plain_weights)]
        spectrum = _transformed(x, self._real, self._imaginary)
        second: list[Tensor] = []
        for octave in range(self.octaves):
            first = self._filtered(spectrum, 0, octave)
            found.append(_weighted(first, self._weights[octave]))
            again = _transformed(first, *self._forward[octave])
            for finer in range(octave + 1, self.octaves):
                both = self._filtered(again, octave, finer)
                second.append(_weighted(both, self._weights[finer]))
        # Of each channel together, whatever the number of rotations behind it.
        parts = [part.reshape(x.shape[0], channels, -1) for part in (*found, *second)]
        return torch.cat(parts, dim=2).flatten(1)

    def _filtered(self, spectrum: tuple[Tensor, Tensor], level: int, octave: int) -> Tensor:
        """Modulus after one octave's wavelets: (n, p, m, m) to (n, p * rotations, k, k)."""
        wavelets, back = self._wavelets[level, octave], self._inverse[level, octave]
        real, imaginary = ((part.unsqueeze(2) * wavelets).flatten(1, 2) for part in spectrum)
        rows_real = back.real @ real - back.imaginary @ imaginary
        rows_imaginary = back.real @ imaginary + back.imaginary @ real
        out_real = rows_real @ back.real.T - rows_imaginary @ back.imaginary.T
        out_imaginary = rows_real @ back.imaginary.T + rows_imaginary @ back.real.T
        return torch.sqrt(out_real * out_real + out_imaginary * out_imaginary + TINY)


def _transformed(x: Tensor, real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """The discrete Fourier transform of real pictures (n, p, s, s), both parts (n, p, m, m)."""
    over, under = real @ x, imaginary @ x
    return over @ real.T - under @ imaginary.T, over @ imaginary.T + under @ real.T


def _weighted(x: Tensor, weights: Tensor) -> Tensor:
    """Sum over each picture (n, p, s, s) with weights (s,) along both sides: (n, p)."""
    return torch.matmul(torch.matmul(x, weights), weights)


def _angles(size: int) -> Real:
    steps = np.arange(size)
    return 2 * np.pi * (np.outer(steps, steps) % size) / size


def _cosines(size: int) -> Real:
    return np.cos(_angles(size))


def _sines(size: int) -> Real:
    return np.sin(_angles(size))


def _inverse(size: int, wanted: int) -> _Inverse:
    stride = size // wanted
    return _Inverse(
        _float32(_cosines(size)[::stride] / size), _float32(_sines(size)[::stride] / size)
    )


def reflection(side: int, whole: int) -> Real:
    """What continues a picture of ``side`` to ``whole`` by mirror images, (whole, side)."""
    before = (whole - side) // 2
    place = np.abs(np.arange(whole) - before) % (2 * side - 2)
    place = np.where(place < side, place, 2 * side - 2 - place)
    out = np.zeros((whole, side))
    out[np.arange(whole), place] = 1
    return out


def wavelet_spectrum(
    size: int, scale: float, turn: int, rotations: int, frequency: float = FREQUENCY
) -> Real:
    """A Morlet wavelet's transform, real since the wavelet is symmetric, (size, size).

    scale: times the mother wavelet, whose frequency in radians a px is ``frequency``.
    """
    angle = (rotations - rotations // 2 - 1 - turn) * math.pi / rotations
    slant = 4 / rotations
    wave = _wave(size, WIDTH_PX * scale, frequency / scale, angle, slant)
    bump = _wave(size, WIDTH_PX * scale, 0.0, angle, slant)
    return np.real(np.fft.fft2(wave - bump * (wave.sum() / bump.sum())))


def _wave(
    size: int, sd: float, frequency: float, angle: float, slant: float
) -> NDArray[np.complex128]:
    """A plane wave under a Gaussian, periodic, complex (size, size)."""
    reach = math.ceil(REACH_SDS * sd / min(1.0, slant))
    steps = np.arange(-reach, reach + 1)
    rows, columns = steps[:, None].astype(np.float64), steps[None, :].astype(np.float64)
    along = rows * math.cos(angle) + columns * math.sin(angle)
    across = columns * math.cos(angle) - rows * math.sin(angle)
    wide = np.exp(-(along**2 + (slant * across) ** 2) / (2 * sd**2) + 1j * frequency * along)
    folded = np.zeros((size, size), np.complex128)
    np.add.at(folded, np.ix_(steps % size, steps % size), wide)
    return np.asarray(folded * slant / (2 * math.pi * sd**2), np.complex128)


def average_spectrum(size: int, sd: float) -> Real:
    """The transform of a Gaussian average of ``sd`` px along one side, (size,)."""
    steps = np.arange(-COPIES * size, (COPIES + 1) * size, dtype=np.float64)
    bump = np.exp(-(steps**2) / (2 * sd**2)) / (math.sqrt(2 * math.pi) * sd)
    return np.real(np.fft.fft(bump.reshape(2 * COPIES + 1, size).sum(axis=0)))


def low(spectrum: Real, size: int) -> Real:
    """The lowest frequencies, as at a resolution of ``size``, along all axes."""
    whole = spectrum.shape[0]
    kept = np.r_[0 : (size + 1) // 2, whole - size // 2 : whole]
    return np.asarray(spectrum[np.ix_(*(kept,) * spectrum.ndim)], np.float64)


def mean_weights(average: Real, size: int, octaves: int) -> Real:
    """Weights (size,) whose sum over a picture is the mean of its averages at the inner places."""
    smooth = np.real(np.fft.ifft(low(average, size)))
    places = len(average) >> octaves
    stride = size // places
    inner = np.arange(1, places - 1) * stride
    return np.asarray(
        np.mean([smooth[(place - np.arange(size)) % size] for place in inner], axis=0), np.float64
    )


def _float32(values: Real) -> Tensor:
    # Usable in training and tracing, even where the first call comes in inference mode.
    with torch.inference_mode(False):
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))
