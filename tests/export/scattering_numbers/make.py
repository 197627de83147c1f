"""Makes kymatio.json: scattering coefficients of the reference implementation, from its own parts.

Kymatio 0.3 cannot be imported beside the SciPy that the project uses, so its numbers are kept.
Made in an environment of its own, with nothing of the project in it:

    python -m venv kymatio && kymatio/bin/pip install kymatio==0.3.0 "scipy<1.17"
    kymatio/bin/python tests/export/scattering_numbers/make.py

Pictures: uniform noise of NumPy's default generator, smoothed by nothing, float64 in [0, 1).
Coefficients: means over the places that Kymatio answers, path by path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kymatio
import numpy as np
import scipy
from kymatio.numpy import Scattering2D
from kymatio.scattering2d.backend.numpy_backend import NumpyBackend2D
from kymatio.scattering2d.filter_bank import gabor_2d, morlet_2d, periodize_filter_fft

OUT = Path(__file__).with_name("kymatio.json")
DIGITS = 10


def picture(seed: int, side: int) -> Any:
    return np.random.default_rng(seed).random((side, side))


def plain(seed: int, side: int, octaves: int, rotations: int) -> dict[str, Any]:
    """One wavelet an octave in both layers: Kymatio's own transform."""
    transform = Scattering2D(J=octaves, shape=(side, side), L=rotations, out_type="list")
    # By scale of the first, scale of the second, turn of the first, turn of the second.
    found = sorted(transform(picture(seed, side)), key=lambda c: (len(c["j"]), c["j"], c["theta"]))
    return {
        "seed": seed,
        "side": side,
        "invariance_px": 2**octaves,
        "qualities": [1, 1],
        "rotations": rotations,
        "coefficients": [round(float(c["coef"].mean()), DIGITS) for c in found],
    }


def finer(
    seed: int, side: int, invariance_px: float, qualities: tuple[int, int], rotations: int
) -> dict[str, Any]:
    """Several wavelets an octave: Kymatio's wavelets, average and backend in its own order."""
    backend = NumpyBackend2D
    octaves = int(np.floor(np.log2(invariance_px)))
    step = 2**octaves
    whole = ((side + step) // step + 1) * step
    before = (whole - side) // 2
    after = whole - side - before
    grown = np.pad(picture(seed, side), ((before, after), (before, after)), mode="reflect")

    def bank(quality: int) -> list[tuple[float, int, Any]]:
        scales = [k / quality for k in range(int(np.ceil(np.log2(invariance_px) * quality)))]
        mother = np.pi / 2 * (1 + 2 ** (-1 / quality))
        return [
            (
                scale,
                turn,
                np.real(
                    np.fft.fft2(
                        morlet_2d(
                            whole,
                            whole,
                            0.8 * 2**scale,
                            (int(rotations - rotations / 2 - 1) - turn) * np.pi / rotations,
                            mother / 2**scale,
                            4.0 / rotations,
                        )
                    )
                ),
            )
            for scale in scales
            for turn in range(rotations)
        ]

    phi = np.real(np.fft.fft2(gabor_2d(whole, whole, 0.4 * invariance_px, 0, 0)))

    def mean(pictures: Any, level: int) -> float:
        spectrum = backend.rfft(pictures) * periodize_filter_fft(phi, level)
        small = backend.irfft(backend.subsample_fourier(spectrum, k=2 ** (octaves - level)))
        return float(backend.unpad(small).mean())

    def modulus(spectrum: Any, wavelet: Any, level: int, out: int) -> Any:
        filtered = spectrum * periodize_filter_fft(wavelet, level)
        if out > level:
            filtered = backend.subsample_fourier(filtered, k=2 ** (out - level))
        return backend.modulus(backend.ifft(filtered))

    found: list[tuple[Any, float]] = [((0,), mean(grown[None], 0))]
    spectrum = backend.rfft(grown[None])
    for scale, turn, wavelet in bank(qualities[0]):
        level = int(np.floor(scale))
        first = modulus(spectrum, wavelet, 0, level)
        found.append(((1, scale, turn), mean(first, level)))
        for larger, other, second in bank(qualities[1]):
            if larger > scale:
                both = modulus(backend.rfft(first), second, level, int(np.floor(larger)))
                value = mean(both, int(np.floor(larger)))
                found.append(((2, scale, larger, turn, other), value))
    return {
        "seed": seed,
        "side": side,
        "invariance_px": invariance_px,
        "qualities": list(qualities),
        "rotations": rotations,
        "coefficients": [round(value, DIGITS) for _, value in sorted(found)],
    }


def main() -> None:
    cases = [
        plain(1, 48, 3, 2),
        plain(2, 100, 4, 2),
        plain(3, 64, 3, 4),
        finer(4, 64, 8.0, (1, 1), 2),
        finer(5, 64, 12.0, (2, 1), 2),
        finer(6, 100, 20.0, (2, 1), 2),
    ]
    check = plain(4, 64, 3, 2)["coefficients"]
    assert np.allclose(cases[3]["coefficients"], check, rtol=1e-6), "the parts are the whole"
    made_by = {"kymatio": kymatio.__version__, "scipy": scipy.__version__, "numpy": np.__version__}
    text = json.dumps({"made_by": made_by, "how": "make.py beside this file", "cases": cases})
    OUT.write_text(text.replace('{"seed"', '\n{"seed"') + "\n", encoding="utf-8")
    print(f"{OUT}: {len(cases)} pictures")


if __name__ == "__main__":
    main()
