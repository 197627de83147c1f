"""Which focus measure to keep: steadiness with blur, separation and time on real fields.

    python benchmarks/focus_measures.py [--fields 24] [--part limits|held-out]

Each real field is blurred by circles of confusion of several radii on linear light, with camera
noise, at its own scale; every measure sees the same canonical field. One limit a measure for all
sets together: the one that keeps 97 % of the fields as they are.

Columns: ``kept`` share of fields as they are above the limit; ``refused`` at a radius; ``falls``
share of fields whose value falls at every step to 2 um; ``noisy`` share refused at 1 um with noise
of 4 instead of 1.5 counts; ``spread`` relative interquartile range over sharp fields (what stain
and light do to the measure); ``ms`` CPU time a field of about 512x384 canonical px.

The classical measures are on the canonical green channel (background 1) and divided by the squared
mean or the mean, as Yazdanfar and others normalise them for light.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields

from edgehemo.field import CanonicalField, canonical_field
from edgehemo.frame import Frame
from edgehemo.quality.focus import edge_sharpness
from edgehemo.quality.regions import FieldRegions, field_regions

Picture = NDArray[np.float32]
Measure = Callable[[CanonicalField, FieldRegions], float]

RADII_UM = (0.5, 0.75, 1.0, 1.5, 2.0)
KEPT_SHARE = 0.97
COMMON_NOISE, STRONG_NOISE = 1.5, 4.0


def _green(field: CanonicalField) -> Picture:
    return np.ascontiguousarray(field.transmittance[..., 1])


def _gradients(green: Picture) -> tuple[Picture, Picture]:
    across = cv2.Sobel(green, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(green, cv2.CV_32F, 0, 1)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def brenner(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    return float(np.mean((green[:, 2:] - green[:, :-2]) ** 2) / green.mean() ** 2)


def squared_gradient(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    return float(np.mean(np.diff(green, axis=1) ** 2) / green.mean() ** 2)


def tenengrad(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    across, down = _gradients(green)
    return float(np.mean(across**2 + down**2) / green.mean() ** 2)


def variance_of_gradient(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    across, down = _gradients(green)
    return float(np.sqrt(across**2 + down**2).var() / green.mean() ** 2)


def normalised_variance(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    return float(green.var() / green.mean())


def variance_of_laplacian(field: CanonicalField, regions: FieldRegions) -> float:
    green = _green(field)
    return float(np.var(cv2.Laplacian(green, cv2.CV_32F)) / green.mean() ** 2)


def contrast_normalised_gradient(field: CanonicalField, regions: FieldRegions) -> float:
    """Tenengrad along the outlines over the squared contrast of cells against background."""
    if len(regions.body_sample) == 0 or len(regions.ground_sample) == 0:
        return 0.0
    contrast = np.median(regions.ground_sample[:, 1]) - np.median(regions.body_sample[:, 1])
    green = np.asarray(cv2.GaussianBlur(_green(field), (0, 0), 0.7), np.float32)
    across, down = _gradients(green)
    rim = cv2.morphologyEx(
        regions.cells.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)
    )
    rim = cv2.resize(rim, (field.width, field.height), interpolation=cv2.INTER_NEAREST)
    if not rim.any() or contrast <= 0:
        return 0.0
    return float((across**2 + down**2)[rim > 0].mean() / contrast**2)


def spectral_share(field: CanonicalField, regions: FieldRegions) -> float:
    """Power at 0.5 to 1.2 cycles/um over that at 0.06 to 0.25, mean of 64 px tiles."""
    green, side = _green(field), 64
    window = np.outer(np.hanning(side), np.hanning(side)).astype(np.float32)
    tiles = [
        green[top : top + side, left : left + side]
        for top in range(0, field.height - side + 1, side)
        for left in range(0, field.width - side + 1, side)
    ]
    if not tiles:
        return 0.0
    power = np.mean([np.abs(np.fft.rfft2((t - t.mean()) * window)) ** 2 for t in tiles], axis=0)
    cycles = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    high = power[(cycles > 0.12) & (cycles < 0.30)].sum()
    return float(high / max(1e-9, power[(cycles > 0.015) & (cycles < 0.06)].sum()))


def kept_measure(field: CanonicalField, regions: FieldRegions) -> float:
    return edge_sharpness(field, regions) or 0.0


MEASURES: dict[str, Measure] = {
    "Brenner": brenner,
    "squared gradient": squared_gradient,
    "Tenengrad": tenengrad,
    "variance of gradient": variance_of_gradient,
    "normalised variance": normalised_variance,
    "variance of Laplacian": variance_of_laplacian,
    "gradient / contrast": contrast_normalised_gradient,
    "spectral share": spectral_share,
    "edge sharpness (kept)": kept_measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=24, help="fields a set")
    parser.add_argument("--part", choices=("limits", "held-out"), default="limits")
    options = parser.parse_args()
    cv2.setNumThreads(1)

    rng = np.random.default_rng(1)
    conditions = [(0.0, 0.0)] + [(r, COMMON_NOISE) for r in RADII_UM] + [(1.0, STRONG_NOISE)]
    values: dict[str, list[list[float]]] = {name: [] for name in MEASURES}
    seconds: dict[str, list[float]] = {name: [] for name in MEASURES}
    sets: list[str] = []
    for name in real_fields.ORDINARY:
        for path in real_fields.fields_of(name, options.part, options.fields):
            pixels = real_fields.read_rgb(path)
            scale = scale_of(pixels, name)
            sets.append(name)
            rows: dict[str, list[float]] = {measure: [] for measure in MEASURES}
            for radius, noise in conditions:
                seen = pixels
                if noise > 0:
                    seen = real_fields.defocused(pixels, radius, scale, rng, noise)
                field = canonical_field(Frame(seen, path.name), um_per_px=scale)
                regions = field_regions(field)
                for measure, function in MEASURES.items():
                    start = time.process_time()
                    rows[measure].append(function(field, regions))
                    if name == "chula_rbc12":
                        seconds[measure].append(time.process_time() - start)
            for measure in MEASURES:
                values[measure].append(rows[measure])

    print(f"{len(sets)} real fields of {', '.join(dict.fromkeys(sets))} ({options.part})")
    radii = "  ".join(f"{radius:>4g}" for radius in RADII_UM)
    print(f"{'measure':24}{'kept':>6}  refused at um: {radii}  {'noisy':>6}{'falls':>7}", end="")
    print(f"{'spread':>8}{'ms':>7}   kept by set")
    for measure, rows_of in values.items():
        table = np.array(rows_of)
        sharp = table[:, 0]
        limit = np.quantile(sharp, 1 - KEPT_SHARE)
        refused = "  ".join(
            f"{np.mean(table[:, 1 + i] < limit):4.2f}" for i in range(len(RADII_UM))
        )
        steps = np.diff(table[:, : 1 + len(RADII_UM)], axis=1)
        # A bounded measure may sit at its upper end for two sharp steps.
        falls = np.mean(np.all((steps < 0) | (table[:, 1 : 1 + len(RADII_UM)] >= 10.0), axis=1))
        low, middle, high = np.quantile(sharp, [0.25, 0.5, 0.75])
        by_set = " ".join(
            f"{name} {np.mean(sharp[np.array(sets) == name] >= limit):.2f}"
            for name in dict.fromkeys(sets)
        )
        print(
            f"{measure:24}{np.mean(sharp >= limit):6.2f}  {'':15}{refused}  "
            f"{np.mean(table[:, -1] < limit):6.2f}{falls:7.2f}{(high - low) / middle:8.2f}"
            f"{1e3 * float(np.median(seconds[measure])):7.2f}   {by_set}   (limit {limit:.4g})"
        )


def scale_of(pixels: NDArray[np.uint8], name: str) -> float:
    """The field's scale by its own red cells where that is believable, else the set's."""
    nominal = real_fields.NOMINAL_UM_PER_PX[name]
    field = canonical_field(Frame(pixels, name))
    if field.scale_source == "red_cells" and 0.4 < field.frame_um_per_px / nominal < 2.5:
        return field.frame_um_per_px
    return nominal


if __name__ == "__main__":
    main()
